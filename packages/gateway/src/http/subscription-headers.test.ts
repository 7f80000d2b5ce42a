/** Headers of a subscription that let somebody in: sent as they are, sealed where they are kept, never shown again. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type Receiver, receiver } from '../../test/receivers.ts';
import { type World, world } from '../../test/world.ts';
import type { Webhook } from '../ports/directory.ts';

const TOKEN = 'Bearer t0p-s3cret';
const HEADERS = { Authorization: TOKEN, 'X-Api-Key': 'k-123456', Cookie: 'sid=77', 'x-team-password': 'pw-9', 'x-team': 'crm' };
const SHOWN = { authorization: '***', 'x-api-key': '***', cookie: '***', 'x-team-password': '***', 'x-team': 'crm' };
const VALUES = [TOKEN, 'k-123456', 'sid=77', 'pw-9'];

interface Scene extends World {
  readonly endpoint: Receiver;
  /** Headers of the next delivery. */
  sent(): Promise<Readonly<Record<string, string>>>;
  patch(webhook: object): ReturnType<World['ask']>;
}

async function scene(t: TestContext, headers: object = HEADERS): Promise<Scene> {
  const made = await world(t);
  const endpoint = await receiver(t);
  const json = { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url, headers } } };
  const created = await made.ask('PUT /v1/subscriptions/s', { json });
  assert.equal(created.status, 201, created.text);
  let count = 0;
  return {
    ...made,
    endpoint,
    async sent() {
      await made.ask('POST /v1/events', { json: { type: 'orders.created' } });
      return (await endpoint.request(++count)).headers;
    },
    patch: (webhook) => made.ask('PATCH /v1/subscriptions/s', { json: { deliver: { webhook } } }),
  };
}

describe('headers that carry credentials', { timeout: 30_000 }, () => {
  test('are sent, and read as *** in every answer and nowhere at rest', async (t) => {
    const { ask, sent, patch, directory } = await scene(t);
    const answers = [
      await ask('GET /v1/subscriptions/s'),
      await ask('GET /v1/subscriptions'),
      await patch({ timeoutMs: 900 }),
      await ask('POST /v1/subscriptions/s/pause'),
      await ask('POST /v1/subscriptions/s/resume'),
      await ask('POST /v1/subscriptions/s/rotate-secret'),
      await ask('POST /v1/subscriptions/s/replay', { json: { from: 'latest', rewind: true } }),
      await ask('PUT /v1/subscriptions/t', {
        json: { topics: ['x'], deliver: { webhook: { url: 'http://127.0.0.1:9', headers: HEADERS } } },
      }),
    ];
    const kept = JSON.stringify(await directory.list('subscription', { limit: 10 }));
    for (const value of VALUES) {
      for (const { text } of answers) assert.ok(!text.includes(value), text);
      assert.ok(!kept.includes(value), kept);
    }
    for (const { json } of answers.filter(({ json: { deliver } }) => deliver !== undefined)) {
      assert.deepEqual(json.deliver.webhook.headers, SHOWN);
      assert.deepEqual(
        Object.keys(json.deliver.webhook).filter((name) => /seal/i.test(name)),
        [],
      );
    }
    const headers = await sent();
    assert.deepEqual(
      [headers['authorization'], headers['x-api-key'], headers['cookie'], headers['x-team-password'], headers['x-team']],
      [TOKEN, 'k-123456', 'sid=77', 'pw-9', 'crm'],
    );
  });

  test('stay as they are where *** comes back, by PATCH and by PUT', async (t) => {
    const { ask, sent, patch, endpoint } = await scene(t);
    assert.equal((await patch({ headers: { ...SHOWN, 'x-team': 'sales', 'X-Api-Key': 'k-new' } })).status, 200);
    const first = await sent();
    assert.deepEqual([first['authorization'], first['x-api-key'], first['x-team']], [TOKEN, 'k-new', 'sales']);
    const put = { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url, headers: { Authorization: '***' } } } };
    assert.equal((await ask('PUT /v1/subscriptions/s', { json: put })).status, 200);
    const second = await sent();
    assert.deepEqual([second['authorization'], second['x-api-key'], second['cookie']], [TOKEN, undefined, undefined]);
    await patch({ headers: null });
    assert.equal((await sent())['authorization'], undefined);
  });

  test('do not follow to another origin, be it by a change of the address or by a replay that goes elsewhere', async (t) => {
    const { ask, patch, sent, endpoint } = await scene(t);
    const other = await receiver(t);
    const moved = await patch({ url: other.url });
    assert.deepEqual([moved.status, moved.json.pointer], [400, '/deliver/webhook/headers']);
    assert.match(moved.json.detail, /is for http:\/\/127\.0\.0\.1/);
    await sent();
    const json = { from: 'earliest', asNew: true, to: { url: other.url } };
    assert.equal((await ask('POST /v1/subscriptions/s/replay', { json })).status, 202);
    const elsewhere = (await other.request(1)).headers;
    assert.deepEqual([elsewhere['authorization'], elsewhere['cookie'], elsewhere['x-team']], [undefined, undefined, undefined]);
    await ask('POST /v1/subscriptions/s/replay', { json: { ...json, to: { url: `${endpoint.url}/drill` } } });
    assert.equal((await endpoint.request(2)).headers['authorization'], TOKEN);
    assert.equal((await patch({ url: other.url, headers: { authorization: 'Bearer new' } })).status, 200);
    await ask('POST /v1/events', { json: { type: 'orders.created' } });
    assert.equal((await other.request(2)).headers['authorization'], 'Bearer new');
  });

  test('are refused as *** where there is none to keep', async (t) => {
    const { ask, patch } = await scene(t, { 'x-team': 'crm' });
    const refusals = [
      await patch({ headers: { authorization: '***' } }),
      await ask('PUT /v1/subscriptions/new', {
        json: { topics: ['x'], deliver: { webhook: { url: 'http://127.0.0.1:9', headers: { 'x-token': '***' } } } },
      }),
    ];
    for (const { status, json } of refusals)
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', '/deliver/webhook/headers']);
    // Of any other header it is a value like others.
    assert.equal((await patch({ headers: { 'x-team': '***' } })).json.deliver.webhook.headers['x-team'], '***');
  });

  test('of an earlier version, kept readable, are sent, not shown, and sealed with the next change', async (t) => {
    const { ask, sent, patch, directory, gateway } = await scene(t, {});
    const found = await directory.get('subscription', 'default', 's');
    assert.ok(found);
    const { sealedHeaders: _none, ...webhook } = found.value.deliver.webhook as Webhook;
    const plain = { ...found.value, deliver: { webhook: { ...webhook, headers: { authorization: TOKEN } } } };
    await directory.put('subscription', 'default', 's', plain);
    while ((await ask('GET /v1/subscriptions/s')).json.deliver.webhook.headers.authorization !== '***')
      await new Promise(setImmediate);
    assert.ok(gateway);
    assert.equal((await sent())['authorization'], TOKEN);
    assert.equal((await patch({ timeoutMs: 800 })).status, 200);
    assert.ok(!JSON.stringify(await directory.list('subscription', { limit: 10 })).includes(TOKEN));
    assert.equal((await sent())['authorization'], TOKEN);
  });
});

describe('headers with a name that objects have of themselves', { timeout: 30_000 }, () => {
  test('are refused rather than lost, of a subscription and of an event', async (t) => {
    const { ask, patch, endpoint, sent } = await scene(t, {});
    for (const name of ['constructor', 'Constructor', '__proto__']) {
      const deliver = `{"webhook":{"url":"${endpoint.url}","headers":{"${name}":"x"}}}`;
      const body = `{"topics":["orders.*"],"deliver":${deliver}}`;
      const headers = { 'content-type': 'application/json' };
      assert.equal((await ask('PUT /v1/subscriptions/p', { body, headers })).status, 400, name);
      const own = JSON.stringify(`{"${name}":"x"}`);
      const event = await ask('POST /v1/events', { body: `{"type":"orders.created","webhookheaders":${own}}`, headers });
      assert.deepEqual([event.status, event.json.code, event.json.pointer], [400, 'invalid_event', '/webhookheaders'], name);
    }
    const refused = await patch({ headers: { constructor: 'x' } });
    assert.deepEqual([refused.json.code, refused.json.pointer], ['invalid_request', '/deliver/webhook/headers']);
    // Close to such names there is nothing special.
    assert.equal((await patch({ headers: { 'to-string': 'a', valueof: 'b', hasownproperty: 'c' } })).status, 200);
    const headers = await sent();
    assert.deepEqual([headers['to-string'], headers['valueof'], headers['hasownproperty']], ['a', 'b', 'c']);
  });
});
