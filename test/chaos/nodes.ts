/** Three nodes over a NATS and a Postgres under load: which are up, which broker is, and what was done to them. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openNats } from '@millrace/log-nats';
import { findBroker, startBroker, type TestServer } from '../../scripts/brokers/find.ts';
import { createRandom, type Random } from '../simulation/random.ts';
import { must } from './api.ts';
import { type Book, createBook } from './book.ts';
import { atEnd } from './clean-up.ts';
import type { Kept } from './kept-log.ts';
import { freePort } from './port.ts';
import { type Gateway, type Line, type Ready, startGateway } from './process.ts';
import { createPublisher, type Publisher } from './publisher.ts';
import { type Receiver, startReceiver } from './receiver.ts';
import { createSettle } from './settle.ts';
import { settingsOf, SPECS, TOPICS } from './subscriptions.ts';
import { createSignal, pass, within } from './waiting.ts';
import { PUBLISHERS } from './world.ts';

export type BrokerName = 'nats' | 'postgres';

export interface Nodes {
  readonly book: Book;
  readonly random: Random;
  /** How often a node told that its lease was over or slots of its were lost, also in an outage. */
  readonly leasesLost: number;
  /** Topics are declared and subscriptions made, and the load begins. */
  begin(): Promise<void>;
  /** kill -9 of one; it is started again at once. */
  kill(at: number): Promise<void>;
  /** SIGTERM; it is started again at once. */
  stop(at: number): Promise<void>;
  /** The broker is away for so long: stopped, or killed, and started again on its port and data. */
  outage(name: BrokerName, ms: number): Promise<void>;
  /** Waits until every node is ready. */
  up(): Promise<void>;
  /** Stops the load, waits until nothing is owed, and ends the nodes. Resolves with what the log holds then. */
  end(): Promise<readonly Kept[]>;
  close(): Promise<void>;
}

const NODES = 3;
const OWED_MAX = 20_000;
const START_MS = 60_000;
const LEASE_MS = 2_000;
const TRICKLE_MS = 1_000;
/** What a supervisor waits before it starts a node again that could not start. */
const AGAIN_MS = 500;
/** Until the receivers have read what a killed node had sent. Those who repeat it meanwhile do so with its end as the reason, too. */
const UNREAD_MS = 500;
/** A node that was too busy to keep its lease: what it had heard and not written is sent again by the next, as after a kill. */
const LEASE_LOST = new Set(['lease_over', 'slots_lost']);
/** Ends of a node that are none of its own: what it needs is away. */
const AWAY = /_unavailable|can not be (?:reached|used)|does not answer|ECONNREFUSED|lost|is away/i;

/** Undefined where a broker is missing: `skipped` says why. */
export async function openNodes(seed: string): Promise<Nodes | { readonly skipped: string }> {
  const found = { nats: await findBroker('nats'), postgres: await findBroker('postgres') };
  const missing = [found.nats.skip, found.postgres.skip].filter((skip) => skip !== false);
  if (found.nats.skip !== false || found.postgres.skip !== false) {
    await found.nats.server?.remove();
    await found.postgres.server?.remove();
    return { skipped: missing.join('; ') };
  }
  return createNodes(createRandom(seed), { nats: found.nats.server, postgres: found.postgres.server });
}

async function createNodes(random: Random, brokers: Record<BrokerName, TestServer>): Promise<Nodes> {
  const own = mkdtempSync(join(tmpdir(), 'millrace-chaos-nodes-'));
  const forget = atEnd(() => rmSync(own, { recursive: true, force: true }));
  const book = createBook(SPECS);
  const ready = createSignal();
  const ports = await Promise.all(Array.from({ length: NODES }, (_, at) => freePort(random.fork(`port ${at}`))));
  const gateways: Gateway[] = [];
  const running: Promise<void>[] = [];
  const receivers: Receiver[] = [];
  let leasesLost = 0;
  let failure: Error | undefined;
  let isOver = false;
  let calm = false;
  const environment = {
    MILLRACE_LOG: brokers.nats.url,
    MILLRACE_STORE: brokers.postgres.url,
    MILLRACE_SECRET_KEY: randomBytes(32).toString('base64'),
    MILLRACE_LIMIT: `leaseMs=${LEASE_MS}`,
  };
  for (const spec of SPECS)
    receivers.push(await startReceiver({ spec, book, random: random.fork(`receiver ${spec.id}`), isCalm: () => calm }));
  const writers: readonly Publisher[] = PUBLISHERS.map((settings) =>
    createPublisher({ ...settings, book, random: random.fork(`publisher ${settings.name}`), up, room }),
  );

  function start(at: number): Gateway {
    const data = join(own, `node-${at}`);
    const started = startGateway({ port: ports[at] as number, data, environment, keyData: join(own, 'node-0'), onLine });
    gateways[at] = started;
    started.ready.then(
      () => ready.fire(),
      () => undefined, // it ended; that is told below
    );
    void started.ended.then(({ how, stderr }) => endedBy(at, started, how, stderr));
    return started;
  }

  function onLine({ kind }: Line): void {
    if (!LEASE_LOST.has(kind)) return;
    leasesLost++;
    const { storeAway } = book.life;
    disturbed();
    book.life.storeAway = storeAway;
  }

  /** What it needs was away: its supervisor starts it again. Anything else is a breach. */
  function endedBy(at: number, started: Gateway, how: unknown, stderr: string): void {
    if (gateways[at] !== started || isOver) return;
    if (!AWAY.test(stderr)) book.breach(`node ${at} ended by itself (${String(how)}): ${stderr.slice(0, 2_000)}`);
    void pass(AGAIN_MS).then(() => void (gateways[at] === started && !isOver && start(at)));
  }

  /** Any node that takes requests. */
  async function up(): Promise<Ready> {
    for (;;) {
      if (failure !== undefined) throw failure;
      const there = gateways.flatMap(({ now, isOver: hasEnded }) => (now === undefined || hasEnded ? [] : [now]));
      if (there.length > 0) return random.pick(there);
      await Promise.race([ready.next(), pass(AGAIN_MS)]);
    }
  }

  async function room(): Promise<void> {
    while (book.owed > OWED_MAX && failure === undefined) await book.changed();
  }

  function disturbed(): void {
    book.life.openRequests = receivers.reduce((sum, { open }) => sum + open, 0);
    book.life.openBatch = writers.some(({ isBatch, inFlight }) => isBatch && inFlight > 0);
    book.life.end = 'kill';
    book.beginLife();
  }

  async function end(at: number, signal: NodeJS.Signals): Promise<void> {
    const ending = gateways[at] as Gateway;
    disturbed();
    gateways.splice(at, 1, { ...ending, isOver: true, now: undefined });
    ending.signal(signal);
    await within(START_MS, `node ${at} ends after ${signal}`, ending.ended);
    // What it had sent may be accepted after the signal: nobody hears of that. On a busy machine it may still lie in the sockets of this process.
    await pass(UNREAD_MS);
    disturbed();
    start(at);
  }

  async function allUp(): Promise<void> {
    for (let at = 0; at < NODES; at++) {
      const until = performance.now() + START_MS;
      while (gateways[at]?.now === undefined || gateways[at]?.isOver === true) {
        if (performance.now() > until) throw new Error(`node ${at} was not ready within ${START_MS / 1_000} s`);
        await Promise.race([ready.next(), pass(AGAIN_MS)]);
      }
    }
  }

  const settle = createSettle({ book, up });

  return {
    book,
    random,
    get leasesLost() {
      return leasesLost;
    },
    async begin() {
      book.beginLife();
      start(0);
      const first = await within(START_MS, 'the first start', up());
      for (const topic of Object.values(TOPICS)) await must(first, `PUT /v1/topics/${topic}`);
      for (let at = 1; at < NODES; at++) start(at);
      await allUp();
      for (const [at, spec] of SPECS.entries())
        await must(
          (gateways[at % NODES] as Gateway).now as Ready,
          `PUT /v1/subscriptions/${spec.id}`,
          settingsOf(spec, receivers[at]?.url ?? ''),
        );
      for (const writer of writers) running.push(writer.run());
      for (const one of running) one.catch((error: Error) => void (failure ??= error));
    },
    kill: (at) => end(at, 'SIGKILL'),
    stop: (at) => end(at, 'SIGTERM'),
    async outage(name, ms) {
      const { port, directory } = brokers[name];
      disturbed();
      book.life.storeAway = name === 'postgres';
      await brokers[name].stop();
      await pass(ms);
      disturbed();
      // Until it serves: the leases may end only now.
      book.life.storeAway = name === 'postgres';
      brokers[name] = await startBroker(name, { directory, port });
      // What was in flight when the lease ended is sent again once it is back.
      disturbed();
    },
    up: allUp,
    async end() {
      for (const writer of writers) writer.stop();
      await Promise.all(running);
      calm = true;
      // Where only events are left that always fail, the endpoint looks as if it were down: then good ones show that it is not.
      let isSettled = false;
      const trickle = (async () => {
        for (; !isSettled; await pass(TRICKLE_MS)) await Promise.all(writers.map((writer) => writer.once()));
      })();
      await settle([...book.events.values()]);
      isSettled = true;
      await trickle;
      await settle([...book.events.values()]);
      isOver = true;
      for (const gateway of gateways) gateway.signal('SIGTERM');
      for (const [at, gateway] of gateways.entries()) {
        const { how } = await within(START_MS, `node ${at} ends`, gateway.ended);
        if (how !== 0) book.breach(`the last SIGTERM of node ${at} ended with ${how}`);
      }
      return readStream(brokers.nats.url);
    },
    async close() {
      isOver = true;
      for (const gateway of gateways) gateway.signal('SIGKILL');
      for (const gateway of gateways) await gateway.ended;
      for (const receiver of receivers) await receiver.close();
      for (const broker of Object.values(brokers)) await broker.remove();
      rmSync(own, { recursive: true, force: true });
      forget();
    },
  };
}

async function readStream(servers: string): Promise<Kept[]> {
  const log = await openNats({ servers });
  const kept: Kept[] = [];
  try {
    const shard = log.shards()[0] as string;
    for (let after = '', atEnd = false; !atEnd;) {
      const page = await log.read({ shard, after, limit: 1_000, maxBytes: 8 * 1024 * 1024 });
      for (const { event, position, timeMs } of page.records) kept.push({ id: event.id, position, timeMs });
      ({ through: after, atEnd } = page);
    }
  } finally {
    await log.close();
  }
  return kept;
}
