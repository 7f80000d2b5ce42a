/** The log read over HTTP: pages, waiting, cursors, and what a key may not see. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { type World, world } from '../../test/world.ts';

async function publish({ ask }: World, type: string, id: string, members: object = {}): Promise<void> {
  const { status, text } = await ask('POST /v1/events', { json: { type, id, source: '/s', data: { n: 1.0 }, ...members } });
  assert.equal(status, 202, text);
}

const idsOf = (json: { data: { event: { id: string } }[] }): string[] => json.data.map(({ event }) => event.id);

describe('reading events', { timeout: 30_000 }, () => {
  test('goes in pages from the earliest, byte for byte, and on with the cursor', async (t) => {
    const made = await world(t);
    for (const id of ['a', 'b', 'c']) await publish(made, 'orders.created', id);
    await publish(made, 'orders.paid', 'd');
    const first = await made.ask('GET /v1/events?topics=orders.created&from=earliest&limit=2');
    assert.deepEqual([first.status, idsOf(first.json)], [200, ['a', 'b']]);
    assert.match(first.text, /"data":\{"n":1\}/);
    const { type, specversion } = first.json.data[0].event;
    assert.deepEqual([type, specversion, first.json.data[0].shard !== undefined], ['orders.created', '1.0', true]);
    const second = await made.ask(`GET /v1/events?topics=orders.*&limit=10&cursor=${first.json.cursor}`);
    assert.deepEqual([idsOf(second.json), second.json.atEnd], [['c', 'd'], true]);
    const third = await made.ask(`GET /v1/events?topics=orders.*&cursor=${second.json.cursor}`);
    assert.deepEqual([idsOf(third.json), third.json.atEnd], [[], true]);
  });

  test('begins with what is published from then on, and waits for it', async (t) => {
    const made = await world(t);
    await publish(made, 'orders.created', 'before');
    const start = await made.ask('GET /v1/events');
    assert.deepEqual(idsOf(start.json), []);
    const waiting = made.ask(`GET /v1/events?topics=orders.paid&waitMs=30000&cursor=${start.json.cursor}`);
    await publish(made, 'orders.created', 'other');
    await publish(made, 'orders.paid', 'awaited');
    assert.deepEqual(idsOf((await waiting).json), ['awaited']);
  });

  test('that waits ends with the door', async (t) => {
    const { app, admin } = await world(t);
    const address = await app.listen({ host: '127.0.0.1', port: 0 });
    const asked = once(app.server, 'request');
    const answer = fetch(`${address}/v1/events?waitMs=30000`, { headers: { authorization: `Bearer ${admin}` } });
    await asked;
    await app.close();
    assert.deepEqual(((await (await answer).json()) as { data: object[] }).data, []);
  });

  test('shows an event for one audience to that app and to an admin', async (t) => {
    const made = await world(t);
    await publish(made, 'orders.created', 'for-crm', { audience: 'crm' });
    await publish(made, 'orders.created', 'for-all');
    const read = async (app: string): Promise<string[]> => {
      const key = await made.key(app, ['subscribe']);
      return idsOf((await made.ask('GET /v1/events?from=earliest', { key })).json);
    };
    assert.deepEqual([await read('crm'), await read('shop')], [['for-crm', 'for-all'], ['for-all']]);
    assert.deepEqual(idsOf((await made.ask('GET /v1/events?from=earliest')).json), ['for-crm', 'for-all']);
    assert.equal((await made.ask('GET /v1/events', { key: await made.key('crm', ['publish']) })).status, 403);
  });

  test('refuses what it can not read', async (t) => {
    const { ask } = await world(t);
    for (const [query, pointer] of [
      ['topics=a..b', '/query/topics'],
      [`topics=${'a,'.repeat(16)}a`, '/query/topics'],
      ['waitMs=30001', '/query/waitMs'],
      ['waitMs=soon', '/query/waitMs'],
      ['limit=0', '/query/limit'],
      ['cursor=abc', '/query/cursor'],
      // Taken for a time they would go into the next cursor, which nobody could read then.
      ...['["other",1e999,""]', '["other",-1,""]', '["other",1.5,""]'].map(
        (text) => [`cursor=${Buffer.from(text).toString('base64url')}`, '/query/cursor'] as const,
      ),
      ['from=yesterday', '/query/from'],
    ] as const) {
      const { status, json, text } = await ask(`GET /v1/events?${query}`);
      assert.deepEqual([status, json.pointer], [400, pointer], text);
    }
    assert.equal((await ask('GET /v1/events?topic=a')).status, 400);
  });

  test('of a log that is another one goes on by time, and says so', async (t) => {
    const made = await world(t);
    await publish(made, 'orders.created', 'a');
    const cursor = Buffer.from(JSON.stringify(['another', 0, 'main\t5'])).toString('base64url');
    const { json } = await made.ask(`GET /v1/events?cursor=${cursor}`);
    assert.deepEqual([idsOf(json), json.gap], [['a'], { cause: 'log_changed' }]);
    assert.equal((await made.ask(`GET /v1/events?cursor=${json.cursor}`)).json.gap, undefined);
  });
});
