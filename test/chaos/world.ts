/** A gateway under load: its process with its lives, its publishers, its receivers, and the book of what is true. */
import type { Random } from '../simulation/random.ts';
import { must } from './api.ts';
import { type Book, createBook, type Life } from './book.ts';
import { freePort } from './port.ts';
import { type Gateway, type Ready, startGateway } from './process.ts';
import { createPublisher, type Publisher, type PublisherSettings } from './publisher.ts';
import { type Receiver, startReceiver } from './receiver.ts';
import { createSettle } from './settle.ts';
import { settingsOf, SPECS, TOPICS } from './subscriptions.ts';
import { createSignal, within } from './waiting.ts';

export interface World {
  readonly book: Book;
  readonly random: Random;
  /** Of the gateway. */
  readonly data: string;
  readonly publishers: readonly Publisher[];
  readonly gateway: Gateway;
  /** The first life: topics are declared and subscriptions made when it resolves. */
  begin(): Promise<void>;
  /** Starts the next life; it is not ready yet. */
  start(environment?: NodeJS.ProcessEnv): Gateway;
  /** A gateway that takes requests, now or as soon as there is one. */
  up(): Promise<Ready>;
  /** Ends this life and resolves when the process is gone and everything it had sent was noted. */
  end(by: 'kill' | 'term'): Promise<number | NodeJS.Signals | null>;
  /** An error that ends one worker of several: resolves when the process has said so. The process itself goes on. */
  fault(): Promise<void>;
  /** This life may end by itself, and say why: it can not begin. */
  expectRefusal(): void;
  /** Lets publishers publish until `drain`. */
  load(): void;
  /** Waits until nothing is owed of what was acknowledged until now; the load goes on. What stays owed is a breach. */
  arrived(): Promise<void>;
  /** Endpoints that are down come back, and stay up. */
  calm(): void;
  /** Stops the load and waits until nothing is owed. What stays owed is a breach. */
  drain(): Promise<void>;
  /** Rejects as soon as the gateway ends without having been told to. */
  readonly broken: Promise<never>;
  close(): Promise<void>;
}

export interface WorldOptions {
  readonly random: Random;
  readonly data: string;
  readonly publishers?: readonly PublisherSettings[];
  readonly environment?: NodeJS.ProcessEnv;
  /** Lines that it may write to stderr. Default: none. */
  readonly mayWrite?: RegExp;
}

/** Two write lists of 100, four write single events. */
export const PUBLISHERS: readonly PublisherSettings[] = [
  ...['list1', 'list2'].map((name) => ({ name, size: 100, gapMs: 500, padBytes: 400 })),
  ...['one1', 'one2', 'one3', 'one4'].map((name) => ({ name, size: 1, gapMs: 20, padBytes: 400 })),
];

/** Deliveries that may be owed before publishers wait: enough to be behind, little enough to be worked off in seconds. */
const OWED_MAX = 20_000;
const START_MS = 60_000;
/** limits.drainMs of the gateway for requests, once more for its connections, and something for the disk. */
const END_MS = 60_000;

export async function openWorld({ random, data, publishers = PUBLISHERS, environment, mayWrite }: WorldOptions): Promise<World> {
  const book = createBook(SPECS);
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined);
  const ready = createSignal();
  const port = await freePort(random.fork('port'));
  const receivers: Receiver[] = [];
  const running: Promise<void>[] = [];
  let gateway: Gateway | undefined;
  let mayEnd = false;
  let isRefusal = false;
  let calm = false;
  let isClosed = false;
  let failure: Error | undefined;

  for (const spec of SPECS)
    receivers.push(await startReceiver({ spec, book, random: random.fork(`receiver ${spec.id}`), isCalm: () => calm }));
  const writers = publishers.map((settings) =>
    createPublisher({ ...settings, book, random: random.fork(`publisher ${settings.name}`), up, room }),
  );

  function start(more: NodeJS.ProcessEnv | undefined = environment): Gateway {
    const life = book.beginLife();
    const started = startGateway({ port, data, ...(more === undefined ? {} : { environment: more }) });
    gateway = started;
    mayEnd = isRefusal = false;
    started.ready.then(
      ({ afterMs }) => {
        life.readyAfterMs = afterMs;
        ready.fire();
      },
      () => undefined, // it ended; that is told below
    );
    void started.ended.then(({ how, stderr }) => {
      const isExpected = mayWrite !== undefined && stderr.split('\n').every((line) => mayWrite.test(line));
      if (stderr !== '' && !isRefusal && !isExpected) book.breach(`life ${life.n} wrote to stderr: ${stderr.slice(0, 2_000)}`);
      if (mayEnd || gateway !== started || isClosed) return;
      life.end = 'crash';
      fail(new Error(`life ${life.n} of the gateway ended by itself (${how})\n${stderr}`));
    });
    return started;
  }

  /** Whoever waits for something of the gateway gets this instead. */
  function fail(error: Error): void {
    failure ??= error;
    broken.reject(failure);
    ready.fire();
    book.wake();
  }

  async function up(): Promise<Ready> {
    for (;;) {
      if (failure !== undefined) throw failure;
      if (gateway?.now !== undefined && !gateway.isOver) return gateway.now;
      await ready.next();
    }
  }

  async function room(): Promise<void> {
    while (book.owed > OWED_MAX && failure === undefined) await book.changed();
  }

  async function end(by: 'kill' | 'term'): Promise<number | NodeJS.Signals | null> {
    if (gateway === undefined) throw new Error('no gateway was started');
    noteOpen(book.life, { receivers, writers });
    book.life.end = by;
    mayEnd = true;
    gateway.signal(by === 'kill' ? 'SIGKILL' : 'SIGTERM');
    const { how } = await within(END_MS, `life ${book.life.n} ends after ${by}`, gateway.ended);
    await Promise.all(receivers.map((receiver) => within(END_MS, 'its connections close', receiver.quiet())));
    return how;
  }

  /** What it had sent is of a life of its own, and what of that is accepted later of another: nobody hears of it. */
  async function fault(): Promise<void> {
    if (gateway === undefined) throw new Error('no gateway was started');
    const said = gateway.line('worker_ended');
    divide();
    gateway.signal('SIGUSR2');
    await within(END_MS, 'a worker ends', said);
    divide();
  }

  function divide(): void {
    noteOpen(book.life, { receivers, writers });
    book.life.end = 'kill';
    book.beginLife();
  }

  async function declare(): Promise<void> {
    const now = await within(START_MS, 'the first start', up());
    for (const topic of Object.values(TOPICS)) await must(now, `PUT /v1/topics/${topic}`);
    for (const [at, spec] of SPECS.entries())
      await must(now, `PUT /v1/subscriptions/${spec.id}`, settingsOf(spec, receivers[at]?.url ?? ''));
  }

  const settle = createSettle({ book, up });

  return {
    book,
    random,
    data,
    publishers: writers,
    broken: broken.promise,
    get gateway() {
      return gateway as Gateway;
    },
    begin() {
      start();
      return declare();
    },
    start,
    up: () => within(START_MS, 'a gateway that is ready', up()),
    end,
    fault,
    expectRefusal: () => void (mayEnd = isRefusal = true),
    load() {
      for (const writer of writers) running.push(writer.run());
      for (const one of running) one.catch(fail);
    },
    arrived: () => settle([...book.events.values()].filter(({ position }) => position !== undefined)),
    calm: () => void (calm = true),
    async drain() {
      for (const writer of writers) writer.stop();
      await Promise.all(running);
      calm = true;
      await settle([...book.events.values()]);
      // What may still come that is not owed, comes before what is published now.
      await Promise.all(writers.map((writer) => writer.once()));
      await settle([...book.events.values()]);
    },
    async close() {
      isClosed = true;
      fail(new Error('the world is closed'));
      gateway?.signal('SIGKILL');
      await gateway?.ended;
      for (const receiver of receivers) await receiver.close();
    },
  };
}

function noteOpen(life: Life, { receivers, writers }: { receivers: readonly Receiver[]; writers: readonly Publisher[] }): void {
  life.openRequests = receivers.reduce((sum, { open }) => sum + open, 0);
  life.openPublishes = writers.reduce((sum, { inFlight }) => sum + inFlight, 0);
  life.openBatch = writers.some(({ isBatch, inFlight }) => isBatch && inFlight > 0);
}
