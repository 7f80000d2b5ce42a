/** Consumers that take nothing while a hundred thousand events go by: what is held for one is bounded, and it misses none. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Gateway } from '../api.ts';
import { turnsUntil } from '../http/test/door.ts';
import { realtime, type RealtimeDoor } from './test/client.ts';
import { framed, type RawSocket, rawSocket } from './test/raw-socket.ts';

const EVENTS = 100_000;
const PER_CALL = 1_000;
const UNSENT_BYTES = 65_536;
/** What one message and its frame have at most here. */
const MESSAGE_BYTES = 1_000;
/** As much as one sub may give, and as many subs as together get more than the system holds for a connection on loopback. */
const CREDIT = 10_000;
const SUBS = 8;

test('consumers that take nothing have a bounded number of bytes waiting, and miss nothing', { timeout: 240_000 }, async (t) => {
  const door = await realtime(t, { unsentBytes: UNSENT_BYTES });
  const giving = await subscribed(t, door, [{ sub: 1, credit: 0 }]);
  const numbers = Array.from({ length: SUBS }, (_, at) => at + 1);
  const reading = await subscribed(
    t,
    door,
    numbers.map((sub) => ({ sub, credit: CREDIT })),
  );
  const stream = await door.connect();
  stream.write(door.head('GET /v1/sse?topics=orders.created'));
  await stream.until(/\nid: /);
  for (const { socket } of [reading, stream]) socket.pause();

  const { bytesWritten } = giving.inside;
  const most = await publishAll(door.gateway, () => [giving, reading, stream].map(({ inside }) => inside.writableLength));
  assert.deepEqual([most[0], giving.inside.bytesWritten], [0, bytesWritten]);
  for (const bytes of most.slice(1)) assert.ok(bytes > UNSENT_BYTES && bytes <= UNSENT_BYTES + MESSAGE_BYTES, String(bytes));

  const all = [countingUp(giving.socket), countingUp(reading.socket), countingUp(stream.socket)] as const;
  for (const { socket } of [reading, stream]) socket.resume();
  for (let n = CREDIT; n <= EVENTS; n += CREDIT) {
    giving.write(framed(JSON.stringify({ op: 'credit', sub: 1, add: CREDIT })));
    await turnsUntil(() => all[0].of('1') === n);
  }
  await turnsUntil(() => numbers.every((sub) => all[1].of(String(sub)) === CREDIT));
  await turnsUntil(() => all[2].of('') === EVENTS);
  assert.deepEqual(door.errors, []);
});

async function subscribed(
  t: TestContext,
  door: RealtimeDoor,
  subs: readonly { readonly sub: number; readonly credit: number }[],
): Promise<RawSocket> {
  const client = await rawSocket(t, door);
  client.write(framed(JSON.stringify({ op: 'hello', v: 1, token: door.admin })));
  for (const one of subs) client.write(framed(JSON.stringify({ op: 'sub', topics: ['orders.created'], ...one })));
  for (const _ of subs) await client.next('subed');
  return client;
}

/** The most that `waiting` said of each in the meantime. */
async function publishAll(gateway: Gateway, waiting: () => readonly number[]): Promise<readonly number[]> {
  let most = waiting();
  for (let n = 0; n < EVENTS; n += PER_CALL) {
    const events = Array.from({ length: PER_CALL }, (_, at) => ({
      type: 'orders.created',
      extensions: {},
      data: Buffer.from(String(n + at)),
    }));
    await gateway.publish({ environment: 'default', app: 'shop', events });
    await new Promise(setImmediate);
    most = waiting().map((bytes, at) => Math.max(bytes, most[at] as number));
  }
  return most;
}

/** Of each sub, the number that comes next: each event has one more than the one before it, or this throws. */
function countingUp(socket: Socket): { readonly of: (sub: string) => number } {
  const next = new Map<string, number>();
  let rest = '';
  socket.removeAllListeners('data');
  socket.on('data', (chunk: Buffer | string) => {
    rest += chunk.toString();
    let through = 0;
    for (const { 0: found, 1: sub = '', 2: n, index } of rest.matchAll(/(?:"op":"msg","sub":(\d+),[^]*?)?"data":(\d+)\}/g)) {
      assert.equal(Number(n), next.get(sub) ?? 0);
      next.set(sub, Number(n) + 1);
      through = index + found.length;
    }
    rest = rest.slice(through);
  });
  return { of: (sub) => next.get(sub) ?? 0 };
}
