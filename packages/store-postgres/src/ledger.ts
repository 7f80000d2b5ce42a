/** The Ledger port. Reads are one statement each, so each sees the ledger as it was between two commits. */
import type { Commit, KeyedRow, LaneRow, Ledger, OpenLane, SlotRow } from '@millrace/gateway/ports/ledger';
import { Problem } from '@millrace/core/problem';
import { commitStatements } from './commit-statements.ts';
import { commitSteps } from './commit.ts';
import type { Database, Step } from './database.ts';
import type { Days } from './days.ts';
import { LANE_FORGOTTEN, NO_PARTITION, sqlStateOf, THERE_ALREADY } from './faults.ts';
import { attemptOf, cursorOf, CURSOR, DEAD_LETTER, deadLetterOf, PARKED, parkedOf } from './ledger-rows.ts';
import type { StoredAttempt, StoredDeadLetter, StoredParked } from './ledger-rows.ts';

/** For attempts that are there already, a day that has no partition, a subscription that another node dropped in between: each may come up, and one twice with bad luck. */
const TRIES = 5;

export interface LedgerNeeds {
  readonly database: Database;
  readonly days: Days;
}

/** `before` are the first steps of the transaction. */
export type CommitWith = (commit: Commit, before?: readonly Step[]) => Promise<void>;

export function createCommit({ database, days }: LedgerNeeds): CommitWith {
  const sql = commitStatements(database.schema);
  return async (commit, before = []) => {
    // To look first whether an attempt is there costs a third of the commit, and only a commit that is repeated finds one.
    let repeated = false;
    for (let tries = 1; ; tries++) {
      try {
        await database.transaction([...before, ...commitSteps(sql, commit, repeated)]);
        return;
      } catch (error) {
        const state = sqlStateOf((error as Error).cause);
        if (tries === TRIES || !REPEATED.has(state)) throw error;
        if (state === NO_PARTITION) await days.makeFor(commit.attempts ?? []);
        repeated ||= state === THERE_ALREADY;
      }
    }
  };
}

const REPEATED = new Set([NO_PARTITION, LANE_FORGOTTEN, THERE_ALREADY]);

interface Needs extends LedgerNeeds {
  readonly commit: CommitWith;
  /** What else is done when attempts are pruned. */
  readonly keepHouse: () => Promise<void>;
}

export function createLedger({ database, days, commit, keepHouse }: Needs): Ledger {
  const { query } = database;
  const sql = statements(database.schema);
  return {
    commit: (changes) => commit(changes),
    async lanes() {
      const rows = await query<Omit<LaneRow, 'cursor'> & LaneRow['cursor']>(sql.lanes);
      return rows.map(({ lane, shard, ...cursor }) => ({ lane, shard, cursor: cursorOf(cursor) }));
    },
    async slots() {
      const rows = await query<Omit<SlotRow, 'cursor'> & SlotRow['cursor']>(sql.slots);
      return rows.map(({ slot, shard, ...cursor }) => ({ slot, shard, cursor: cursorOf(cursor) }));
    },
    async handledAfter(lane, shard, after) {
      return (await query<{ position: string }>(sql.handledAfter, lane, shard, after)).map(({ position }) => position);
    },
    async openLanes() {
      const rows = await query<OpenLane & { readonly nextDueMs: number | null }>(sql.openLanes);
      return rows.map(({ nextDueMs, ...row }) => (nextDueMs === null ? row : { ...row, nextDueMs }));
    },
    async due(lane, shard, dueMs, limit) {
      const found = await query<StoredParked & { nextDueMs: number | null }>(sql.due, lane, shard, Math.floor(dueMs), limit);
      const next = found[0]?.nextDueMs ?? null;
      // Where nothing is due there is one row all the same, with nothing but the next time.
      const rows = found.filter(({ position }) => position !== null).map((row) => parkedOf(lane, shard, row));
      return { rows, ...(next === null ? {} : { nextDueMs: next }) };
    },
    keyed: (lane, shard) => query<KeyedRow>(sql.keyed, lane, shard),
    async parked(lane, shard, position) {
      const [row] = await query<StoredParked>(sql.parked, lane, shard, position);
      return row && parkedOf(lane, shard, row);
    },
    async attempts({ subscription, before, limit }) {
      const from = before && ([before.startedMs, before.lane, before.shard, before.position, before.n] as const);
      const rows = from
        ? await query<StoredAttempt>(sql.attemptsBefore, subscription, limit, ...from)
        : await query<StoredAttempt>(sql.attempts, subscription, limit);
      return rows.map(attemptOf);
    },
    async attemptsOf(lane, shard, position) {
      return (await query<StoredAttempt>(sql.attemptsOf, lane, shard, position)).map(attemptOf);
    },
    async deadLetters({ subscription, after = '', limit }) {
      return (await query<StoredDeadLetter>(sql.deadLetters, subscription, after, limit)).map(deadLetterOf);
    },
    async deadLetter(id) {
      const [row] = await query<StoredDeadLetter>(sql.deadLetter, id);
      return row && deadLetterOf(row);
    },
    deadLetterCounts: () => query<{ subscription: string; count: number }>(sql.deadLetterCounts),
    async pruneAttempts(beforeMs) {
      if (!Number.isFinite(beforeMs)) throw new Problem('internal_error', `${beforeMs} is no time`);
      await days.dropBefore(beforeMs);
      await keepHouse();
    },
  };
}

function statements(schema: string) {
  const laneId = `(SELECT l.id FROM ${schema}.lanes l WHERE l.lane = $1 AND l.shard = $2)`;
  const attempt = 'a.position, a.n, a.started_ms AS "startedMs", a.outcome, a.rest';
  // Of each lane the newest, out of an index; then the newest of these. A subscription has few lanes and may have millions of attempts.
  const newest = (older: string) => `
    SELECT l.lane, l.shard, ${attempt}
    FROM ${schema}.lanes l CROSS JOIN LATERAL (
      SELECT * FROM ${schema}.attempts a WHERE a.lane_id = l.id ${older}
      ORDER BY a.started_ms DESC, a.position DESC, a.n DESC LIMIT $2
    ) a
    WHERE l.subscription = $1
    ORDER BY a.started_ms DESC, a.lane_id DESC, a.position DESC, a.n DESC LIMIT $2`;
  // The whole order (time, lane, position, n), though of one lane: of those of the same time, lanes before this one are all older.
  const before = `(SELECT b.id FROM ${schema}.lanes b WHERE b.lane = $4 AND b.shard = $5)`;
  const older = `AND a.started_ms <= $3 AND (a.started_ms, a.lane_id, a.position, a.n) < ($3, coalesce(${before}, 0), $6, $7::bigint)`;
  const dead = `SELECT ${DEAD_LETTER} FROM ${schema}.dead_letters d JOIN ${schema}.lanes l ON l.id = d.lane_id`;

  return {
    lanes: {
      name: 'lanes',
      text: `SELECT l.lane, l.shard, ${CURSOR} FROM ${schema}.lane_cursors c JOIN ${schema}.lanes l ON l.id = c.lane_id`,
    },
    slots: { name: 'slots', text: `SELECT slot, shard, ${CURSOR} FROM ${schema}.slot_cursors` },
    // A range takes in what comes after its position, not what stands there: that delivery may still be open.
    handledAfter: {
      name: 'handled after',
      text: `
        SELECT position FROM ${schema}.attempts WHERE lane_id = ${laneId} AND position > $3 AND outcome <> 1
        UNION SELECT position FROM ${schema}.parked WHERE lane_id = ${laneId} AND position > $3
        UNION SELECT position FROM ${schema}.dead_letters WHERE lane_id = ${laneId} AND position > $3 AND through IS NULL
        ORDER BY position`,
    },
    openLanes: {
      name: 'open lanes',
      text: `SELECT l.lane, l.shard, o.parked, o."parkedBytes", o.held, o."nextDueMs" FROM (
          SELECT lane_id, count(*) FILTER (WHERE NOT held) AS parked, coalesce(sum(size) FILTER (WHERE NOT held), 0)::bigint AS "parkedBytes",
            count(*) FILTER (WHERE held) AS held, min(due_ms) FILTER (WHERE NOT held) AS "nextDueMs"
          FROM ${schema}.parked GROUP BY lane_id
        ) o JOIN ${schema}.lanes l ON l.id = o.lane_id`,
    },
    due: {
      name: 'due',
      text: `WITH due AS (
          SELECT ${PARKED} FROM ${schema}.parked
          WHERE lane_id = ${laneId} AND NOT held AND due_ms <= $3 ORDER BY due_ms, position LIMIT $4
        ), next AS (
          SELECT (
            SELECT due_ms FROM ${schema}.parked WHERE lane_id = ${laneId} AND NOT held
            ORDER BY due_ms, position OFFSET (SELECT count(*) FROM due) LIMIT 1
          ) AS due_ms
        )
        SELECT due.*, next.due_ms AS "nextDueMs" FROM next LEFT JOIN due ON true ORDER BY due."dueMs", due.position`,
    },
    keyed: {
      name: 'keyed',
      text: `
        SELECT position, key, CASE WHEN held THEN 'held' ELSE 'parked' END AS state
        FROM ${schema}.parked WHERE lane_id = ${laneId} AND key IS NOT NULL
        UNION ALL SELECT position, holds_key, 'dead' FROM ${schema}.dead_letters WHERE lane_id = ${laneId} AND holds_key IS NOT NULL
        ORDER BY position`,
    },
    parked: { name: 'parked', text: `SELECT ${PARKED} FROM ${schema}.parked WHERE lane_id = ${laneId} AND position = $3` },
    attempts: { name: 'attempts', text: newest('') },
    attemptsBefore: { name: 'attempts before', text: newest(older) },
    attemptsOf: {
      name: 'attempts of',
      text: `SELECT $1::text AS lane, $2::text AS shard, ${attempt} FROM ${schema}.attempts a
        WHERE a.lane_id = ${laneId} AND a.position = $3 ORDER BY a.n, a.started_ms`,
    },
    deadLetters: { name: 'dead letters', text: `${dead} WHERE d.subscription = $1 AND d.id > $2 ORDER BY d.id LIMIT $3` },
    deadLetter: { name: 'dead letter', text: `${dead} WHERE d.id = $1` },
    deadLetterCounts: {
      name: 'dead letter counts',
      text: `SELECT l.subscription, count(*) AS count FROM ${schema}.dead_letters d JOIN ${schema}.lanes l ON l.id = d.lane_id GROUP BY l.subscription`,
    },
  };
}
