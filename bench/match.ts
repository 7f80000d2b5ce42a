/** Matching one event against 10,000 subscriptions of one topic. */
import { setImmediate } from 'node:timers/promises';
import { type CompiledFilter, compileFilter } from '@millrace/core/filter';
import { compileTopics } from '@millrace/core/topic';
import { createMatch, type Wanted } from '@millrace/gateway/flow/match';
import type { LogRecord } from '@millrace/gateway/ports/log';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { APP, ENVIRONMENT, TOPIC } from './rig.ts';

const SUBSCRIPTIONS = 10_000;
const DISTINCT = 100;
const EVENTS = 500;

interface Case {
  readonly name: string;
  /** Of the nth subscription. */
  readonly filter: (n: number) => unknown;
}

const CASES: readonly Case[] = [
  {
    name: '100 distinct filters',
    filter: (n) => ({ data: { amount: [{ numeric: ['>=', n % DISTINCT, '<', (n % DISTINCT) + 1] }] } }),
  },
  { name: '10,000 equality filters', filter: (n) => ({ data: { tenant: [`tenant-${n}`] } }) },
];

const records: readonly LogRecord[] = Array.from({ length: EVENTS }, (_, n) => recordOf(n));

await runBenchmark('match', async ({ quick }) => {
  const rounds = quick ? 2 : 10;
  const prepared = CASES.map(({ name, filter }) => ({ name, ...prepare(filter) }));

  return {
    method: [
      `${SUBSCRIPTIONS} subscriptions on one topic, ${EVENTS} different events of 1 KB of JSON; every match parses its event once. In the first case each event matches ${SUBSCRIPTIONS / DISTINCT} subscriptions, in the second one.`,
      'Raw: a loop over all compiled filters with the event parsed once for all of them. Both sides find the same, or the run fails.',
    ],
    async pass() {
      const samples: Sample[] = [];
      for (const { name, index, naive } of prepared) {
        await setImmediate();
        const ours = microsPerEvent(index, rounds * EVENTS);
        const raw = microsPerEvent(naive, EVENTS / 5);
        samples.push({ name, unit: 'µs per event', ours, raw });
      }
      return samples;
    },
    close: () => Promise.resolve(),
  };
});

interface Find {
  (record: LogRecord): number;
}

function prepare(filterOf: (n: number) => unknown): { readonly index: Find; readonly naive: Find } {
  const all: (Wanted & { readonly filter: CompiledFilter })[] = Array.from({ length: SUBSCRIPTIONS }, (_, n) => ({
    uid: `s${n}`,
    environment: ENVIRONMENT,
    app: APP,
    topics: compileTopics([TOPIC]),
    filter: compileFilter(filterOf(n)),
  }));
  const match = createMatch();
  for (const wanted of all) match.add(wanted);
  const index: Find = (record) => match(record).length;
  const naive: Find = ({ event }) => {
    let parsed: unknown;
    const data = (): unknown => (parsed ??= JSON.parse(Buffer.from(event.data as Uint8Array).toString()));
    return all.filter(({ filter }) => filter.matches(event, data)).length;
  };
  for (const record of records.slice(0, 20)) {
    if (index(record) !== naive(record)) throw new Error('the index and the loop found different subscriptions');
  }
  return { index, naive };
}

function recordOf(n: number): LogRecord {
  const data = Buffer.from(
    JSON.stringify({ tenant: `tenant-${(n * 7_919) % SUBSCRIPTIONS}`, amount: (n % DISTINCT) + 0.5, note: 'x'.repeat(960) }),
  );
  const event = { id: `e${n}`, source: '/apps/shop', type: TOPIC, extensions: {}, data };
  return {
    shard: '0',
    position: String(n).padStart(16, '0'),
    timeMs: n,
    environment: ENVIRONMENT,
    app: APP,
    event,
    size: data.length,
  };
}

function microsPerEvent(find: Find, count: number): number {
  const startedMs = performance.now();
  for (let at = 0; at < count; at++) find(records[at % EVENTS] as LogRecord);
  return ((performance.now() - startedMs) * 1_000) / count;
}
