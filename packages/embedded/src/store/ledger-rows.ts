/** The ledger's tables: its statements, and rows as the port has them. Attempts are in attempts.ts. */
import type { DatabaseSync } from 'node:sqlite';
import type { DeadLetter, KeptEvent, KeyedRow, LaneRow, OpenLane, ParkedRow } from '@millrace/gateway/ports/ledger';

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
const PARKED =
  'position, held, due_ms AS dueMs, attempts, attempts_before AS attemptsBefore, key, cause, size, time_ms AS timeMs, id_hash AS idHash, environment, app, bytes';
const DEAD = `
  dead_letters.id, lanes.lane, shards.shard, position, cause, detail, attempts, event_id AS eventId, topic, time_ms AS timeMs, died_ms AS diedMs,
  holds_key AS holdsKey, environment, app, bytes, through, through_ms AS throughMs, range_count AS rangeCount
  FROM dead_letters JOIN lanes ON lanes.id = dead_letters.lane JOIN shards ON shards.id = dead_letters.shard`;

export function ledgerStatements(db: DatabaseSync) {
  return {
    park: db.prepare('INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    unpark: db.prepare('DELETE FROM parked WHERE lane = ? AND shard = ? AND position = ?'),
    unparkLane: db.prepare('DELETE FROM parked WHERE lane = ?'),
    bury: db.prepare(`INSERT OR REPLACE INTO dead_letters (id, subscription, lane, shard, position, cause, detail, attempts, event_id, topic, time_ms, died_ms,
      holds_key, environment, app, bytes, through, through_ms, range_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    unbury: db.prepare('DELETE FROM dead_letters WHERE id = ?'),
    setLane: db.prepare('INSERT OR REPLACE INTO lane_cursors VALUES (?, ?, ?, ?, ?, ?)'),
    clearLane: db.prepare('DELETE FROM lane_cursors WHERE lane = ? AND shard = ?'),
    clearLanes: db.prepare('DELETE FROM lane_cursors WHERE lane = ?'),
    setSlot: db.prepare('INSERT OR REPLACE INTO slot_cursors VALUES (?, ?, ?, ?, ?, ?)'),
    lanes: db.prepare(
      `SELECT lanes.lane, shards.shard, ${CURSOR} FROM lane_cursors JOIN lanes ON lanes.id = lane_cursors.lane JOIN shards ON shards.id = lane_cursors.shard`,
    ),
    slots: db.prepare(`SELECT slot, shards.shard, ${CURSOR} FROM slot_cursors JOIN shards ON shards.id = slot_cursors.shard`),
    parkedAfter: db.prepare('SELECT position FROM parked WHERE lane = ? AND shard = ? AND position > ?'),
    // A range takes in what comes after its position, not what stands there: that delivery may still be open.
    deadAfter: db.prepare('SELECT position FROM dead_letters WHERE lane = ? AND shard = ? AND position > ? AND through IS NULL'),
    open: db.prepare(`SELECT lane, shard, held, count(*) AS deliveries, sum(size) AS bytes, min(due_ms) AS dueMs
      FROM parked INDEXED BY parked_due WHERE lane IN (SELECT id FROM lanes) GROUP BY lane, shard, held`),
    due: db.prepare(
      `SELECT ${PARKED} FROM parked WHERE lane = ? AND shard = ? AND held = 0 AND due_ms <= ? ORDER BY due_ms, position LIMIT ?`,
    ),
    nextDue: db.prepare(
      'SELECT due_ms AS dueMs FROM parked WHERE lane = ? AND shard = ? AND held = 0 ORDER BY due_ms, position LIMIT 1 OFFSET ?',
    ),
    keyedParked: db.prepare('SELECT position, key, held FROM parked WHERE lane = ? AND shard = ? AND key IS NOT NULL'),
    keyedDead: db.prepare(
      'SELECT position, holds_key AS key FROM dead_letters WHERE lane = ? AND shard = ? AND holds_key IS NOT NULL',
    ),
    parked: db.prepare(`SELECT ${PARKED} FROM parked WHERE lane = ? AND shard = ? AND position = ?`),
    deadLetters: db.prepare(
      `SELECT ${DEAD} WHERE dead_letters.subscription = ? AND dead_letters.id > ? ORDER BY dead_letters.id LIMIT ?`,
    ),
    deadLetter: db.prepare(`SELECT ${DEAD} WHERE dead_letters.id = ?`),
    deadCounts: db.prepare(
      'SELECT lanes.subscription, count(*) AS count FROM dead_letters JOIN lanes ON lanes.id = dead_letters.lane GROUP BY lanes.subscription',
    ),
  };
}

export interface OpenRow {
  readonly lane: number;
  readonly shard: number;
  readonly held: number;
  readonly deliveries: number;
  readonly bytes: number;
  readonly dueMs: number;
}

export function openLaneRows(rows: readonly OpenRow[]): (Omit<OpenLane, 'lane' | 'shard'> & Pick<OpenRow, 'lane' | 'shard'>)[] {
  const byLane = Map.groupBy(rows, ({ lane, shard }) => `${lane}.${shard}`);
  return [...byLane.values()].map((ofLane) => {
    const parked = ofLane.find((row) => row.held === 0);
    const held = ofLane.find((row) => row.held === 1)?.deliveries ?? 0;
    const { lane, shard } = ofLane[0]!;
    return {
      lane,
      shard,
      parked: parked?.deliveries ?? 0,
      parkedBytes: parked?.bytes ?? 0,
      held,
      ...(parked && { nextDueMs: parked.dueMs }),
    };
  });
}

export function keptColumns(kept: KeptEvent | undefined): readonly [string | null, string | null, Uint8Array | null] {
  return [kept?.environment ?? null, kept?.app ?? null, kept?.bytes ?? null];
}

function keptOf({ environment, app, bytes }: Pick<StoredParked, 'environment' | 'app' | 'bytes'>): { kept?: KeptEvent } {
  return bytes === null ? {} : { kept: { environment: environment!, app: app!, bytes } };
}

export function cursorRow(row: Record<string, unknown>): Pick<LaneRow, 'shard' | 'cursor'> {
  const { shard, log, position, timeMs, idHash } = row as unknown as LaneRow['cursor'] & { readonly shard: string };
  return { shard, cursor: { log, position, timeMs, idHash } };
}

export function keyRow(row: Record<string, unknown>, state: KeyedRow['state']): KeyedRow {
  return { position: String(row['position']), key: String(row['key']), state };
}

export function parkedRow(lane: string, shard: string, row: unknown): ParkedRow {
  const { position, held, dueMs, attempts, attemptsBefore, key, cause, size, timeMs, idHash, ...kept } = row as StoredParked;
  const state = held === 1 ? 'held' : 'parked';
  return {
    lane,
    shard,
    position,
    state,
    dueMs,
    attempts,
    attemptsBefore,
    ...(key === null ? {} : { key }),
    cause,
    size,
    timeMs,
    idHash,
    ...keptOf(kept),
  };
}

export function deadLetterOf(row: unknown): DeadLetter {
  const { holdsKey, environment, app, bytes, through, throughMs, rangeCount, ...all } = row as StoredDeadLetter;
  const range =
    through === null
      ? {}
      : { range: { through, throughTimeMs: throughMs!, ...(rangeCount === null ? {} : { count: rangeCount }) } };
  return { ...all, ...(holdsKey === null ? {} : { holdsKey }), ...keptOf({ environment, app, bytes }), ...range };
}
