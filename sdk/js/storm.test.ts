/** Five thousand clients that lose the same node at the same moment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRandom } from '../../test/simulation/random.ts';
import { type Clock, connect, type Dial, type Gateway } from './millrace.ts';
import { settle } from './test/hand.ts';

const CLIENTS = 5_000;
const WINDOW_MS = 100;
const GOOD_MS = 60_000;
const AWAY_MS = 20_000;
const BACKOFF_MAX_MS = 30_000;
const { next: random } = createRandom('a storm');

/** Time for all of them, by the millisecond: a list that each step looks through would be too slow. */
function sharedClock() {
  const due = new Map<number, Set<() => void>>();
  let now = 0;
  const clock: Clock = {
    nowMs: () => now,
    wallMs: () => 1_795_874_436_000 + now,
    random,
    after(delayMs, work) {
      const atMs = Math.max(now + 1, Math.ceil(now + delayMs));
      const all = due.get(atMs) ?? new Set();
      due.set(atMs, all.add(work));
      return () => void all.delete(work);
    },
  };
  async function advance(ms: number): Promise<void> {
    for (const untilMs = now + ms; now < untilMs;) {
      const works = due.get(++now);
      if (works === undefined) continue;
      due.delete(now);
      for (const work of works) work();
      await settle();
    }
  }
  return { clock, advance };
}

test('five thousand clients that lose a node come back spread out, and fewer and fewer at once while it is away', async () => {
  const { clock, advance } = sharedClock();
  const dials: Dial[] = [];
  const transport = (dial: Dial) => (dials.push(dial), { send: () => undefined, close: () => undefined });
  const gateways: Gateway[] = Array.from({ length: CLIENTS }, () =>
    connect({ url: 'http://gateway', key: 'mr_key', transports: [transport], clock }),
  );
  for (const gateway of gateways) gateway.subscribe('orders.*', () => undefined);
  await settle();
  const welcome = ({ on }: Dial): void => {
    on.open();
    on.message(`{"op":"welcome","session":"s","heartbeatMs":${4 * GOOD_MS}}`);
  };
  const isOpen = ({ state }: Gateway): boolean => state.state === 'open';
  assert.equal(dials.length, CLIENTS);
  const lost = dials.splice(0);
  for (const dial of lost) welcome(dial);
  assert.ok(gateways.every(isOpen));
  await advance(GOOD_MS);

  for (const { on } of lost) on.close(1006, '');
  const windows: number[] = [];
  for (let ms = 0; ms < AWAY_MS; ms += WINDOW_MS) {
    await advance(WINDOW_MS);
    const refused = dials.splice(0);
    windows.push(refused.length);
    for (const { on } of refused) on.close(1006, '');
  }
  const sum = (from: number, to: number): number => windows.slice(from, to).reduce((all, one) => all + one, 0);
  assert.ok(sum(0, 10) >= CLIENTS, 'each of them tries within a second');
  // A tenth of them in each window of the first second, and beside them the second tries of those that were early.
  assert.ok(Math.max(...windows) < CLIENTS / 4, `${Math.max(...windows)} at once`);
  assert.ok(sum(150, 200) < sum(0, 50) / 2, 'who found nobody waits longer each time');

  for (let ms = 0; ms < BACKOFF_MAX_MS; ms += WINDOW_MS) {
    await advance(WINDOW_MS);
    assert.ok(dials.length < CLIENTS / 10, `${dials.length} at once when it is back`);
    for (const dial of dials.splice(0)) welcome(dial);
  }
  assert.ok(gateways.every(isOpen), 'all are back within the longest wait');
});
