/** The ledger in the store thread. Commits run inside the thread's transaction, together with appends. */
import type { DeadLetter, ParkedRow } from '@millrace/gateway/ports/ledger';
import { openAttempts } from './attempts.ts';
import { cursorRow, deadLetterOf, keptColumns, keyRow, ledgerStatements, openLaneRows, parkedRow } from './ledger-rows.ts';
import type { OpenRow } from './ledger-rows.ts';
import { openLanes, subscriptionOf } from './lanes.ts';
import type { LedgerCalls, PackedCommit } from '../messages.ts';
import { openPurge } from './purge.ts';
import type { State } from './state.ts';

export type LedgerStore = { readonly [Name in keyof LedgerCalls]: (value: LedgerCalls[Name][0]) => LedgerCalls[Name][1] } & {
  /** After a rollback. */
  reload(): void;
  /** Removes what is left of dropped subscriptions, bit by bit. */
  purge(): Promise<void>;
  purgeQuietly(): void;
  close(): Promise<void>;
};

export function openLedgerStore(
  state: Pick<State, 'db' | 'transaction'>,
  { turn }: { readonly turn: () => Promise<void> },
): LedgerStore {
  const { db } = state;
  const purge = openPurge(state, turn);
  const lanes = openLanes(db);
  const attempts = openAttempts(db, lanes);
  const sql = ledgerStatements(db);

  function drop({ dropLanes = [], dropSubscriptions = [] }: PackedCommit): void {
    for (const lane of dropLanes) clearLane(lanes.knownLane(lane));
    for (const subscription of dropSubscriptions) {
      for (const id of lanes.ofSubscription(subscription)) {
        sql.clearLanes.run(id);
        // Without its number nobody finds what is left: attempts until their day is dropped, the rest until it is purged.
        lanes.forget(id);
        purge.add(id);
      }
    }
  }

  function clearLane(id: number): void {
    sql.clearLanes.run(id);
    sql.unparkLane.run(id);
  }

  function remove({ unpark = [], unbury = [], idle = [] }: PackedCommit): void {
    for (const { lane, shard, position } of unpark) sql.unpark.run(lanes.knownLane(lane), lanes.knownShard(shard), position);
    for (const { lane, shard } of idle) sql.clearLane.run(lanes.knownLane(lane), lanes.knownShard(shard));
    for (const id of unbury) sql.unbury.run(id);
  }

  function park({
    lane,
    shard,
    position,
    state,
    dueMs,
    attempts: count,
    attemptsBefore,
    key,
    cause,
    size,
    timeMs,
    idHash,
    kept,
  }: ParkedRow): void {
    const held = state === 'held' ? 1 : 0;
    sql.park.run(
      lanes.laneId(lane),
      lanes.shardId(shard),
      position,
      held,
      dueMs,
      count,
      attemptsBefore,
      key ?? null,
      cause,
      size,
      timeMs,
      idHash,
      ...keptColumns(kept),
    );
  }

  function bury({
    id,
    lane,
    shard,
    position,
    cause,
    detail,
    attempts: count,
    eventId,
    topic,
    timeMs,
    diedMs,
    holdsKey,
    kept,
    range,
  }: DeadLetter): void {
    const ids = [id, subscriptionOf(lane), lanes.laneId(lane), lanes.shardId(shard)] as const;
    const rangeColumns = [range?.through ?? null, range?.throughTimeMs ?? null, range?.count ?? null] as const;
    sql.bury.run(
      ...ids,
      position,
      cause,
      detail,
      count,
      eventId,
      topic,
      timeMs,
      diedMs,
      holdsKey ?? null,
      ...keptColumns(kept),
      ...rangeColumns,
    );
  }

  function setCursors({ lanes: laneRows = [], slots: slotRows = [] }: PackedCommit): void {
    for (const { lane, shard, cursor } of laneRows)
      sql.setLane.run(lanes.laneId(lane), lanes.shardId(shard), cursor.log, cursor.position, cursor.timeMs, cursor.idHash);
    for (const { slot, shard, cursor } of slotRows)
      sql.setSlot.run(slot, lanes.shardId(shard), cursor.log, cursor.position, cursor.timeMs, cursor.idHash);
  }

  return {
    commit(commit) {
      drop(commit);
      remove(commit);
      if (commit.attempts !== undefined) attempts.add(commit.attempts);
      commit.park?.forEach(park);
      commit.bury?.forEach(bury);
      setCursors(commit);
      return null;
    },
    lanes: () => sql.lanes.all().map((row) => ({ lane: String(row['lane']), ...cursorRow(row) })),
    slots: () => sql.slots.all().map((row) => ({ slot: Number(row['slot']), ...cursorRow(row) })),
    handledAfter({ lane, shard, after }) {
      const [laneId, shardId] = [lanes.knownLane(lane), lanes.knownShard(shard)];
      const rows = [...sql.parkedAfter.all(laneId, shardId, after), ...sql.deadAfter.all(laneId, shardId, after)].map((row) =>
        String(row['position']),
      );
      return [...new Set([...attempts.settledAfter(laneId, shardId, after), ...rows])].sort();
    },
    openLanes: () =>
      openLaneRows(sql.open.all() as unknown as OpenRow[]).map(({ lane, shard, ...open }) => ({
        lane: lanes.laneName(lane),
        shard: lanes.shardName(shard),
        ...open,
      })),
    due({ lane, shard, dueMs, limit }) {
      const ids = [lanes.knownLane(lane), lanes.knownShard(shard)] as const;
      const rows = sql.due.all(...ids, dueMs, limit).map((row) => parkedRow(lane, shard, row));
      const next = sql.nextDue.get(...ids, rows.length);
      return { rows, ...(next === undefined ? {} : { nextDueMs: Number(next['dueMs']) }) };
    },
    keyed({ lane, shard }) {
      const ids = [lanes.knownLane(lane), lanes.knownShard(shard)] as const;
      const waiting = sql.keyedParked.all(...ids).map((row) => keyRow(row, row['held'] === 1 ? 'held' : 'parked'));
      const dead = sql.keyedDead.all(...ids).map((row) => keyRow(row, 'dead'));
      return [...waiting, ...dead].sort((a, b) => (a.position < b.position ? -1 : a.position > b.position ? 1 : 0));
    },
    parked({ lane, shard, position }) {
      const row = sql.parked.get(lanes.knownLane(lane), lanes.knownShard(shard), position);
      return row && parkedRow(lane, shard, row);
    },
    attempts: ({ subscription, before, limit }) => attempts.newest(lanes.ofSubscription(subscription), before, limit),
    attemptsOf: ({ lane, shard, position }) => attempts.of(lanes.knownLane(lane), lanes.knownShard(shard), position),
    deadLetters: ({ subscription, after = '', limit }) => sql.deadLetters.all(subscription, after, limit).map(deadLetterOf),
    deadLetter(id) {
      const row = sql.deadLetter.get(id);
      return row && deadLetterOf(row);
    },
    deadLetterCounts: () =>
      sql.deadCounts.all().map((row) => ({ subscription: String(row['subscription']), count: Number(row['count']) })),
    pruneAttempts(beforeMs) {
      attempts.prune(beforeMs);
      return null;
    },
    reload() {
      lanes.reload();
      attempts.reload();
      purge.reload();
    },
    purge: () => purge.run(),
    purgeQuietly: () => purge.runQuietly(),
    close: () => purge.close(),
  };
}
