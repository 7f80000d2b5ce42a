/**
 * The log of a gateway that is stopped, moved to another one, so that its subscriptions go on where they were. Events first, then all of
 * them read back, then directory and ledger in the terms of the new log; the switch is one file and comes last. Until then
 * the former store is only read. Wherever this ends, the next run goes on: what stands in the new log is compared, not believed.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import { changedShards } from '../lanes/trust.ts';
import type { Directory } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log, Position } from '../ports/log.ts';
import { copyDirectory, pagesOf } from './directory.ts';
import { copyEvents, type Verified, verifyEvents } from './events.ts';
import { type Migration, MOVED_DIRECTORY, readMigration, readMoved, shownAddress, switchOver, writeMigration } from './files.ts';
import { copyLedger, type LedgerCounts } from './ledger.ts';
import { keptOf } from './ledger-reads.ts';
import { type Item, itemsOf, type Kept } from './sequence.ts';
import { createTranslate } from './translate.ts';

export interface MigrateOptions {
  /** The data directory. */
  readonly data: string;
  /** Addresses, as `start` takes them. */
  readonly log: string;
  readonly store?: string;
  /** Looks and counts; nothing is written anywhere. */
  readonly dryRun?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Ends it where it is, with its reason; another run goes on from there. Not any more once it has switched over. */
  readonly signal?: AbortSignal;
}

export interface Progress {
  readonly phase: 'look' | 'copy' | 'verify' | 'ledger';
  /** Events, or rows of the ledger. */
  readonly done: number;
  /** 0 to 1, where it is known. */
  readonly part?: number;
}

export interface Migrated extends Partial<LedgerCounts> {
  readonly state: 'planned' | 'moved' | 'already-moved';
  readonly log: string;
  readonly store?: string;
  readonly events: number;
  readonly bytes: number;
  readonly sha256?: string;
  readonly subscriptions?: number;
  /** Events that only the ledger had any more, of `events`. */
  readonly kept?: number;
}

export interface FormerStore {
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  close(): Promise<void>;
}
export type NewStore = Omit<FormerStore, 'log'>;

/** Knows the drivers. `nowMs` is what they judge age by, `onFailure` is told when one can't go on. */
export interface Openers {
  former(options: { readonly data: string; readonly nowMs: number; readonly onFailure: OnFailure }): Promise<FormerStore>;
  log(options: { readonly address: string; readonly nowMs: number; readonly onFailure: OnFailure }): Promise<Log>;
  store(options: {
    readonly address: string | undefined;
    readonly directory: string;
    readonly onFailure: OnFailure;
  }): Promise<NewStore>;
}
type OnFailure = (error: Error) => void;

interface Needs extends MigrateOptions {
  readonly open: Openers;
  /** Wall time. */
  readonly now: () => number;
  /** Called before each step that writes: for tests of what ends it there. */
  readonly reached?: (step: 'begin' | 'copy' | 'verify' | 'store' | 'directory' | 'ledger' | 'switch') => void;
}

/** Rejects with `migration_conflict` or `migration_mismatch`, and with what the drivers say. */
export async function migrateLog(needs: Needs): Promise<Migrated> {
  const failure = Promise.withResolvers<never>();
  const opened: { close(): Promise<void> }[] = [];
  const work = migrate({ ...needs, onFailure: failure.reject, opened });
  try {
    return await Promise.race([work, failure.promise]);
  } finally {
    // What a driver failed under may never answer: it is not waited for.
    failure.promise.catch(() => undefined);
    work.catch(() => undefined);
    for (const one of opened.reverse()) await one.close().catch(() => undefined);
  }
}

interface Working extends Needs {
  readonly onFailure: OnFailure;
  readonly opened: { close(): Promise<void> }[];
}

async function migrate(needs: Working): Promise<Migrated> {
  const { data, log: address, store, dryRun = false, open, now, onFailure, opened, reached = () => undefined } = needs;
  const before = readMoved(data);
  if (before !== undefined) return movedBefore(before, address);
  const started = readMigration(data);
  const nowMs = started?.startedMs ?? now();
  const former = await open.former({ data, nowMs, onFailure });
  opened.push(former);
  const shard = await mustBeMovable(former);
  const uids = await subscriptionsOf(former.directory);
  const kept = await keptOf(former.ledger, uids, shard);
  if (dryRun) return look(needs, former, { shard, kept, subscriptions: uids.size });

  const log = await open.log({ address, nowMs, onFailure });
  opened.push(log);
  if (log.identity === former.log.identity) throw new Problem('migration_conflict', 'this is the log that is to be moved');
  reached('begin');
  const migration = await begin(needs, started, { from: former.log, to: log, nowMs });
  await declareTopics(former.directory, log);
  const begins = new Map(Object.entries(migration.begins));
  const move = { from: former.log, shard, to: log, begins, kept };
  reached('copy');
  await copyEvents({ ...move, onItem: await counting(needs, 'copy', former.log, shard) });
  reached('verify');
  const verified = await verifyEvents({ ...move, onItem: await counting(needs, 'verify', former.log, shard) });

  reached('store');
  const counts = await moveStore(needs, { former, shard, log, migration, verified, uids });
  needs.signal?.throwIfAborted();
  reached('switch');
  const { events, bytes, sha256 } = verified;
  const stores = store === undefined ? {} : { store: shownAddress(store) };
  const moved = { log: shownAddress(address), ...stores, identity: log.identity, events, bytes, sha256 };
  switchOver(data, { ...moved, atMs: now() });
  const { identity: _, ...shown } = moved;
  return { state: 'moved', ...shown, subscriptions: uids.size, kept: kept.length, ...counts };
}

function movedBefore(moved: NonNullable<ReturnType<typeof readMoved>>, address: string): Migrated {
  const { log, store, events, bytes, sha256 } = moved;
  if (log !== shownAddress(address))
    throw new Problem('migration_conflict', `the log was moved to ${log} already`, {
      advice: 'From there to another one is not possible yet.',
    });
  return { state: 'already-moved', log, ...(store === undefined ? {} : { store }), events, bytes, sha256 };
}

/** Answers the one shard. The ledger must be of this log: else its places mean other events. */
async function mustBeMovable({ log, ledger }: FormerStore): Promise<string> {
  const [shard, ...others] = log.shards();
  if (shard === undefined || others.length > 0) throw new Problem('migration_conflict', 'only a log with one shard can be moved');
  const [rows, slots] = await Promise.all([ledger.lanes(), ledger.slots()]);
  const changed = await changedShards({ log, shards: [shard], rows, slots });
  if (changed.size > 0)
    throw new Problem('migration_conflict', 'the log has lost events since, or is another one than the ledger knows', {
      advice: 'Start the gateway on it once, so that its subscriptions find their places again, stop it, and run this again.',
    });
  return shard;
}

async function subscriptionsOf(directory: Directory): Promise<ReadonlySet<string>> {
  const uids = new Set<string>();
  for await (const page of pagesOf(directory, 'subscription')) for (const { value } of page) uids.add(value.uid);
  return uids;
}

/** Goes on where an earlier try into the very same log ended; or begins behind what stands there. */
async function begin(
  { data, log: address }: Needs,
  started: Migration | undefined,
  { from, to, nowMs }: { readonly from: Log; readonly to: Log; readonly nowMs: number },
): Promise<Migration> {
  if (started?.from === from.identity && started.to === to.identity) return started;
  const ends = await Promise.all(to.shards().map(async (shard) => [shard, (await to.bounds(shard)).end] as const));
  const begins: Record<string, Position> = Object.fromEntries(ends);
  const migration = { from: from.identity, to: to.identity, address: shownAddress(address), begins, startedMs: nowMs };
  writeMigration(data, migration);
  return migration;
}

/** Together: a log that must tell a broker of them tells it once. */
async function declareTopics(directory: Directory, log: Log): Promise<void> {
  for await (const page of pagesOf(directory, 'topic'))
    await Promise.all(
      page.map(({ environment, id, value: { retentionMs } }) => log.declareTopic({ environment, topic: id, retentionMs })),
    );
}

interface Moving {
  readonly former: FormerStore;
  readonly shard: string;
  readonly log: Log;
  readonly migration: Migration;
  readonly verified: Verified;
  readonly uids: ReadonlySet<string>;
}

async function moveStore(needs: Working, { former, shard, log, migration, verified, uids }: Moving): Promise<LedgerCounts> {
  const { data, store: address, open, onFailure, signal, onProgress = () => undefined, reached = () => undefined } = needs;
  const directory = join(data, MOVED_DIRECTORY);
  onProgress({ phase: 'ledger', done: 0 });
  // Nobody uses it before the switch: what an earlier try left there is made anew.
  rmSync(directory, { recursive: true, force: true });
  const store = await open.store({ address, directory, onFailure });
  try {
    if (address !== undefined) await claim(needs, migration, store);
    const translate = createTranslate({ shard, to: log, places: verified.places, nowMs: migration.startedMs });
    reached('directory');
    await copyDirectory({
      from: former.directory,
      to: store.directory,
      former: { log: former.log, shard },
      log: log.identity,
      translate,
    });
    reached('ledger');
    let done = 0;
    return await copyLedger({
      from: former.ledger,
      to: store.ledger,
      translate,
      uids,
      onRows(rows) {
        signal?.throwIfAborted();
        onProgress({ phase: 'ledger', done: (done += rows) });
      },
    });
  } finally {
    await store.close();
  }
}

/** A store that others use would be mixed up with ours: it must be empty, or of an earlier try. */
async function claim({ data, store = '' }: Needs, migration: Migration, { directory, ledger }: NewStore): Promise<void> {
  const address = shownAddress(store);
  if (migration.store === address) return;
  const used = [
    ...(await directory.list('app', { limit: 1 })),
    ...(await directory.list('key', { limit: 1 })),
    ...(await directory.list('topic', { limit: 1 })),
    ...(await directory.list('subscription', { limit: 1 })),
    ...(await ledger.lanes()),
    ...(await ledger.slots()),
  ];
  if (used.length > 0)
    throw new Problem('migration_conflict', `the store at ${address} is in use by another gateway`, {
      advice: 'Name an empty database.',
    });
  writeMigration(data, { ...migration, store: address });
}

async function look(
  needs: Needs,
  { log, ledger }: FormerStore,
  { shard, kept, subscriptions }: { readonly shard: string; readonly kept: readonly Kept[]; readonly subscriptions: number },
): Promise<Migrated> {
  const count = await counting(needs, 'look', log, shard);
  let events = 0;
  let bytes = 0;
  for await (const items of itemsOf({ log, shard, kept })) {
    for (const item of items) {
      events++;
      bytes += item.entry.bytes.length;
      count(item);
    }
  }
  const open = await ledger.openLanes();
  const dead = await ledger.deadLetterCounts();
  return {
    state: 'planned',
    log: shownAddress(needs.log),
    ...(needs.store === undefined ? {} : { store: shownAddress(needs.store) }),
    events,
    bytes,
    subscriptions,
    kept: kept.length,
    parked: open.reduce((sum, { parked }) => sum + parked, 0),
    held: open.reduce((sum, { held }) => sum + held, 0),
    deadLetters: dead.reduce((sum, one) => sum + one.count, 0),
  };
}

/** How many there are no log says: how far it is, is told by when events were appended. */
async function counting(
  { signal, onProgress = () => undefined }: Needs,
  phase: Progress['phase'],
  log: Log,
  shard: string,
): Promise<(item: Item) => void> {
  const { first, last } = await log.bounds(shard);
  const spanMs = first === undefined || last === undefined ? 0 : last.timeMs - first.timeMs;
  let done = 0;
  let part = 0;
  return ({ timeMs }) => {
    signal?.throwIfAborted();
    if (timeMs !== undefined && first !== undefined && spanMs > 0) part = Math.max(part, (timeMs - first.timeMs) / spanMs);
    onProgress({ phase, done: ++done, part: Math.min(1, part) });
  };
}
