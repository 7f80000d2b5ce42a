/** The Ledger port over the store thread. */
import type { Commit, DeadLetter, KeptEvent, Ledger, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { PackedCommit } from './messages.ts';
import { packAttempts } from './packing.ts';
import type { StoreThread } from './thread.ts';

export function createLedger({ ask }: Pick<StoreThread, 'ask'>): Ledger {
  return {
    async commit(commit) {
      await ask('commit', packCommit(commit));
    },
    lanes: () => ask('lanes', null),
    slots: () => ask('slots', null),
    handledAfter: (lane, shard, after) => ask('handledAfter', { lane, shard, after }),
    openLanes: () => ask('openLanes', null),
    due: (lane, shard, dueMs, limit) => ask('due', { lane, shard, dueMs, limit }),
    keyed: (lane, shard) => ask('keyed', { lane, shard }),
    parked: (lane, shard, position) => ask('parked', { lane, shard, position }),
    attempts: (query) => ask('attempts', query),
    attemptsOf: (lane, shard, position) => ask('attemptsOf', { lane, shard, position }),
    deadLetters: (query) => ask('deadLetters', query),
    deadLetter: (id) => ask('deadLetter', id),
    deadLetterCounts: () => ask('deadLetterCounts', null),
    async pruneAttempts(beforeMs) {
      await ask('pruneAttempts', beforeMs);
    },
  };
}

export function packCommit({ attempts, park, bury, ...rest }: Commit): PackedCommit {
  return {
    ...rest,
    ...(attempts === undefined || attempts.length === 0 ? {} : { attempts: packAttempts(attempts) }),
    ...(park === undefined ? {} : { park: park.map(alone) }),
    ...(bury === undefined ? {} : { bury: bury.map(alone) }),
  };
}

/** A clone of a view takes the whole buffer under it along: one kept event of a page would bring the page. */
function alone<Row extends ParkedRow | DeadLetter>(row: Row): Row {
  if (row.kept === undefined || row.kept.bytes.byteLength === row.kept.bytes.buffer.byteLength) return row;
  const kept: KeptEvent = { ...row.kept, bytes: row.kept.bytes.slice() };
  return { ...row, kept };
}
