/** What all sessions together hold is bounded: those that do not read go, those that read stay. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { LIMITS } from '../limits.ts';
import { createMetrics } from '../metrics.ts';
import { realtime, type RealtimeDoor } from './test/client.ts';
import { framed, rawSocket } from './test/raw-socket.ts';
import { createUnsent, type Held, type Holder, type Unsent } from './unsent.ts';

const MB = 1_048_576;
const MAX_BYTES = 1_000_000;
/** In so many it has to take nothing: the first one only sees what it has. */
const LOOKS = 8;

describe('the bound of what all sessions have not taken', () => {
  test('lets those go that take nothing, the ones that hold most first, until it is kept', async () => {
    const { enter, gone, clock, unsent } = bounded();
    const names = ['a', 'b', 'c'].map((name, at) => enter(name, 400_000 + at));
    await clock.advance(LOOKS * 1_000);
    assert.deepEqual(gone, []);
    await clock.advance(1_000);
    assert.deepEqual(gone, ['c']);
    assert.equal(unsent.bytes(), 800_001);
    names[0]?.give(300_000);
    await clock.advance(1_000);
    assert.deepEqual(gone, ['c', 'a']);
    await clock.advance(60_000);
    assert.deepEqual(gone, ['c', 'a']);
  });

  test('never those that read, however much they hold', async () => {
    const { enter, gone, clock } = bounded();
    const reader = enter('reader', 2_000_000);
    const idle = enter('idle', 1_000);
    for (let second = 0; second < 20; second++) {
      // A tenth, and as much again comes.
      reader.take(200_000);
      reader.give(200_000);
      await clock.advance(1_000);
    }
    assert.deepEqual(gone, ['idle']);
    idle.give(1);
    // Less than would ever be done with it.
    for (let second = 0; second <= LOOKS; second++) {
      reader.take(1_000);
      await clock.advance(1_000);
    }
    assert.deepEqual(gone, ['idle', 'reader']);
  });

  test('and those that read too little after those that read nothing', async () => {
    const { enter, gone, clock } = bounded();
    const slow = enter('slow', 900_000);
    for (const [at, name] of ['a', 'b', 'c'].entries()) enter(name, 200_000 + at);
    async function second(): Promise<void> {
      slow.take(1_000);
      await clock.advance(1_000);
    }
    for (let n = 0; n <= LOOKS; n++) await second();
    assert.deepEqual(gone, ['c', 'b', 'a']);
    slow.give(200_000);
    await second();
    assert.deepEqual(gone, ['c', 'b', 'a', 'slow']);
  });

  test('nor those that have just been given much, after a long time in which nobody was looked at', async () => {
    const { enter, gone, clock } = bounded();
    const one = enter('one', 600_000);
    await clock.advance(1_000);
    one.take(600_000);
    await clock.advance(1_000);
    assert.equal(clock.armed, 0);
    await clock.advance(600_000);
    one.give(2_000_000);
    await clock.advance(LOOKS * 1_000);
    assert.deepEqual(gone, []);
    await clock.advance(1_000);
    assert.deepEqual(gone, ['one']);
    assert.equal(clock.armed, 0);
  });

  test('nor those that could not be seen reading, as the process stood still', async () => {
    const { enter, gone, clock } = bounded();
    const [one] = [enter('one', 600_000), enter('other', 600_000)];
    await clock.advance(1_000);
    clock.pass(60_000);
    await clock.advance(500);
    assert.deepEqual(gone, []);
    for (let second = 1; second < LOOKS; second++) {
      one.take(600_000);
      one.give(600_000);
      await clock.advance(1_000);
    }
    assert.deepEqual(gone, ['other']);
  });

  test('while it is passed, gives no more to those that hold something, and has them go on when there is room', async () => {
    const { enter, unsent, clock, goesOn } = bounded();
    const [reader, holder] = [enter('reader', 0), enter('holder', 100)];
    const idle = enter('idle', MAX_BYTES);
    assert.deepEqual([unsent.hasRoom(reader.held), unsent.hasRoom(holder.held)], [true, false]);
    await clock.advance(1_000);
    assert.deepEqual(goesOn, []);
    // What it had is taken, and nobody tells of so little.
    holder.take(100);
    await clock.advance(1_000);
    assert.deepEqual(goesOn, ['holder']);
    reader.give(1);
    assert.ok(!unsent.hasRoom(reader.held));
    idle.take(MAX_BYTES);
    await clock.advance(1_000);
    assert.deepEqual(goesOn, ['holder', 'reader']);
    assert.ok(unsent.hasRoom(reader.held));
  });

  test('counts what was taken without a word, and nothing of whom is gone', () => {
    const { enter, unsent } = bounded();
    const [one, other] = [enter('one', 500), enter('other', 300)];
    one.take(400);
    assert.equal(unsent.bytes(), 400);
    unsent.leave(other.held);
    other.give(1_000);
    unsent.leave(other.held);
    assert.equal(unsent.bytes(), 100);
  });
});

const EVENT_BYTES = 100_000;
/** More than the system holds for a connection on loopback. */
const EVENTS = 120;

for (const [name, begin, ended] of [
  ['a WebSocket', overWebSocket, '4008'],
  ['SSE', overSse, '4008'],
  ['a plain stream', overStream, 'cut'],
] as const)
  test(`over ${name}, who reads nothing goes where all hold too much, and who reads stays`, { timeout: 60_000 }, async (t) => {
    const metrics = createMetrics({ version: '0' });
    const door = await realtime(t, { sessionsUnsentBytes: 1.5 * MB }, { onUnsent: metrics.unsent });
    const reader = await door.client();
    await reader.hello();
    reader.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000 });
    await reader.next('subed');
    const slow = [await begin(t, door), await begin(t, door)];
    for (const { socket } of slow) socket.pause();
    for (let n = 0; n < EVENTS; n++) {
      await door.publish('orders.created', 'x'.repeat(EVENT_BYTES));
      await reader.next('msg');
    }
    const total = async (): Promise<number> => Number(/^millrace_sessions_unsent_bytes (\d+)$/m.exec(await metrics.text())?.[1]);
    // Less than each may hold by itself: they are given no more.
    assert.ok((await total()) > MB, String(await total()));
    for (let second = 0; second <= LOOKS; second++) await door.hand.advance(1_000);
    const left = await total();
    assert.ok(left > 0 && left <= 1.5 * MB, String(left));
    await door.publish('orders.created', 'last');
    assert.equal((await reader.next('msg')).event.data, 'last');
    for (const { socket } of slow) socket.resume();
    const ends = await Promise.all(slow.map(({ end }) => end()));
    assert.deepEqual(ends.toSorted(), [ended, 'last'].toSorted());
    assert.deepEqual(door.errors, []);
  });

/** Holders as a test wants them. */
function bounded() {
  const clock = createHandClock();
  const limits = { ...LIMITS, sessionsUnsentBytes: MAX_BYTES };
  const unsent = createUnsent({ clock, limits });
  const gone: string[] = [];
  const goesOn: string[] = [];
  const enter = (name: string, bytes: number) =>
    holderIn(unsent, { onSlow: () => gone.push(name), onRoom: () => goesOn.push(name) }, bytes);
  return { clock, unsent, gone, goesOn, enter };
}

function holderIn(unsent: Unsent, on: Pick<Holder, 'onSlow' | 'onRoom'>, bytes: number) {
  let [given, taken] = [0, 0];
  const held: Held = unsent.enter({ unsentBytes: () => given - taken, takenBytes: () => taken, ...on });
  const give = (more: number): void => {
    given += more;
    unsent.add(held, more);
  };
  give(bytes);
  return { held, give, take: (some: number) => void (taken += some) };
}

interface Slow {
  readonly socket: { pause(): unknown; resume(): unknown };
  /** Reads on: the code of a goodbye, that it was cut, or that the last event came. */
  end(): Promise<string>;
}

const SUB = { op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000 };

async function overWebSocket(t: TestContext, door: RealtimeDoor): Promise<Slow> {
  const { socket, write, next, closed } = await rawSocket(t, door);
  write(framed(JSON.stringify([{ op: 'hello', v: 1, token: door.admin }, SUB])));
  await next('subed');
  const last = async (): Promise<string> => {
    while ((await next('msg')).event.data !== 'last');
    return 'last';
  };
  return { socket, end: () => Promise.race([closed.then(String), last().catch(() => closed.then(String))]) };
}

async function overSse(_t: TestContext, door: RealtimeDoor): Promise<Slow> {
  const body = JSON.stringify([{ op: 'hello', v: 1 }, SUB]);
  const { socket, write, until } = await door.connect();
  write(door.head('POST /v1/sse', { 'content-type': 'application/json', 'content-length': body.length }) + body);
  await until(/"subed"/);
  return {
    socket,
    end: async () => /"op":"bye","code":(\d+)/.exec(await until(/"op":"bye"|"data":"last"/))?.[1] ?? 'last',
  };
}

async function overStream(_t: TestContext, door: RealtimeDoor): Promise<Slow> {
  const { socket, write, until } = await door.connect();
  write(door.head('GET /v1/sse?topics=orders.created'));
  await until(/\nid: /);
  return {
    socket,
    end: () =>
      until(/"data":"last"/).then(
        () => 'last',
        () => 'cut',
      ),
  };
}
