/** Tokens and quotas on two nodes with a real NATS and a real Postgres: what one is told the other knows. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

const brokers = await findBrokers();

describe('two nodes', { skip: brokers.skip, timeout: 120_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  const suite = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => unknown) };
  let one: TestNode;
  let other: TestNode;

  before(async () => {
    if (brokers.skip !== false) return;
    const environment = sharedKey();
    one = await startNode(suite, brokers, { environment });
    other = await startNode(suite, brokers, { environment, key: one.key });
  });
  after(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup();
    if (brokers.skip === false) await brokers.remove();
  });

  const grant = { scopes: ['publish'], topics: ['orders.*'] };

  /** The status and the code of the answer. */
  async function publish({ address }: TestNode, token: string): Promise<string> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${address}/v1/events`, { method: 'POST', headers, body: '{"type":"orders.created"}' });
    const { code = '' } = (await answer.json()) as { readonly code?: string };
    return `${answer.status} ${code}`.trim();
  }

  test('take each other’s tokens, and hear of one that was revoked', async () => {
    const { token, jti } = (await one.ask('POST /v1/tokens', grant)).json;
    assert.equal(await publish(other, token), '202');
    assert.equal((await one.ask('POST /v1/tokens/revoke', { jti })).status, 204);
    assert.equal(await publish(one, token), '401 token_revoked');
    // It is told over the feed of the directory; nobody says when it has arrived.
    while ((await publish(other, token)) === '202');
    assert.equal(await publish(other, token), '401 token_revoked');
  });

  test('sign with the same key, also just after it was replaced', async () => {
    const before = (await one.ask('POST /v1/tokens', grant)).json.token;
    assert.equal((await other.ask('POST /v1/token-keys/rotate', { now: true })).status, 200);
    assert.equal(await publish(other, before), '401 token_key_unknown');
    const { token } = (await other.ask('POST /v1/tokens', grant)).json;
    assert.equal(await publish(one, token), '202');
  });

  test('count the events of an app together', async () => {
    const name = '/v1/apps/shop';
    await one.ask(`PUT ${name}`, { quotas: { eventsPerDay: 10 } });
    const { token } = (await one.ask('POST /v1/tokens', { ...grant, app: 'shop' })).json;
    for (let sent = 0; sent < 6; sent++) assert.equal(await publish(one, token), '202');
    // Written about once a second; then the other hears of it.
    while ((await other.ask(`GET ${name}/usage`)).json.eventsToday < 6);
    for (let sent = 0; sent < 4; sent++) assert.equal(await publish(other, token), '202');
    assert.equal(await publish(other, token), '429 quota_exceeded');
  });
});
