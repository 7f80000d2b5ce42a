/**
 * Directory and ledger on Postgres 14 or newer, for several nodes: all tables in one schema, brought to this version when it
 * is opened.
 *
 *   directory, directory_clock, changes      configuration; how it changed in the last day
 *   lanes, lane_cursors, slot_cursors        where lanes and slots are
 *   parked, dead_letters, attempts_YYYYMMDD  deliveries
 *   claims                                   idempotency keys, where the log remembers them too short
 *   nodes, slots                             who owns what (openLeases)
 *
 * A node takes poolMax connections and one that listens. A pooler between must keep sessions: statements are prepared, and
 * what changes is heard by LISTEN.
 */
import { randomBytes } from 'node:crypto';
import type { Claims } from '@millrace/gateway/ports/claims';
import type { Directory } from '@millrace/gateway/ports/directory';
import type { Ledger } from '@millrace/gateway/ports/ledger';
import { createClaims } from './claims.ts';
import { openDatabase } from './database.ts';
import type { DatabaseOptions } from './database.ts';
import { createDays } from './days.ts';
import { createDirectory } from './directory.ts';
import { createFindings } from './findings.ts';
import { openFeed } from './feed.ts';
import { createHouse } from './house.ts';
import { createCommit, createLedger } from './ledger.ts';
import { listen } from './listening.ts';
import { migrate } from './migrate.ts';

export { openLeases } from './leases.ts';
export type { LeasesOptions } from './leases.ts';
export { migrate, SCHEMA_VERSION } from './migrate.ts';

export interface PostgresOptions extends DatabaseOptions {
  /**
   * This node knows what is not so, and must be started again: the database went back to an earlier state, or it was away for
   * more than a day of changes. Default: a process warning.
   */
  readonly onFailure?: (error: Error) => void;
  /** Wall time, ms since 1970. Default Date.now. */
  readonly now?: () => number;
}

export interface Postgres {
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly claims: Claims;
  /** Settles what is in flight and lets the connections go. Closing twice is safe. */
  close(): Promise<void>;
}

/** Rejects with `ledger_unavailable` (the advice says what to look at), `schema_newer` or `invalid_request`. */
export async function openPostgres({ onFailure = warn, now = Date.now, ...options }: PostgresOptions): Promise<Postgres> {
  await migrate(options);
  const database = openDatabase(options);
  try {
    const days = createDays(database);
    await days.makeAhead(now());
    const origin = randomBytes(8).toString('hex');
    const feed = await openFeed({ schema: database.schema, query: database.query, onFailure });
    const listening = await listen({ database, feed, origin });
    const commit = createCommit({ database, days });
    return {
      directory: createDirectory({ database, feed, origin }),
      ledger: {
        ...createLedger({ database, days, commit, keepHouse: createHouse({ database, days, now }) }),
        findings: createFindings({ database, now }),
      },
      claims: createClaims(database),
      async close() {
        listening.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

function warn(error: Error): void {
  process.emitWarning(`The store on Postgres has failed: ${error.message}`);
}
