/** Directory and ledger in the terms of the new log: beside the former store, or in one that nodes share. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import type { Log } from '../ports/log.ts';
import { copyDirectory } from './directory.ts';
import type { Verified } from './events.ts';
import { type Migration, MOVED_DIRECTORY, shownAddress, writeMigration } from './files.ts';
import { copyLedger, type LedgerCounts } from './ledger.ts';
import type { FormerStore, Needs, NewStore, Working } from './options.ts';
import { createTranslate } from './translate.ts';

interface Moving {
  readonly former: FormerStore;
  readonly shard: string;
  readonly log: Log;
  readonly migration: Migration;
  readonly verified: Verified;
  readonly uids: ReadonlySet<string>;
}

export async function moveStore(
  needs: Working,
  { former, shard, log, migration, verified, uids }: Moving,
): Promise<LedgerCounts> {
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
