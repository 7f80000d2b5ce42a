/** Seeds spread over worker threads, a few at a time, so that a slow seed holds nobody up. */
import { availableParallelism } from 'node:os';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { runSeed } from './seed.ts';
import type { SeedResult } from './seed.ts';
import type { PromiseName } from './oracle/verdict.ts';
import { emptyCounts } from './situations.ts';

export interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly steps?: number;
  readonly skip?: ReadonlySet<number>;
  /** Default: one per processor. */
  readonly jobs?: number;
}

/** A worker that has its turns says so far more often, also on a machine that is busy with other things. */
const STUCK_MS = 20_000;
const ALIVE_MS = 1_000;
const ALIVE = 'alive';

interface Task {
  readonly seed: number;
  readonly steps: number | undefined;
}

/** Gives every result to `onResult`, until it says no. Results come as they are ready, in no order. */
export async function runSeeds(
  { from, count, steps, skip = new Set(), jobs = availableParallelism() }: SeedRange,
  onResult: (result: SeedResult) => boolean,
): Promise<void> {
  let next = from;
  let stopped = false;

  function take(result: SeedResult): void {
    if (!stopped && !onResult(result)) stopped = true;
  }

  function runWorker(): Promise<void> {
    const worker = new Worker(new URL(import.meta.url));
    return new Promise((resolve, reject) => {
      let watchdog: NodeJS.Timeout | undefined;
      let seed = 0;
      const give = (): void => {
        clearTimeout(watchdog);
        while (skip.has(next)) next++;
        if (stopped || next >= from + count) {
          void worker.terminate();
          return resolve();
        }
        seed = next++;
        worker.postMessage({ seed, steps } satisfies Task);
        watch();
      };
      const watch = (): void => {
        clearTimeout(watchdog);
        // real time: a seed that never gives up its turn can only be noticed by the clock on the wall.
        watchdog = setTimeout(() => {
          // Only a loop that never gives up its turn is silent for so long. Its worker is lost; another goes on.
          void worker.terminate();
          take(failed(seed, 'liveness', 'every step comes to its end', `no sign of life for ${STUCK_MS} ms`));
          runWorker().then(resolve, reject);
        }, STUCK_MS);
      };
      worker.on('message', (said: SeedResult | typeof ALIVE) => {
        if (said === ALIVE) return watch();
        take(said);
        give();
      });
      worker.on('error', reject);
      give();
    });
  }

  await Promise.all(Array.from({ length: Math.min(jobs, count) }, runWorker));
}

/** A seed that throws is a failure of the world, or of gateway code called by it: it is told like a broken promise. */
export async function runSafely(seed: number, options: Parameters<typeof runSeed>[1]): Promise<SeedResult> {
  try {
    return await runSeed(seed, options);
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return failed(seed, 'contract', 'nothing throws', detail);
  }
}

function failed(seed: number, promise: PromiseName, sentence: string, detail: string): SeedResult {
  return {
    seed,
    steps: 0,
    events: 0,
    virtualMs: 0,
    hash: '',
    counts: emptyCounts(),
    crashes: 0,
    broken: [{ promise, sentence, detail, words: [] }],
    history: [],
  };
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  // real time: as STUCK_MS
  setInterval(() => port.postMessage(ALIVE), ALIVE_MS);
  port.on('message', ({ seed, steps }: Task) => {
    void runSafely(seed, steps === undefined ? {} : { steps }).then((result) => port.postMessage(result));
  });
}
