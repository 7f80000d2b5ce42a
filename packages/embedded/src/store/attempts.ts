/**
 * Attempts: one table per UTC day of their start, so that pruning drops tables. Rows are short: what is looked up by is
 * a column, the rest one line of JSON.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { AttemptKey, AttemptRow } from '@millrace/gateway/ports/ledger';
import type { Lanes } from './lanes.ts';
import { OUTCOMES, readRest, unpackAttempts } from '../packing.ts';
import type { AttemptColumns } from '../packing.ts';
import { attemptsSchema } from './schema.ts';

const DAY_MS = 86_400_000;
const PREFIX = 'attempts_';

export interface Attempts {
  /** Within a transaction. An attempt that is there already is replaced. */
  add(columns: AttemptColumns): void;
  /** Positions of settled deliveries. */
  settledAfter(lane: number, shard: number, after: string): string[];
  newest(lanes: readonly number[], before: AttemptKey | undefined, limit: number): AttemptRow[];
  of(lane: number, shard: number, position: string): AttemptRow[];
  /** Drops the tables whose day was over before `beforeMs`. Within a transaction. */
  prune(beforeMs: number): void;
  /** After a rollback. */
  reload(): void;
}

interface Day {
  readonly number: number;
  readonly table: string;
  readonly add: StatementSync;
  sql(text: string): StatementSync;
}

interface StoredAttempt {
  readonly lane: number;
  readonly shard: number;
  readonly position: string;
  readonly n: number;
  readonly startedMs: number;
  readonly outcome: number;
  readonly rest: string;
}

const COLUMNS = 'lane, shard, position, n, started_ms AS startedMs, outcome, rest';
const NEWEST_FIRST = 'ORDER BY started_ms DESC, lane DESC, shard DESC, position DESC, n DESC';

export function openAttempts(db: DatabaseSync, lanes: Lanes): Attempts {
  let days = new Map<number, Day>();

  function reload(): void {
    const tables = db.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '${PREFIX}[0-9]*'`).all();
    days = new Map(tables.map((row) => openDay(db, String(row['name']))).map((day) => [day.number, day]));
  }

  function dayOf(startedMs: number): Day {
    const number = Math.floor(startedMs / DAY_MS);
    return days.get(number) ?? createDay(number);
  }

  function createDay(number: number): Day {
    const table = PREFIX + new Date(number * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
    db.exec(attemptsSchema(table));
    const day = openDay(db, table);
    days.set(number, day);
    return day;
  }

  function newestFirst(): Day[] {
    return [...days.values()].sort((a, b) => b.number - a.number);
  }

  function rowOf(stored: StoredAttempt): AttemptRow {
    const { lane, shard, position, n, startedMs, outcome, rest } = stored;
    return {
      lane: lanes.laneName(lane),
      shard: lanes.shardName(shard),
      position,
      n,
      startedMs,
      outcome: OUTCOMES[outcome]!,
      ...readRest(rest),
    };
  }

  /** Of one day, in the one order that paging needs: total, so that attempts of one millisecond are neither repeated nor left out. */
  function newestOf(day: Day, ids: string, before: AttemptKey | undefined, limit: number): StoredAttempt[] {
    const ofLanes = `SELECT ${COLUMNS} FROM ${day.table} WHERE lane IN (SELECT value FROM json_each(?))`;
    if (before === undefined) return day.sql(`${ofLanes} ${NEWEST_FIRST} LIMIT ?`).all(ids, limit) as unknown as StoredAttempt[];
    const { startedMs, lane, shard, position, n } = before;
    const older = 'started_ms <= ? AND (started_ms, lane, shard, position, n) < (?, ?, ?, ?, ?)';
    const rows = day.sql(`${ofLanes} AND ${older} ${NEWEST_FIRST} LIMIT ?`);
    return rows.all(
      ids,
      startedMs,
      startedMs,
      lanes.knownLane(lane),
      lanes.knownShard(shard),
      position,
      n,
      limit,
    ) as unknown as StoredAttempt[];
  }

  reload();
  return {
    add(columns) {
      for (const { lane, shard, position, n, startedMs, outcome, rest } of unpackAttempts(columns)) {
        dayOf(startedMs).add.run(lanes.laneId(lane), lanes.shardId(shard), position, n, startedMs, outcome, rest);
      }
    },
    settledAfter(lane, shard, after) {
      const where = `lane = ? AND shard = ? AND position > ? AND outcome <> ${OUTCOMES.indexOf('retry')}`;
      return [...days.values()].flatMap((day) =>
        day
          .sql(`SELECT position FROM ${day.table} WHERE ${where}`)
          .all(lane, shard, after)
          .map((row) => String(row['position'])),
      );
    },
    newest(ids, before, limit) {
      const found: StoredAttempt[] = [];
      const json = JSON.stringify(ids);
      for (const day of newestFirst()) {
        if (found.length >= limit) break;
        if (before !== undefined && day.number * DAY_MS > before.startedMs) continue;
        found.push(...newestOf(day, json, before, limit - found.length));
      }
      return found.map(rowOf);
    },
    of(lane, shard, position) {
      const rows = [...days.values()].flatMap((day) =>
        day.sql(`SELECT ${COLUMNS} FROM ${day.table} WHERE lane = ? AND shard = ? AND position = ?`).all(lane, shard, position),
      );
      return rows.map((row) => rowOf(row as unknown as StoredAttempt)).sort((a, b) => a.n - b.n || a.startedMs - b.startedMs);
    },
    prune(beforeMs) {
      for (const { number, table } of days.values()) {
        if ((number + 1) * DAY_MS > beforeMs) continue;
        db.exec(`DROP TABLE ${table}`);
        days.delete(number);
      }
    },
    reload,
  };
}

function openDay(db: DatabaseSync, table: string): Day {
  const [year, month, day] = [table.slice(-8, -4), table.slice(-4, -2), table.slice(-2)].map(Number) as [number, number, number];
  const statements = new Map<string, StatementSync>();
  return {
    number: Date.UTC(year, month - 1, day) / DAY_MS,
    table,
    add: db.prepare(`INSERT OR REPLACE INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?)`),
    sql(text) {
      const known = statements.get(text) ?? db.prepare(text);
      statements.set(text, known);
      return known;
    },
  };
}
