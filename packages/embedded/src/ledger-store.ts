/** The ledger in the store thread. Commits run inside the thread's transaction, together with appends. */
import type { DeadLetter, KeyedRow, KeptEvent, LaneRow, OpenLane, ParkedRow, SlotRow } from '@millrace/gateway/ports/ledger';
import { openAttempts } from './attempts.ts';
import { openLanes, subscriptionOf } from './lanes.ts';
import type { CallName, Calls, PackedCommit } from './messages.ts';
import type { State } from './state.ts';

export type LedgerCall = Extract<
  CallName,
  'commit' | 'lanes' | 'slots' | 'handledAfter' | 'openLanes' | 'due' | 'keyed' | 'parked' | 'attempts' | 'attemptsOf' | 'deadLetters' | 'deadLetter' | 'deadLetterCounts' | 'pruneAttempts'
>;

export type LedgerStore = { readonly [Name in LedgerCall]: (value: Calls[Name][0]) => Calls[Name][1] } & {
  /** After a rollback. */
  reload(): void;
};

interface StoredParked {
  readonly position: string;
  readonly held: number;
  readonly dueMs: number;
  readonly attempts: number;
  readonly attemptsBefore: number;
  readonly key: string | null;
  readonly cause: string;
  readonly size: number;
  readonly timeMs: number;
  readonly idHash: string;
  readonly environment: string | null;
  readonly app: string | null;
  readonly bytes: Uint8Array | null;
}

interface StoredDeadLetter {
  readonly id: string;
  readonly lane: string;
  readonly shard: string;
  readonly position: string;
  readonly cause: string;
  readonly detail: string;
  readonly attempts: number;
  readonly eventId: string;
  readonly topic: string;
  readonly timeMs: number;
  readonly diedMs: number;
  readonly holdsKey: string | null;
  readonly environment: string | null;
  readonly app: string | null;
  readonly bytes: Uint8Array | null;
  readonly through: string | null;
  readonly throughMs: number | null;
  readonly rangeCount: number | null;
}

const CURSOR = 'log, position, time_ms AS timeMs, id_hash AS idHash';
const PARKED = 'position, held, due_ms AS dueMs, attempts, attempts_before AS attemptsBefore, key, cause, size, time_ms AS timeMs, id_hash AS idHash, environment, app, bytes';
const DEAD = `
  dead_letters.id, lanes.lane, shards.shard, position, cause, detail, attempts, event_id AS eventId, topic, time_ms AS timeMs, died_ms AS diedMs,
  holds_key AS holdsKey, environment, app, bytes, through, through_ms AS throughMs, range_count AS rangeCount
  FROM dead_letters JOIN lanes ON lanes.id = dead_letters.lane JOIN shards ON shards.id = dead_letters.shard`;

export function openLedgerStore({ db }: Pick<State, 'db'>): LedgerStore {
  const lanes = openLanes(db);
  const attempts = openAttempts(db, lanes);
  const sql = {
    park: db.prepare('INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    unpark: db.prepare('DELETE FROM parked WHERE lane = ? AND shard = ? AND position = ?'),
    unparkLane: db.prepare('DELETE FROM parked WHERE lane = ?'),
    bury: db.prepare(`INSERT OR REPLACE INTO dead_letters (id, subscription, lane, shard, position, cause, detail, attempts, event_id, topic, time_ms, died_ms,
      holds_key, environment, app, bytes, through, through_ms, range_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    unbury: db.prepare('DELETE FROM dead_letters WHERE id = ?'),
    unburySubscription: db.prepare('DELETE FROM dead_letters WHERE subscription = ?'),
    setLane: db.prepare('INSERT OR REPLACE INTO lane_cursors VALUES (?, ?, ?, ?, ?, ?)'),
    clearLane: db.prepare('DELETE FROM lane_cursors WHERE lane = ? AND shard = ?'),
    clearLanes: db.prepare('DELETE FROM lane_cursors WHERE lane = ?'),
    setSlot: db.prepare('INSERT OR REPLACE INTO slot_cursors VALUES (?, ?, ?, ?, ?, ?)'),
    lanes: db.prepare(`SELECT lanes.lane, shards.shard, ${CURSOR} FROM lane_cursors JOIN lanes ON lanes.id = lane_cursors.lane JOIN shards ON shards.id = lane_cursors.shard`),
    slots: db.prepare(`SELECT slot, shards.shard, ${CURSOR} FROM slot_cursors JOIN shards ON shards.id = slot_cursors.shard`),
    parkedAfter: db.prepare('SELECT position FROM parked WHERE lane = ? AND shard = ? AND position > ?'),
    // A range takes in what comes after its position, not what stands there: that delivery may still be open.
    deadAfter: db.prepare('SELECT position FROM dead_letters WHERE lane = ? AND shard = ? AND position > ? AND through IS NULL'),
    open: db.prepare('SELECT lane, shard, held, count(*) AS deliveries, sum(size) AS bytes, min(due_ms) AS dueMs FROM parked INDEXED BY parked_due GROUP BY lane, shard, held'),
    due: db.prepare(`SELECT ${PARKED} FROM parked WHERE lane = ? AND shard = ? AND held = 0 AND due_ms <= ? ORDER BY due_ms, position LIMIT ?`),
    nextDue: db.prepare('SELECT due_ms AS dueMs FROM parked WHERE lane = ? AND shard = ? AND held = 0 ORDER BY due_ms, position LIMIT 1 OFFSET ?'),
    keyedParked: db.prepare('SELECT position, key, held FROM parked WHERE lane = ? AND shard = ? AND key IS NOT NULL'),
    keyedDead: db.prepare('SELECT position, holds_key AS key FROM dead_letters WHERE lane = ? AND shard = ? AND holds_key IS NOT NULL'),
    parked: db.prepare(`SELECT ${PARKED} FROM parked WHERE lane = ? AND shard = ? AND position = ?`),
    deadLetters: db.prepare(`SELECT ${DEAD} WHERE dead_letters.subscription = ? AND dead_letters.id > ? ORDER BY dead_letters.id LIMIT ?`),
    deadLetter: db.prepare(`SELECT ${DEAD} WHERE dead_letters.id = ?`),
    deadCounts: db.prepare('SELECT subscription, count(*) AS count FROM dead_letters GROUP BY subscription'),
  };

  function drop({ dropLanes = [], dropSubscriptions = [] }: PackedCommit): void {
    for (const lane of dropLanes) clearLane(lanes.knownLane(lane));
    for (const subscription of dropSubscriptions) {
      for (const id of lanes.ofSubscription(subscription)) {
        clearLane(id);
        // Its attempts stay where they are until their day is dropped: without the number nobody finds them.
        lanes.forget(id);
      }
      sql.unburySubscription.run(subscription);
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

  function park({ lane, shard, position, state, dueMs, attempts: count, attemptsBefore, key, cause, size, timeMs, idHash, kept }: ParkedRow): void {
    const held = state === 'held' ? 1 : 0;
    sql.park.run(lanes.laneId(lane), lanes.shardId(shard), position, held, dueMs, count, attemptsBefore, key ?? null, cause, size, timeMs, idHash, ...keptColumns(kept));
  }

  function bury({ id, lane, shard, position, cause, detail, attempts: count, eventId, topic, timeMs, diedMs, holdsKey, kept, range }: DeadLetter): void {
    const ids = [id, subscriptionOf(lane), lanes.laneId(lane), lanes.shardId(shard)] as const;
    const rangeColumns = [range?.through ?? null, range?.throughTimeMs ?? null, range?.count ?? null] as const;
    sql.bury.run(...ids, position, cause, detail, count, eventId, topic, timeMs, diedMs, holdsKey ?? null, ...keptColumns(kept), ...rangeColumns);
  }

  function setCursors({ lanes: laneRows = [], slots: slotRows = [] }: PackedCommit): void {
    for (const { lane, shard, cursor } of laneRows) sql.setLane.run(lanes.laneId(lane), lanes.shardId(shard), cursor.log, cursor.position, cursor.timeMs, cursor.idHash);
    for (const { slot, shard, cursor } of slotRows) sql.setSlot.run(slot, lanes.shardId(shard), cursor.log, cursor.position, cursor.timeMs, cursor.idHash);
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
    lanes: () => sql.lanes.all().map((row) => ({ lane: String(row['lane']), ...cursorRow(row) }) as LaneRow),
    slots: () => sql.slots.all().map((row) => ({ slot: Number(row['slot']), ...cursorRow(row) }) as SlotRow),
    handledAfter({ lane, shard, after }) {
      const [laneId, shardId] = [lanes.knownLane(lane), lanes.knownShard(shard)];
      const rows = [...sql.parkedAfter.all(laneId, shardId, after), ...sql.deadAfter.all(laneId, shardId, after)].map((row) => String(row['position']));
      return [...new Set([...attempts.settledAfter(laneId, shardId, after), ...rows])].sort();
    },
    openLanes: () => openLaneRows(sql.open.all() as unknown as OpenRow[]).map(({ lane, shard, ...open }) => ({ lane: lanes.laneName(lane), shard: lanes.shardName(shard), ...open })),
    due({ lane, shard, dueMs, limit }) {
      const ids = [lanes.knownLane(lane), lanes.knownShard(shard)] as const;
      const rows = sql.due.all(...ids, dueMs, limit).map((row) => parkedRow(lane, shard, row));
      const next = sql.nextDue.get(...ids, rows.length);
      return { rows, ...(next === undefined ? {} : { nextDueMs: Number(next['dueMs']) }) };
    },
    keyed({ lane, shard }) {
      const ids = [lanes.knownLane(lane), lanes.knownShard(shard)] as const;
      const waiting = sql.keyedParked.all(...ids).map((row) => ({ ...keyRow(row), state: row['held'] === 1 ? 'held' : 'parked' }) as KeyedRow);
      const dead = sql.keyedDead.all(...ids).map((row) => ({ ...keyRow(row), state: 'dead' }) as KeyedRow);
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
    deadLetterCounts: () => sql.deadCounts.all().map((row) => ({ subscription: String(row['subscription']), count: Number(row['count']) })),
    pruneAttempts(beforeMs) {
      attempts.prune(beforeMs);
      return null;
    },
    reload() {
      lanes.reload();
      attempts.reload();
    },
  };
}

interface OpenRow {
  readonly lane: number;
  readonly shard: number;
  readonly held: number;
  readonly deliveries: number;
  readonly bytes: number;
  readonly dueMs: number;
}

function openLaneRows(rows: readonly OpenRow[]): (Omit<OpenLane, 'lane' | 'shard'> & Pick<OpenRow, 'lane' | 'shard'>)[] {
  const byLane = Map.groupBy(rows, ({ lane, shard }) => `${lane}.${shard}`);
  return [...byLane.values()].map((ofLane) => {
    const parked = ofLane.find((row) => row.held === 0);
    const held = ofLane.find((row) => row.held === 1)?.deliveries ?? 0;
    const { lane, shard } = ofLane[0]!;
    return { lane, shard, parked: parked?.deliveries ?? 0, parkedBytes: parked?.bytes ?? 0, held, ...(parked && { nextDueMs: parked.dueMs }) };
  });
}

function keptColumns(kept: KeptEvent | undefined): readonly [string | null, string | null, Uint8Array | null] {
  return [kept?.environment ?? null, kept?.app ?? null, kept?.bytes ?? null];
}

function keptOf({ environment, app, bytes }: Pick<StoredParked, 'environment' | 'app' | 'bytes'>): { kept?: KeptEvent } {
  return bytes === null ? {} : { kept: { environment: environment!, app: app!, bytes } };
}

function cursorRow(row: Record<string, unknown>): Pick<LaneRow, 'shard' | 'cursor'> {
  const { shard, log, position, timeMs, idHash } = row as unknown as LaneRow['cursor'] & { readonly shard: string };
  return { shard, cursor: { log, position, timeMs, idHash } };
}

function keyRow(row: Record<string, unknown>): Pick<KeyedRow, 'position' | 'key'> {
  return { position: String(row['position']), key: String(row['key']) };
}

function parkedRow(lane: string, shard: string, row: unknown): ParkedRow {
  const { position, held, dueMs, attempts, attemptsBefore, key, cause, size, timeMs, idHash, ...kept } = row as StoredParked;
  const state = held === 1 ? 'held' : 'parked';
  return { lane, shard, position, state, dueMs, attempts, attemptsBefore, ...(key === null ? {} : { key }), cause, size, timeMs, idHash, ...keptOf(kept) };
}

function deadLetterOf(row: unknown): DeadLetter {
  const { holdsKey, environment, app, bytes, through, throughMs, rangeCount, ...all } = row as StoredDeadLetter;
  const range = through === null ? {} : { range: { through, throughTimeMs: throughMs!, ...(rangeCount === null ? {} : { count: rangeCount }) } };
  return { ...all, ...(holdsKey === null ? {} : { holdsKey }), ...keptOf({ environment, app, bytes }), ...range };
}
