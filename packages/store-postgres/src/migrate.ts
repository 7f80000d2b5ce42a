/**
 * The schema goes forward only: numbered migrations, each applied once, all that are missing in one transaction. Several nodes
 * may start at once: one applies, the others wait for it. A schema that is newer than this code is refused.
 *
 * A migration that was released is never changed; what follows it is the next number. It must leave alone what the version
 * before it reads and writes, since nodes of both run side by side during an upgrade.
 */
import { Problem } from '@millrace/core/problem';
import { openDatabase } from './database.ts';
import type { Database, DatabaseOptions } from './database.ts';
import { directory } from './migrations/1-directory.ts';
import { ledger } from './migrations/2-ledger.ts';
import { leases } from './migrations/3-leases.ts';
import { turns } from './migrations/4-turns.ts';
import { claims } from './migrations/5-claims.ts';

/** In order; the first is version 1. */
const MIGRATIONS: readonly ((schema: string) => string)[] = [directory, ledger, leases, turns, claims];
export const SCHEMA_VERSION = MIGRATIONS.length;
/** The oldest that is still maintained by its makers. */
const SERVER_MIN = 140_000;
/** Copying a large table takes long, and so does waiting for the node that does it. */
const MIGRATION_MS = 600_000;

export interface MigrateOptions extends DatabaseOptions {
  /** For tests of upgrades: the version to stop at. */
  readonly to?: number;
}

/** Brings the schema to this version, makes it where it is missing. Resolves with the version that was there before, 0 for none. */
export async function migrate({ to = SCHEMA_VERSION, times, ...options }: MigrateOptions): Promise<number> {
  const patient = { ...times, statementMs: MIGRATION_MS, answerMs: MIGRATION_MS + 1_000 };
  const database = openDatabase({ ...options, poolMax: 1, times: patient });
  try {
    const before = await versionOf(database);
    if (before < to) {
      await apply(database, before, to);
      // A node of a newer version may have been faster.
      await versionOf(database);
    }
    return before;
  } finally {
    await database.close();
  }
}

/** One that is up to date is only read: a node may start while the server takes no writes. */
async function versionOf(database: Database): Promise<number> {
  const [server] = await database.query<{ version: number; known: boolean }>({
    text: `SELECT current_setting('server_version_num')::bigint AS version, to_regclass('${database.schema}.migrations') IS NOT NULL AS known`,
  });
  checkServer(server?.version ?? 0);
  if (server?.known !== true) return 0;
  const rows = await database.query<{ version: number }>({
    text: `SELECT coalesce(max(version), 0)::bigint AS version FROM ${database.schema}.migrations`,
  });
  const version = rows[0]?.version ?? 0;
  if (version > SCHEMA_VERSION) throw newer(database.schema, version);
  return version;
}

/** As the server tells it: 150004 is 15.4. */
export function checkServer(version: number): void {
  if (version >= SERVER_MIN) return;
  const [is, min] = [version, SERVER_MIN].map((each) => Math.floor(each / 10_000));
  throw new Problem('ledger_unavailable', `Postgres is of version ${is}; it must be ${min} or newer`, {
    advice: `Upgrade the server, or name another one in the address.`,
  });
}

/** What was done meanwhile by another node is seen under the lock, by each step for itself, and left out. */
async function apply({ schema, transaction }: Database, before: number, to: number): Promise<void> {
  const wanted = MIGRATIONS.map((sql, i) => ({ version: i + 1, sql: sql(schema) })).slice(before, to);
  await transaction([
    [{ text: 'SET LOCAL lock_timeout = 0' }],
    [{ text: `SELECT pg_advisory_xact_lock(hashtextextended('millrace migrations ${schema}', 0))` }],
    [{ text: made(schema) }],
    ...wanted.map(({ version, sql }) => [{ text: once(schema, version, sql) }] as const),
  ]);
}

/** The right to create schemas is asked for only where there is none: an administrator may have made it. */
function made(schema: string): string {
  return `DO $made$ BEGIN
    IF to_regnamespace('${schema}') IS NULL THEN CREATE SCHEMA ${schema}; END IF;
    CREATE TABLE IF NOT EXISTS ${schema}.migrations (version bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
  END $made$`;
}

function once(schema: string, version: number, sql: string): string {
  return `DO $once$ BEGIN
    IF NOT EXISTS (SELECT FROM ${schema}.migrations WHERE version >= ${version}) THEN
      ${sql}
      INSERT INTO ${schema}.migrations (version) VALUES (${version});
    END IF;
  END $once$`;
}

function newer(schema: string, version: number): Problem {
  return new Problem(
    'schema_newer',
    `The schema ${schema} in Postgres is of version ${version}; this Millrace knows those up to ${SCHEMA_VERSION}`,
    {
      advice:
        'Start the version of Millrace that was used last, or a newer one; an older one needs the backup made before the upgrade.',
    },
  );
}
