/**
 * What /metrics says of all workers: one series where each has one, summed. What a worker had counted when it was last asked
 * stays counted when it ends, so that no counter of the process ever goes back.
 */
import { Counter, Gauge, Registry } from '@prometheus-io/client';
import { type Samples, sumOf } from '../metrics.ts';
import type { Clock } from '../ports/clock.ts';
import type { WorkerThread } from './worker-thread.ts';

/** A worker that does not answer by then is taken as it was when it last did. */
const ANSWER_MS = 2_000;

export interface Scrapes {
  text(workers: readonly WorkerThread[]): Promise<string>;
  /** A worker has told its samples. */
  told(number: number, samples: Samples): void;
  ended(worker: WorkerThread): void;
}

export function createScrapes({ clock }: { readonly clock: Clock }): Scrapes {
  const registry = new Registry();
  const registers = [registry];
  const running = new Gauge({ name: 'millrace_workers', help: 'Workers of this process that take events.', registers });
  const ends = new Counter({ name: 'millrace_worker_ends_total', help: 'Workers that ended by an error.', registers });
  /** By worker: as it last was. */
  const last = new Map<WorkerThread, Samples>();
  const asked = new Map<number, (samples: Samples) => void>();
  let retired: Samples = [];
  let folding = Promise.resolve();
  let numbers = 0;

  async function sample(worker: WorkerThread): Promise<Samples> {
    const number = ++numbers;
    const { promise, resolve } = Promise.withResolvers<Samples | undefined>();
    asked.set(number, resolve);
    const tooLong = clock.after(ANSWER_MS, () => resolve(undefined));
    void worker.ended.then(() => resolve(undefined));
    worker.post({ sample: number });
    const samples = await promise;
    tooLong.cancel();
    asked.delete(number);
    if (samples === undefined) return last.get(worker) ?? [];
    last.set(worker, samples);
    return samples;
  }

  return {
    async text(workers) {
      running.set(workers.length);
      const own = await registry.getMetricsAsJSON();
      const all = await Promise.all(workers.map(sample));
      await folding;
      return sumOf([own, retired, ...all]).text();
    },
    told: (number, samples) => asked.get(number)?.(samples),
    ended(worker) {
      ends.inc();
      const samples = last.get(worker);
      last.delete(worker);
      if (samples === undefined) return;
      folding = folding.then(async () => void (retired = await sumOf([retired, samples]).counted()));
    },
  };
}
