/**
 * The partitions of attempts, one per UTC day. They are made ahead; a commit that finds none for one of its attempts (a
 * clock that is days off, a day that was dropped) has it made and goes on.
 */
import type { AttemptRow } from '@millrace/gateway/ports/ledger';
import type { Database } from './database.ts';
import { sqlStateOf } from './faults.ts';

export const DAY_MS = 86_400_000;
/** Made ahead are today's and these; housekeeping comes every hour. */
const DAYS_AHEAD = 3;
/** A clock may be behind, and an attempt that started before midnight is recorded after it. */
const DAYS_BEHIND = 1;

export interface Days {
  makeAhead(nowMs: number): Promise<void>;
  makeFor(attempts: readonly AttemptRow[]): Promise<void>;
  /** Drops the days that were over before `beforeMs`. */
  dropBefore(beforeMs: number): Promise<void>;
}

export function createDays({ schema, query, transaction }: Database): Days {
  const list = {
    name: 'attempt days',
    text: `SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '${schema}.attempts'::regclass`,
  };

  async function known(): Promise<Set<number>> {
    return new Set((await query<{ name: string }>(list)).map(({ name }) => dayOfName(name)));
  }

  /** Attaching lets commits go on meanwhile; to create the table as a partition would make them wait. */
  async function make(day: number): Promise<void> {
    const table = `${schema}.${nameOfDay(day)}`;
    const span = `FROM (${day * DAY_MS}) TO (${(day + 1) * DAY_MS})`;
    await transaction([
      [{ text: `SELECT pg_advisory_xact_lock(hashtextextended('millrace attempts ${schema}', 0))` }],
      [{ text: `CREATE TABLE ${table} (LIKE ${schema}.attempts)` }],
      [{ text: `ALTER TABLE ${schema}.attempts ATTACH PARTITION ${table} FOR VALUES ${span}` }],
    ]);
  }

  async function makeAll(days: readonly number[]): Promise<void> {
    const there = await known();
    for (const day of days.filter((day) => !there.has(day))) {
      await make(day).catch((error: unknown) => {
        // Another node was faster.
        if (sqlStateOf((error as Error).cause) !== TABLE_EXISTS) throw error;
      });
    }
  }

  return {
    makeAhead(nowMs) {
      const today = dayOf(nowMs);
      return makeAll(Array.from({ length: DAYS_BEHIND + 1 + DAYS_AHEAD }, (_, i) => today - DAYS_BEHIND + i));
    },
    makeFor: (attempts) => makeAll([...new Set(attempts.map(({ startedMs }) => dayOf(startedMs)))]),
    async dropBefore(beforeMs) {
      const over = [...(await known())].filter((day) => (day + 1) * DAY_MS <= beforeMs);
      // Each for itself: dropping keeps all commits waiting, for a moment, until those under way are through.
      for (const day of over) await transaction([[{ text: `DROP TABLE IF EXISTS ${schema}.${nameOfDay(day)}` }]]);
    },
  };
}

const TABLE_EXISTS = '42P07';
const PREFIX = 'attempts_';

function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/** `attempts_20261128` */
function nameOfDay(day: number): string {
  return PREFIX + new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
}

function dayOfName(name: string): number {
  const date = name.slice(PREFIX.length);
  return Date.parse(`${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6, 8)}`) / DAY_MS;
}
