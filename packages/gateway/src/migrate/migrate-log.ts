/**
 * The log of a gateway that is stopped, moved to another one, so that its subscriptions go on where they were. Events first, then all of
 * them read back, then directory and ledger in the terms of the new log; the switch is one file and comes last. Until then
 * the former store is only read. Wherever this ends, the next run goes on: what stands in the new log is compared, not believed.
 */
import { Problem } from '@millrace/core/problem';
import { changedShards } from '../lanes/trust.ts';
import type { Directory } from '../ports/directory.ts';
import type { Log, Position } from '../ports/log.ts';
import { pagesOf } from './directory.ts';
import { copyEvents, verifyEvents } from './events.ts';
import { type Migration, readMigration, readMoved, shownAddress, switchOver, writeMigration } from './files.ts';
import { keptOf } from './ledger-reads.ts';
import { counting, look } from './look.ts';
import type { FormerStore, Migrated, Needs, Working } from './options.ts';
import { moveStore } from './store.ts';

export type { FormerStore, Migrated, MigrateOptions, NewStore, Openers, Progress } from './options.ts';

/** Rejects with `migration_conflict` or `migration_mismatch`, and with what the drivers say. */
export async function migrateLog(needs: Needs): Promise<Migrated> {
  const failure = Promise.withResolvers<never>();
  // What goes on beside must not come to its end any more.
  const failed = new AbortController();
  const onFailure = (error: Error): void => {
    failed.abort(error);
    failure.reject(error);
  };
  const opened: { close(): Promise<void> }[] = [];
  const signal = AbortSignal.any([failed.signal, ...(needs.signal === undefined ? [] : [needs.signal])]);
  const work = migrate({ ...needs, signal, onFailure, opened });
  try {
    return await Promise.race([work, failure.promise]);
  } finally {
    // What a driver failed under may never answer: it is not waited for.
    failure.promise.catch(() => undefined);
    work.catch(() => undefined);
    for (const one of opened.reverse()) await one.close().catch(() => undefined);
  }
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
  if (log.identity === former.log.identity)
    throw new Problem('migration_conflict', 'this is the log that is to be moved', {
      advice: 'Name another log to move it to.',
    });
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
  if (shard === undefined || others.length > 0)
    throw new Problem('migration_conflict', 'only a log with one shard can be moved', {
      advice: 'Start with a new log beside it, and let what is in this one be delivered.',
    });
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
