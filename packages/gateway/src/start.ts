/** Opens everything a gateway process consists of, in order, and stops it in reverse. Knows no driver and no terminal. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Gateway, Notice } from './api.ts';
import {
  adminKeyOf,
  forgetFormerKeys,
  SECRET_KEY_FILE,
  SECRET_KEY_VARIABLE,
  type SecretKeys,
  secretKeysOf,
} from './key-files.ts';
import { type ClusterNode, createClusterNode } from './cluster/cluster.ts';
import { type Echo, removeEcho, startEcho } from './echo.ts';
import { createGateway } from './gateway.ts';
import { createApp } from './http/app.ts';
import { topicOf } from './http/topic-settings.ts';
import { type Limits, limitsOf } from './limits.ts';
import { slotOf } from './lanes/subscriber.ts';
import { addressOf, listen, type InsideDoor, openInside } from './listen.ts';
import { createMetrics, type Samples } from './metrics.ts';
import type { StartOptions } from './options.ts';
import type { Claims } from './ports/claims.ts';
import type { Directory } from './ports/directory.ts';
import type { Finding } from './ports/finding.ts';
import type { Ledger } from './ports/ledger.ts';
import type { Leases } from './ports/leases.ts';
import type { Log } from './ports/log.ts';
import { isForThisMachine, publicUrlOf } from './public-url.ts';
import { reseal, sealCredentials } from './reseal.ts';
import { createConnect } from './senders/connect.ts';
import { createEgress } from './senders/egress.ts';
import { createUndiciSender } from './senders/undici.ts';
import { systemClock } from './system-clock.ts';
import { StartRefused } from './refused.ts';
import { createVault } from './vault.ts';
import type { UnderWay } from './http/repeats.ts';
import type { MessagePort } from 'node:worker_threads';

export { StartRefused } from './refused.ts';

export const ENVIRONMENT = 'default';
/** The app of the first admin key. */
export const DEFAULT_APP = 'default';
/** Of its own, so that no subscription for somebody's events sees the sample. */
export const SAMPLE_TOPIC = 'millrace.sample';
/** For our own user alone: what is stored, and what lets somebody in, is nobody else's to read. */
export const PRIVATE_UMASK = 0o077;
const DEV_PROBE_MS = 5_000;

export interface Store {
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  /** For a log that forgets idempotency keys too soon. */
  readonly claims?: Claims;
  /** Where several nodes may share it: who works what. */
  readonly openLeases?: (node: { readonly node: string; readonly address: string; readonly leaseMs: number }) => Leases;
  /** What was found beside it that an operator should know at once. */
  readonly leftBehind?: Finding;
  /** Where it is shared by threads of this process: takes in what the others have told by now. */
  readonly hear?: () => void;
  close(): Promise<void>;
}

export interface OpenStore {
  (
    options: Pick<StartOptions, 'data' | 'durability' | 'log' | 'store'> & {
      readonly onFailure: (error: Error) => void;
      /** To what another thread of this process has opened. */
      readonly shared?: MessagePort;
    },
  ): Promise<Store>;
}

/** What happens once, whoever works afterwards: the keys, what is sealed with them, the first app. */
export interface Prepared {
  readonly keys: SecretKeys;
  readonly key: string | undefined;
}

/** Of one worker of several in this process. */
export interface WorkerPart {
  readonly number: number;
  readonly prepared: Prepared;
  readonly shared?: MessagePort;
  /** Of all workers together. */
  readonly metricsText: () => Promise<string>;
  readonly underWay: UnderWay;
}

export interface StartNeeds {
  readonly options: StartOptions;
  readonly version: string;
  readonly openStore: OpenStore;
  /** `verdict`: what the built-in receiver thought of a delivery to it. */
  readonly onNotice: (notice: Notice, verdict?: string) => void;
  readonly onDeclared: (topic: string, owner: string) => void;
  readonly onError: (error: unknown) => void;
  /** The store is gone: nothing can go on. */
  readonly onFailure: (error: Error) => void;
  readonly worker?: WorkerPart;
}

export interface Running {
  readonly address: string;
  readonly port: number;
  readonly key: string | undefined;
  /** Sends the sample event; what it came to arrives as a notice. Undefined without the built-in receiver. */
  readonly sendSample: (() => Promise<string>) | undefined;
  /** What /metrics says, of this one alone. */
  samples(): Promise<Samples>;
  /** Takes nothing new, lets what is under way end, closes everything. */
  stop(): Promise<void>;
  /** Ends as a crash would. */
  abandon(): void;
}

export async function start(needs: StartNeeds): Promise<Running> {
  const { options, version, openStore, onNotice, onDeclared, onError, onFailure, worker } = needs;
  const opened: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (let close = opened.pop(); close !== undefined; close = opened.pop()) await close();
  };
  // Of the process: only its main thread may set it.
  if (worker === undefined) process.umask(PRIVATE_UMASK);
  // What was typed is looked at before anything is opened.
  // Whoever develops a receiver stops and starts it all day: it is looked for every few seconds.
  const limits = limitsOf({ ...(options.mode === 'dev' ? { probeMs: DEV_PROBE_MS } : {}), ...options.limits });
  const publicUrl = publicUrlOf(options);
  let localUrl: string | undefined;
  const egress = createEgress({ allow: [...(options.mode === 'dev' ? ['loopback'] : []), ...options.allowEgress] });
  try {
    const shared = worker?.shared;
    const store = await openStore({ ...options, onFailure, ...(shared === undefined ? {} : { shared }) });
    const { log, directory, claims, close } = store;
    opened.push(close);
    const clock = systemClock;
    const { keys, key } = worker?.prepared ?? (await prepare(options, directory));
    const vault = createVault(...keys);
    const inside = worker === undefined ? undefined : await openInside(options, worker.number, limits);
    if (inside !== undefined) opened.push(() => inside.close());

    const connect = createConnect({ egress, connectMs: limits.connectMs });
    const sender = createUndiciSender({ clock, connect, connectionsMax: limits.endpointConnections });
    opened.push(() => sender.close());
    const echo = options.sample ? await startEcho({ directory, vault, clock, environment: ENVIRONMENT }) : undefined;
    if (echo !== undefined) opened.push(() => echo.close());
    await echo?.moveHere();

    const metrics = createMetrics({ version, ...(store.openLeases === undefined ? {} : { node: () => cluster?.work }) });
    const tell = (notice: Notice): void => {
      metrics.notice(notice);
      onNotice(notice, verdictOf(notice, echo));
    };
    if (store.leftBehind !== undefined) tell({ kind: 'left_behind', ...store.leftBehind });
    const chance = chanceOf(worker);
    const own = { options, chance, inside, limits, clock, slots: () => gateway.slots, onNotice: tell };
    const cluster = joinCluster(store, own);
    const ledger = cluster?.ledger ?? store.ledger;
    const gateway = createGateway({
      ports: { log, directory, ledger, claims, sender: cluster?.guard(sender) ?? sender, clock, vault },
      limits,
      withoutSlots: cluster !== undefined,
      checkEndpoint: egress.checkHost,
      publicUrl: () => publicUrl ?? localUrl,
      onNotice: tell,
    });
    let ready = false;
    opened.push(() => gateway.stop());
    await gateway.start();
    if (cluster !== undefined) opened.push(() => cluster.stop());
    await cluster?.start();
    if (echo === undefined) await removeEcho(gateway, directory, ENVIRONMENT);
    await echo?.subscribe(gateway);

    const app = await createApp({
      gateway: metrics.counting(gateway),
      directory,
      ledger,
      vault,
      clock,
      version,
      isReady: () => ready,
      limits,
      isLocal: options.mode === 'dev',
      // Clients may be anybody's pages: where this machine is in the network is none of their business.
      node: `${options.node ?? ''}#${chance}`,
      metrics: {
        contentType: metrics.contentType,
        text: worker?.metricsText ?? metrics.text,
        isPublic: options.metrics === 'all',
      },
      telemetry: metrics.telemetry,
      onUnsent: metrics.unsent,
      onError,
      ...(cluster === undefined
        ? {}
        : { addressOf: (uid: string) => cluster.addressOf(slotOf(uid)), changed: () => cluster.changed() }),
      ...(options.strictTopics ? {} : { undeclared: { onDeclared } }),
      ...(store.hear === undefined ? {} : { hear: store.hear }),
      ...(worker === undefined ? {} : { underWay: worker.underWay }),
    });
    // By then the door is closed and each request has ended. Slots and lanes that are let go would wait for acks that nobody can send.
    opened.push(async () => gateway.groups.giveBack());
    opened.push(() => closeApp(app, limits));
    inside?.answerWith(app);
    const port = await listen(app, options, worker !== undefined);
    if (isForThisMachine(options)) localUrl = addressOf(options.host, port);
    ready = true;
    opened.push(async () => void (ready = false));
    return {
      address: addressOf(options.host, port),
      port,
      key,
      sendSample: echo && (() => sendSample(gateway, directory, limits)),
      samples: metrics.samples,
      stop,
      abandon() {
        cluster?.abandon();
        gateway.abandon();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Never that of a process before it: its lease may still run, and what it began is not ours to go on with. */
function chanceOf(worker: WorkerPart | undefined): string {
  return `${worker === undefined ? '' : `w${worker.number}.`}${randomBytes(3).toString('hex')}`;
}

/** Undefined where the store is this process's alone. */
function joinCluster(
  { ledger, openLeases }: Store,
  {
    options,
    chance,
    inside,
    limits: { leaseMs },
    ...needs
  }: Pick<Parameters<typeof createClusterNode>[0], 'clock' | 'slots' | 'onNotice'> & {
    readonly options: StartOptions;
    readonly chance: string;
    readonly inside: InsideDoor | undefined;
    readonly limits: Limits;
  },
): ClusterNode | undefined {
  if (openLeases === undefined) return undefined;
  const { host, port } = options;
  const advertise = inside?.address ?? options.advertise ?? addressOf(host, port);
  const node = `${options.node ?? `${hostname()}:${port}`}#${chance}`;
  if (port === 0)
    throw new StartRefused('a node of a cluster has a port that the others know', 'Name it: --port 4400, each node its own.');
  const leases = openLeases({ node, address: advertise, leaseMs });
  return createClusterNode({ ...needs, node, ledger, leases, leaseMs });
}

export async function prepare(options: StartOptions, directory: Directory): Promise<Prepared> {
  const keys = await openKeys(options, directory);
  await ensureApp(directory);
  const needs = { directory, clock: systemClock, environment: ENVIRONMENT, app: DEFAULT_APP };
  return { keys, key: await adminKeyOf(options.data, needs) };
}

/**
 * With a new key, everything is sealed with it before anything else happens; only then the former is forgotten: what the
 * directory has answered survives a power loss, also where the store is relaxed for the rest.
 */
async function openKeys({ data, store }: StartOptions, directory: Directory): Promise<SecretKeys> {
  const fromEnvironment = process.env[SECRET_KEY_VARIABLE];
  if (store !== undefined && (fromEnvironment ?? '') === '' && !existsSync(join(data, SECRET_KEY_FILE)))
    throw new StartRefused(
      'nodes that share a store need one key for the secrets in it',
      `Give each the same: ${SECRET_KEY_VARIABLE}, made once with "openssl rand -base64 32"; or the ${SECRET_KEY_FILE} of the first, copied to its data directory.`,
    );
  const keys = await secretKeysOf(data, directory, fromEnvironment);
  const vault = createVault(...keys);
  if (keys.length > 1) {
    await reseal(directory, vault);
    // Keys of the environment are never written beside what they seal.
    if (fromEnvironment === undefined || fromEnvironment === '') forgetFormerKeys(data, keys);
  }
  await sealCredentials(directory, vault);
  return keys;
}

async function ensureApp(directory: Directory): Promise<void> {
  if ((await directory.get('app', ENVIRONMENT, DEFAULT_APP)) !== undefined) return;
  await directory.put('app', ENVIRONMENT, DEFAULT_APP, { name: 'Default', createdMs: systemClock.now() });
}

function verdictOf(notice: Notice, echo: Echo | undefined): string | undefined {
  return 'eventId' in notice && notice.subscription === 'echo' ? echo?.verdict(notice.eventId) : undefined;
}

async function sendSample(gateway: Gateway, directory: Directory, limits: Limits): Promise<string> {
  if ((await directory.get('topic', ENVIRONMENT, SAMPLE_TOPIC)) === undefined) {
    await directory.put(
      'topic',
      ENVIRONMENT,
      SAMPLE_TOPIC,
      topicOf({}, { owner: DEFAULT_APP, nowMs: systemClock.now(), limits }),
    );
  }
  const data = Buffer.from('{"id":1,"note":"a sample"}');
  const [published] = await gateway.publish({
    environment: ENVIRONMENT,
    app: DEFAULT_APP,
    events: [{ type: SAMPLE_TOPIC, data }],
  });
  if (published === undefined || published.status === 'refused') throw published?.problem ?? new Error('the sample was lost');
  return published.id;
}

/** Requests under way may end; connections that do not let go are cut. */
async function closeApp(app: FastifyInstance, { drainMs }: Limits): Promise<void> {
  const tooLong = systemClock.after(drainMs, () => app.server.closeAllConnections());
  await app.close();
  tooLong.cancel();
}
