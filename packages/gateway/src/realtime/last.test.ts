/** `from: last` as clients see it: what the bound on its memory leaves out is said before the first message, over every transport. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LIMITS } from '../limits.ts';
import { type Frame, realtime, type RealtimeDoor } from './test/client.ts';
import { follow } from './test/stream.ts';

/** Has no answer for a long list without a y. */
const COSTLY = { data: { list: ['y', ...Array.from({ length: 900 }, (_, at) => ({ prefix: `p${at}` }))] } };
const LONG = Array.from({ length: 10_000 }, () => 'x');

describe('a sub from the last, of more keys than are remembered', { timeout: 30_000 }, () => {
  test('is told what is missing before the first message, over a socket', async (t) => {
    const door = await realtime(t);
    await keys(door);
    const client = await door.client();
    await client.hello();
    const ops: string[] = [];
    client.socket.on('message', (data: Buffer) => ops.push(JSON.parse(data.toString()).op));
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 3, from: 'last' });
    const { gap, sub } = await client.next('gap');
    assert.deepEqual([gap.reason, sub], ['too_far', 1]);
    const got = [await client.next('msg'), await client.next('msg'), await client.next('msg')];
    assert.deepEqual(got.map(numberOf), [2, 3, 4]);
    assert.deepEqual(ops, ['subed', 'gap', 'msg', 'msg', 'msg']);
    client.say({ op: 'credit', sub: 1, add: 10_000 });
    for (let n = 5; n < LIMITS.lastKeys + 2; n++) assert.equal(numberOf(await client.next('msg')), n);
    await door.publish('orders.created', { n: 'new' });
    assert.equal(numberOf(await client.next('msg')), 'new');
  });

  test('is told so over a plain stream and a pull', async (t) => {
    const door = await realtime(t);
    await keys(door);
    const stream = await follow(t, door, '?topics=orders.created&from=last');
    const first = await stream.next(({ data }) => data !== undefined);
    assert.deepEqual([first.type, JSON.parse(first.data ?? '').reason], ['gap', 'too_far']);
    assert.equal(JSON.parse((await stream.next(({ data }) => data !== undefined)).data ?? '').data.n, 2);
    const json = [{ op: 'sub', topics: ['orders.created'], credit: 3, from: 'last', waitMs: 0 }];
    const answer = (await door.ask('POST /v1/pull', { json })).json as Frame[];
    assert.deepEqual(
      answer.map(({ op, gap, event }) => gap?.reason ?? event?.data.n ?? op),
      ['subed', 'too_far', 2, 3, 4],
    );
  });

  test('is told of events that its filter has no answer for', async (t) => {
    const door = await realtime(t);
    await door.publish('orders.created', { list: ['y'] }, { partitionkey: 'a' });
    await door.publish('orders.created', { list: LONG }, { partitionkey: 'b' });
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 10, from: 'last', filter: COSTLY });
    assert.equal((await client.next('gap')).gap.reason, 'filter_too_costly');
    assert.deepEqual((await client.next('msg')).event.data, { list: ['y'] });
    assert.deepEqual(door.errors, []);
  });
});

const numberOf = ({ event }: Frame): unknown => event.data.n;

/** Two more than the newest of which is remembered. */
async function keys(door: RealtimeDoor): Promise<void> {
  for (let n = 0; n < LIMITS.lastKeys + 2; n += 501) {
    const json = Array.from({ length: 501 }, (_, at) => ({
      type: 'orders.created',
      partitionkey: `k${n + at}`,
      data: { n: n + at },
    })).filter(({ data }) => data.n < LIMITS.lastKeys + 2);
    const { status } = await door.ask('POST /v1/events', { json });
    assert.equal(status, 202);
  }
}
