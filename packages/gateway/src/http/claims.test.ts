/** Idempotency keys at the door, where the log leaves them to the store: the same codes as on a log that knows them. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { createMemoryClaims } from '@millrace/memory/claims';
import { createMemoryLog } from '@millrace/memory/log';
import { Problem } from '@millrace/core/problem';
import { type Answer, world, type World } from '../../test/world.ts';

const event = { type: 'orders.created', source: '/shop', data: { id: 1 } };

function stores() {
  return { log: createMemoryLog({ dedupe: false }), claims: createMemoryClaims() };
}

function publish({ ask }: World, json: unknown, key?: string): Promise<Answer> {
  return ask('POST /v1/events', { json, headers: key === undefined ? {} : { 'idempotency-key': key } });
}

/** As another node has it under way. */
function claimed(key: string, app = 'default') {
  const id = hash('sha256', JSON.stringify(['default', app, key]), 'base64url');
  return { id, digest: 'theirs', windowMs: 60_000, token: 'theirs', place: { log: 'theirs', topics: [], ends: {} } };
}

test('a key that was used gets the first answer, and other content under it is refused', async (t) => {
  const here = await world(t, { stores: stores() });
  const first = await publish(here, event, 'k');
  assert.deepEqual([first.status, first.json.status], [202, 'appended']);
  const again = await publish(here, event, 'k');
  assert.deepEqual([again.status, again.json], [202, { ...first.json, status: 'duplicate' }]);
  const other = await publish(here, { ...event, data: { id: 2 } }, 'k');
  assert.deepEqual([other.status, other.json.code], [422, 'idempotency_key_reused']);
});

test('a key that another node has under way is in flight, with when to come again; in a batch that is said of its event alone', async (t) => {
  const log = createMemoryLog({ dedupe: false });
  const claims = createMemoryClaims();
  const here = await world(t, { stores: { log, claims } });
  const place = { log: log.identity, topics: ['orders.created'], ends: {} };
  const ofBatch = `id:${hash('sha256', '/shop\n7', 'base64url')}`;
  await claims.claim([
    { ...claimed('key:k'), place },
    { ...claimed(ofBatch), place },
  ]);
  const answer = await publish(here, event, 'k');
  assert.deepEqual([answer.status, answer.json.code, answer.headers['retry-after']], [409, 'in_flight', '1']);
  const batch = await publish(here, [event, { ...event, id: '7' }, { ...event, id: '8' }]);
  assert.deepEqual(
    [batch.status, batch.json.results.map((one: { status?: string; problem?: Problem }) => one.status ?? one.problem?.code)],
    [202, ['appended', 'in_flight', 'appended']],
  );
});

test('a key of which nobody can tell any more what came of it is a conflict that says what to do', async (t) => {
  const { log, claims } = stores();
  const here = await world(t, { stores: { log, claims } });
  await claims.claim([claimed('key:k')]);
  const answer = await publish(here, event, 'k');
  assert.deepEqual([answer.status, answer.json.code], [409, 'conflict']);
  assert.match(answer.json.advice, /new key/);
});

test('without the store what has a key is to come again, and what has none is stored', async (t) => {
  const { log, claims } = stores();
  const away = { ...claims, claim: () => Promise.reject(new Problem('ledger_unavailable', 'away')) };
  const here = await world(t, { stores: { log, claims: away } });
  const answer = await publish(here, event, 'k');
  assert.deepEqual([answer.status, answer.json.code, answer.headers['retry-after']], [503, 'ledger_unavailable', '1']);
  assert.equal((await publish(here, event)).status, 202);
  assert.deepEqual(here.errors, []);
});
