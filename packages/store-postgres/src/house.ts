/** What is done about once an hour, by whichever node comes first: partitions made ahead, and what nobody needs any more removed. */
import type { Database } from './database.ts';
import type { Days } from './days.ts';

/** Rows that one statement removes: a subscription may leave a million dead letters, and nobody shall wait for them. */
const ROWS_AT_ONCE = 1_000;
/** Rows of one call: the rest has time until the next. */
const ROUNDS = 1_000;
/** A node that was away for longer has missed changes, and starts again. */
const CHANGES_KEPT = '1 day';
/** A commit that was under way while its lane was forgotten has added its rows by then. */
const FORGOTTEN_FOR = '1 minute';
/** Long over, and no slot names it: gone nodes are of no interest. */
const NODES_KEPT = '1 day';

interface Needs {
  readonly database: Database;
  readonly days: Days;
  readonly now: () => number;
}

export function createHouse({ database: { schema, query }, days, now }: Needs): () => Promise<void> {
  const forgotten = {
    text: `SELECT lane_id AS lane FROM ${schema}.forgotten WHERE at < now() - interval '${FORGOTTEN_FOR}' LIMIT ${ROUNDS}`,
  };
  const removed = (table: string) => ({
    text: `WITH gone AS (
        DELETE FROM ${schema}.${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${schema}.${table} WHERE lane_id = $1 LIMIT ${ROWS_AT_ONCE})) RETURNING 1
      ) SELECT count(*) AS count FROM gone`,
  });
  const tables = [removed('parked'), removed('dead_letters')];

  /** The rows first: a node that ends in between leaves the lane to the next. */
  async function purge(): Promise<void> {
    let rounds = 0;
    for (const { lane } of await query<{ lane: number }>(forgotten)) {
      for (const table of tables) {
        while ((await query<{ count: number }>(table, lane))[0]?.count === ROWS_AT_ONCE) if (++rounds > ROUNDS) return;
      }
      await query({ text: `DELETE FROM ${schema}.forgotten WHERE lane_id = $1` }, lane);
    }
  }

  return async () => {
    await days.makeAhead(now());
    await purge();
    await query({ text: `DELETE FROM ${schema}.changes WHERE at < now() - interval '${CHANGES_KEPT}'` });
    // What such a writer gave up is not on its way any more.
    await query({ text: `DELETE FROM ${schema}.writers WHERE at < now() - interval '${NODES_KEPT}'` });
    await query({ text: `DELETE FROM ${schema}.nodes WHERE expires_at < now() - interval '${NODES_KEPT}'` });
  };
}
