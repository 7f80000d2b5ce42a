/**
 * Several workers in one process: threads that share the port, each a node of a cluster with slots, a lease and connections of
 * its own. The main thread owns what is of the process: terminal, signals, data directory and, where the store is embedded, the
 * store thread that all of them write to. It works on no event, so whatever happens in a worker, it can say so.
 *
 * A worker that ends by an error is started again; until then the others have its slots. One that ends again and again ends the
 * process: that is for whoever supervises it to see.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Notice } from '../api.ts';
import { createUnderWay } from '../http/repeats.ts';
import { limitsOf } from '../limits.ts';
import { addressOf, reservePort } from '../listen.ts';
import type { StartOptions } from '../options.ts';
import type { Directory } from '../ports/directory.ts';
import { publicUrlOf } from '../public-url.ts';
import { StartRefused } from '../refused.ts';
import { createEgress } from '../senders/egress.ts';
import { prepare, PRIVATE_UMASK, type Running, type StartNeeds } from '../start.ts';
import { systemClock as clock } from '../system-clock.ts';
import type { FromWorker } from './messages.ts';
import { createRestarts } from './restarts.ts';
import { errorOf } from './said.ts';
import { createScrapes } from './scrapes.ts';
import { startWorkerThread, type WorkerThread } from './worker-thread.ts';

/** What is configured, for what happens once; and the store, where the workers share that of this process. */
export interface Host {
  readonly directory: Directory;
  /** To be transferred to one worker. Absent where each opens a store of its own. */
  readonly share?: () => MessagePort;
  close(): Promise<void>;
}

export interface OpenHost {
  (
    options: Pick<StartOptions, 'data' | 'durability' | 'log' | 'store'> & { readonly onFailure: (error: Error) => void },
  ): Promise<Host>;
}

export interface WorkersNeeds extends Omit<StartNeeds, 'openStore' | 'onNotice' | 'worker'> {
  readonly openHost: OpenHost;
  readonly onNotice: (notice: Notice, worker: number) => void;
  /** So many notices of deliveries came faster than they could be told. */
  readonly onUnprinted: (count: number) => void;
  readonly onWorkerEnded: (ended: { readonly worker: number; readonly error: Error; readonly againMs: number }) => void;
  readonly onWorkerBack: (worker: number) => void;
}

const PORT_MAX = 65_535;

export async function startWorkers(needs: WorkersNeeds): Promise<Running> {
  process.umask(PRIVATE_UMASK);
  const options = checked(needs.options);
  const host = await needs.openHost({ ...options, onFailure: needs.onFailure });
  const workers = new Map<number, WorkerThread>();
  const restarts = createRestarts({ clock, onAgain: needs.onWorkerEnded, onGivenUp: needs.onFailure });
  const underWay = createUnderWay();
  const theirs = new Map<WorkerThread, Set<string>>();
  const scrapes = createScrapes({ clock });
  let isStopping = false;

  function launch(
    number: number,
    setup: Omit<Parameters<typeof startWorkerThread>[0]['setup'], 'number' | 'shared'>,
  ): WorkerThread {
    const shared = host.share?.();
    const worker = startWorkerThread({
      setup: { ...setup, number, ...(shared === undefined ? {} : { shared }) },
      onMessage: (message) => took(worker, message),
    });
    theirs.set(worker, new Set());
    void worker.ready.then(
      () => void workers.set(number, worker),
      () => undefined, // it ended; that is told below
    );
    const beganMs = clock.monotonic();
    void worker.ended.then((error) => {
      for (const id of theirs.get(worker) ?? []) underWay.end(id);
      theirs.delete(worker);
      workers.delete(number);
      if (error === undefined || isStopping || !isStarted) return;
      scrapes.ended(worker);
      const start = (): void =>
        void launch(number, setup).ready.then(
          () => needs.onWorkerBack(number),
          () => undefined, // it has ended: that is told where it ends
        );
      restarts.ended(number, { error, ranMs: clock.monotonic() - beganMs, start });
    });
    return worker;
  }

  function took(worker: WorkerThread, message: FromWorker): void {
    if ('notices' in message) {
      for (const notice of message.notices) needs.onNotice(notice, worker.number);
      if (message.unprinted > 0) needs.onUnprinted(message.unprinted);
      worker.post({ noticed: true });
    } else if ('declared' in message) needs.onDeclared(message.declared.topic, message.declared.owner);
    else if ('unexpected' in message) needs.onError(errorOf({ kind: 'error', message: message.unexpected }));
    else if ('failure' in message) needs.onFailure(errorOf(message.failure));
    else if ('begin' in message) {
      const began = underWay.begin(message.begin) as boolean;
      if (began) theirs.get(worker)?.add(message.begin);
      worker.post({ began, number: message.number });
    } else if ('end' in message) {
      theirs.get(worker)?.delete(message.end);
      underWay.end(message.end);
    } else if ('metrics' in message)
      scrapes
        .text([...workers.values()])
        .then((text) => worker.post({ text, number: message.metrics }))
        .catch(needs.onError);
    else if ('samples' in message) scrapes.told(message.number, message.samples);
  }

  let isStarted = false;
  try {
    const prepared = await prepare(options, host.directory);
    const port = await reservePort(options);
    const { version } = needs;
    const setup = { options: { ...options, port }, version, prepared };
    const numbers = Array.from({ length: options.workers ?? 1 }, (_, at) => at + 1);
    const started = numbers.map((number) => launch(number, setup));
    try {
      const ends = started.map(async ({ ended }) => Promise.reject((await ended) ?? new Error('a worker has ended')));
      await Promise.race([Promise.all(started.map(({ ready }) => ready)), ...ends]);
    } catch (error) {
      await Promise.all(started.map((one) => one.terminate()));
      throw error;
    }
    isStarted = true;
    return {
      address: addressOf(options.host, port),
      port,
      key: prepared.key,
      sendSample: undefined,
      samples: async () => [],
      async stop() {
        isStopping = true;
        restarts.stop();
        await Promise.all([...theirs.keys()].map((worker) => worker.stop()));
        await host.close();
      },
      // The process ends with all its threads.
      abandon: () => undefined,
    };
  } catch (error) {
    isStopping = true;
    await host.close();
    throw error;
  }
}

/** What was typed is looked at before anything is opened. */
function checked(options: StartOptions): StartOptions {
  limitsOf(options.limits);
  publicUrlOf(options);
  createEgress({ allow: options.allowEgress });
  const { store, port, workers = 1 } = options;
  if (store !== undefined && port === 0)
    throw new StartRefused('a node of a cluster has a port that the others know', 'Name it: --port 4400, each node its own.');
  if (store !== undefined && port + workers > PORT_MAX)
    throw new StartRefused(
      `with --store each worker has a port of its own, and ${port} leaves no room for ${workers} above it`,
      `Choose a port up to ${PORT_MAX - workers}: the workers have those right above it.`,
    );
  return options;
}
