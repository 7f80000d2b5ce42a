/**
 * The process that the crash tests kill: appends with idempotency keys and commits to the ledger, as much at once as it
 * can, and writes down what was acknowledged, a line each: `a <key> <position>` or `c <number>`. Its arguments are the
 * directory, the round, and the options of openEmbedded as JSON.
 */
import { writeSync } from 'node:fs';
import { openEmbedded } from './embedded.ts';
import type { Embedded, EmbeddedOptions } from './embedded.ts';
import { keyed, START_MS } from './testing.ts';

const [directory, round, options] = process.argv.slice(2) as [string, string, string];
const store = await openEmbedded({ directory, now: () => START_MS, ...(JSON.parse(options) as Partial<EmbeddedOptions>) });
say('open');
for (let publisher = 0; publisher < 8; publisher++) void publish(store, publisher);
void commit(store);

async function publish({ log }: Embedded, publisher: number): Promise<never> {
  for (let n = 0; ; n++) {
    const keys = Array.from({ length: 1 + (n % 5) }, (_, i) => `${round}.${publisher}.${n}.${i}`);
    const results = await log.append(keys.map((key, i) => keyed(key, { bytes: 200, topic: `topic.${i}` })));
    say(results.map((result, i) => `a ${keys[i]} ${result.status === 'appended' ? result.position : result.status}`).join('\n'));
  }
}

/** Commit n has three attempts and the cursor n: all of them or none. */
async function commit({ ledger }: Embedded): Promise<never> {
  const lane = `sub${round}.0`;
  for (let n = 1; ; n++) {
    const position = String(n).padStart(16, '0');
    const attempt = {
      lane,
      shard: '0',
      position,
      startedMs: START_MS,
      durationMs: 1,
      outcome: 'delivered',
      cause: '',
      status: 200,
      snippet: '',
      eventId: '',
      topic: 't',
    } as const;
    const cursor = { log: 'l', position, timeMs: n, idHash: '' };
    await ledger.commit({ attempts: [1, 2, 3].map((i) => ({ ...attempt, n: i })), lanes: [{ lane, shard: '0', cursor }] });
    say(`c ${n}`);
  }
}

/** At once: what is still in a buffer when the process is killed was never said. */
function say(text: string): void {
  writeSync(1, `${text}\n`);
}
