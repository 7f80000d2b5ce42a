/** Seeds spread over worker threads, a few at a time, so that a slow seed holds nobody up. */
import { availableParallelism } from 'node:os';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { runSeed } from './seed.ts';
import type { SeedResult } from './seed.ts';

export interface SeedRange {
  readonly from: number;
  readonly count: number;
  readonly steps?: number;
  /** Default: one per processor. */
  readonly jobs?: number;
}

interface Task {
  readonly seed: number;
  readonly steps: number | undefined;
}

/** Gives every result to `onResult`, until it says no. Results come as they are ready, in no order. */
export async function runSeeds({ from, count, steps, jobs = availableParallelism() }: SeedRange, onResult: (result: SeedResult) => boolean): Promise<void> {
  let next = from;
  let stopped = false;

  function runWorker(): Promise<void> {
    const worker = new Worker(new URL(import.meta.url));
    return new Promise((resolve, reject) => {
      const give = (): void => {
        if (stopped || next >= from + count) {
          void worker.terminate();
          resolve();
        } else worker.postMessage({ seed: next++, steps } satisfies Task);
      };
      worker.on('message', (result: SeedResult) => {
        if (!stopped && !onResult(result)) stopped = true;
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
    const broken = [{ promise: 'contract' as const, sentence: 'nothing throws', detail, words: [] }];
    return { seed, steps: 0, events: 0, virtualMs: 0, hash: '', counts: {} as SeedResult['counts'], crashes: 0, broken, history: [] };
  }
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  port.on('message', ({ seed, steps }: Task) => {
    void runSafely(seed, steps === undefined ? {} : { steps }).then((result) => port.postMessage(result));
  });
}
