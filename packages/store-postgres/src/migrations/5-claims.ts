/**
 * Idempotency keys of logs that do not remember them. `place` is where to look for the event of an open claim (JSON), empty once
 * it is settled; `since` is when the first claim under that place was made, `taken` when its present owner made it.
 *
 * One table, and not one per day as attempts have: a key must be unique across days, and two nodes at midnight would each write
 * into another. What is over is removed bit by bit. Settling changes no column of an index and finds room on the row's page
 * (fillfactor), so it writes no index.
 */
export const claims = (schema: string): string => `
  CREATE TABLE ${schema}.claims (
    id text COLLATE "C" PRIMARY KEY, digest text NOT NULL, token text NOT NULL, place text NOT NULL,
    since timestamptz NOT NULL, taken timestamptz NOT NULL, until timestamptz NOT NULL,
    shard text, position text, time_ms bigint, event_id text
  ) WITH (fillfactor = 50);
  CREATE INDEX claims_until ON ${schema}.claims (until);
`;
