/**
 * The statements of a commit. Most bring lanes along as two columns of names ($1, $2), and rows whose lane is a place in these.
 * `known` is one row with the lanes' numbers as an array, so that finding a row's number is no join: a join is planned with a
 * guess of how many rows there are, which is wrong for every commit but one.
 */
type Columns = Readonly<Record<string, 'int8' | 'text' | 'bytea'>>;

const CURSOR: Columns = { log: 'text', position: 'text', time_ms: 'int8', id_hash: 'text' };
const KEPT: Columns = { environment: 'text', app: 'text', bytes: 'bytea' };
const PARKED: Columns = {
  due_ms: 'int8',
  attempts: 'int8',
  attempts_before: 'int8',
  key: 'text',
  cause: 'text',
  size: 'int8',
  time_ms: 'int8',
  id_hash: 'text',
  ...KEPT,
};
const DEAD_LETTER: Columns = {
  id: 'text',
  subscription: 'text',
  position: 'text',
  cause: 'text',
  detail: 'text',
  attempts: 'int8',
  event_id: 'text',
  topic: 'text',
  time_ms: 'int8',
  died_ms: 'int8',
  holds_key: 'text',
  ...KEPT,
  through: 'text',
  through_ms: 'int8',
  range_count: 'int8',
};
const ATTEMPT: Columns = { position: 'text', n: 'int8', started_ms: 'int8', outcome: 'int8', rest: 'text' };

export type CommitStatements = ReturnType<typeof commitStatements>;

export function commitStatements(schema: string) {
  // A lane that was forgotten in between has no number: then the commit fails as a whole (a number may not be null) and is repeated.
  const known = `(
    SELECT array_agg(l.id ORDER BY u.place) AS ids
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (lane, shard, place)
    LEFT JOIN ${schema}.lanes l ON l.lane = u.lane AND l.shard = u.shard
  ) AS known`;
  const rowsOfLanes = (columns: Columns) => `${known}, ${rows({ lane: 'int8', ...columns }, 3)}`;
  const cursor = names(CURSOR);
  const attempts = `INSERT INTO ${schema}.attempts (lane_id, ${names(ATTEMPT)})
    SELECT known.ids[r.lane], ${names(ATTEMPT)} FROM ${rowsOfLanes(ATTEMPT)}`;

  return {
    // Row by row over an index costs as much as there are rows, whatever the tables hold. What else the planner thinks of, it
    // thinks of with that guess, and keeps for later commits.
    plan: {
      name: 'plan',
      text: `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`,
    },
    dropCursors: {
      name: 'drop cursors',
      text: `DELETE FROM ${schema}.lane_cursors c USING ${schema}.lanes l WHERE l.lane = ANY ($1::text[]) AND c.lane_id = l.id`,
    },
    dropParked: {
      name: 'drop parked',
      text: `DELETE FROM ${schema}.parked p USING ${schema}.lanes l WHERE l.lane = ANY ($1::text[]) AND p.lane_id = l.id`,
    },
    dropSubscriptions: {
      name: 'drop subscriptions',
      text: `WITH gone AS (DELETE FROM ${schema}.lanes WHERE subscription = ANY ($1::text[]) RETURNING id),
        cursors AS (DELETE FROM ${schema}.lane_cursors c USING gone WHERE c.lane_id = gone.id)
        INSERT INTO ${schema}.forgotten (lane_id) SELECT id FROM gone`,
    },
    unpark: {
      name: 'unpark',
      text: `DELETE FROM ${schema}.parked p USING ${rowsOfLanes({ position: 'text' })}
        WHERE p.lane_id = known.ids[r.lane] AND p.position = r.position`,
    },
    unbury: { name: 'unbury', text: `DELETE FROM ${schema}.dead_letters WHERE id = ANY ($1::text[])` },
    idle: {
      name: 'idle',
      text: `DELETE FROM ${schema}.lane_cursors c USING ${rowsOfLanes({})} WHERE c.lane_id = known.ids[r.lane]`,
    },
    addLanes: {
      name: 'add lanes',
      text: `INSERT INTO ${schema}.lanes (lane, shard, subscription)
        SELECT lane, shard, subscription FROM ${rows({ lane: 'text', shard: 'text', subscription: 'text' }, 1)}
        WHERE NOT EXISTS (SELECT FROM ${schema}.lanes l WHERE l.lane = r.lane AND l.shard = r.shard)
        ON CONFLICT DO NOTHING`,
    },
    attempts: { name: 'add attempts', text: attempts },
    attemptsAgain: { name: 'add attempts again', text: `${attempts} ON CONFLICT DO NOTHING` },
    park: {
      name: 'park',
      text: `INSERT INTO ${schema}.parked (lane_id, position, held, ${names(PARKED)})
        SELECT known.ids[r.lane], position, held = 1, ${names(PARKED)}
        FROM ${rowsOfLanes({ position: 'text', held: 'int8', ...PARKED })}
        ON CONFLICT (lane_id, position) DO UPDATE SET ${replaced(`held, ${names(PARKED)}`)}`,
    },
    bury: {
      name: 'bury',
      text: `INSERT INTO ${schema}.dead_letters (lane_id, ${names(DEAD_LETTER)})
        SELECT known.ids[r.lane], ${names(DEAD_LETTER)} FROM ${rowsOfLanes(DEAD_LETTER)}
        ON CONFLICT (id) DO UPDATE SET ${replaced(`lane_id, ${names(DEAD_LETTER)}`)}`,
    },
    lanes: {
      name: 'set lanes',
      text: `INSERT INTO ${schema}.lane_cursors (lane_id, ${cursor})
        SELECT known.ids[r.lane], ${cursor} FROM ${rowsOfLanes(CURSOR)}
        ON CONFLICT (lane_id) DO UPDATE SET ${replaced(cursor)}`,
    },
    slots: {
      name: 'set slots',
      text: `INSERT INTO ${schema}.slot_cursors (slot, shard, ${cursor})
        SELECT slot, shard, ${cursor} FROM ${rows({ slot: 'int8', shard: 'text', ...CURSOR }, 1)}
        ON CONFLICT (slot, shard) DO UPDATE SET ${replaced(cursor)}`,
    },
  };
}

/** Parameters from `first` on, a column each, as rows named r. */
function rows(columns: Columns, first: number): string {
  const parameters = Object.values(columns).map((type, i) => `$${first + i}::${type}[]`);
  return `unnest(${parameters.join(', ')}) AS r (${names(columns)})`;
}

function names(columns: Columns): string {
  return Object.keys(columns).join(', ');
}

function replaced(columns: string): string {
  return columns
    .split(', ')
    .map((column) => `${column} = excluded.${column}`)
    .join(', ');
}
