/** Catch-up: lanes that are behind share reads, and no lane is given what was read for another question. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryLog } from '@millrace/memory/log';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createHandClock, draftOf, settle } from '../../test/clock.ts';
import { LIMITS, type Limits } from '../limits.ts';
import type { Log, Page } from '../ports/log.ts';
import { createCatchUp, type Rider } from './catch-up.ts';

interface Lane extends Rider {
  readonly rides: string[][];
  readPosition: string;
  topics: readonly string[];
}

/** Takes all it is given. */
function rider(at = '', topics: readonly string[] = ['>'], environment = 'default'): Lane {
  const lane: Lane = {
    environment,
    topics,
    readPosition: at,
    rides: [],
    ride(page: Page) {
      lane.rides.push(page.records.filter(({ position }) => position > lane.readPosition).map(({ event }) => event.id));
      if (page.through > lane.readPosition) lane.readPosition = page.through;
    },
  };
  return lane;
}

async function made(limits: Partial<Limits> = {}) {
  const clock = createHandClock();
  const memory = createMemoryLog({ now: clock.now });
  const entries = Array.from({ length: 8 }, (_, at) => {
    const event = { extensions: {}, source: '/s', ...draftOf(`${at + 1}`), id: `${at + 1}`, type: at % 2 === 0 ? 'odd' : 'even' };
    return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
  });
  await memory.append(entries);
  const reads: string[] = [];
  const trouble: (string | undefined)[] = [];
  const log: Log = { ...memory, read: (request) => (reads.push(request.after.replace(/^0+/, '')), memory.read(request)) };
  const catchUp = createCatchUp({
    shard: 'memory-0',
    log,
    clock,
    limits: { ...LIMITS, pageRecords: 4, ...limits },
    onTrouble: (code) => trouble.push(code),
  });
  return { catchUp, clock, log, reads, trouble };
}

const at = (count: number): string => String(count).padStart(16, '0');

test('a lane that asks is fed the page after where it stands, also when it asks twice', async () => {
  const { catchUp, reads } = await made();
  const lane = rider();
  catchUp.request(lane);
  catchUp.request(lane);
  await settle();
  assert.deepEqual(lane.rides, [['1', '2', '3', '4']]);
  catchUp.request(lane);
  await settle();
  assert.deepEqual(lane.rides.at(-1), ['5', '6', '7', '8']);
  assert.deepEqual(reads, ['', '4']);
});

test('neighbours share one read, each from where it stands', async () => {
  const { catchUp, reads } = await made({ catchUpReaders: 1 });
  const lanes = [rider(at(0)), rider(at(2)), rider(at(3))];
  for (const lane of lanes) catchUp.request(lane);
  await settle();
  assert.deepEqual(
    lanes.map(({ rides }) => rides),
    [[['1', '2', '3', '4']], [['3', '4']], [['4']]],
  );
  assert.equal(reads.length, 1);
});

test('lanes with other topics, or of another environment, do not share', async () => {
  const { catchUp, reads } = await made();
  const lanes = [rider('', ['odd']), rider('', ['even']), rider('', ['odd'], 'staging')];
  for (const lane of lanes) catchUp.request(lane);
  await settle();
  assert.deepEqual(
    lanes.map(({ rides }) => rides),
    [[['1', '3', '5', '7']], [['2', '4', '6', '8']], [[]]],
  );
  assert.equal(reads.length, 3);
});

test('a lane whose topics changed while its page was read is not served that page', async () => {
  const { catchUp } = await made();
  const lane = rider('', ['odd']);
  catchUp.request(lane);
  await Promise.resolve();
  lane.topics = ['even'];
  await settle();
  assert.deepEqual(lane.rides, [['2', '4', '6', '8']]);
});

test('a lane that went on meanwhile is served from where it stands', async () => {
  const { catchUp } = await made();
  const lane = rider();
  catchUp.request(lane);
  await Promise.resolve();
  lane.readPosition = at(6);
  await settle();
  assert.deepEqual(lane.rides, [['7', '8']]);
});

test('no more pages are read at once than there are readers, and nobody is forgotten', async () => {
  const { catchUp, log } = await made({ catchUpReaders: 2 });
  const { read } = log;
  let [now, most] = [0, 0];
  const doors: (() => void)[] = [];
  log.read = async (request) => {
    most = Math.max(most, ++now);
    await new Promise<void>((resolve) => doors.push(resolve));
    now--;
    return read(request);
  };
  const lanes = Array.from({ length: 6 }, (_, n) => rider('', [n % 2 === 0 ? 'odd' : 'even', `t${n}`]));
  for (const lane of lanes) catchUp.request(lane);
  await settle();
  while (doors.length > 0) {
    doors.shift()?.();
    await settle();
  }
  assert.equal(most, 2);
  assert.ok(lanes.every(({ rides }) => rides.length === 1));
});

test('a read that fails is tried again, and told', async () => {
  const { catchUp, log, clock, trouble } = await made();
  const { read } = log;
  log.read = () => Promise.reject(Object.assign(new Error('gone'), { code: 'log_unavailable' }));
  const lane = rider();
  catchUp.request(lane);
  await clock.advance(1_200);
  assert.deepEqual(lane.rides, []);
  assert.deepEqual(new Set(trouble), new Set(['log_unavailable']));
  log.read = read;
  await clock.advance(500);
  assert.deepEqual(lane.rides, [['1', '2', '3', '4']]);
  assert.equal(trouble.at(-1), undefined);
});

test('cancelled or stopped, nobody is fed', async () => {
  const { catchUp } = await made();
  const [cancelled, stopped] = [rider(), rider()];
  catchUp.request(cancelled);
  catchUp.cancel(cancelled);
  await settle();
  catchUp.request(stopped);
  await Promise.resolve();
  catchUp.stop();
  await settle();
  catchUp.request(stopped);
  await settle();
  assert.deepEqual([cancelled.rides, stopped.rides], [[], []]);
});
