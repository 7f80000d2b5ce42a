/**
 * What happened. Lanes are meant by number, one per lane and shard. A number is never used again, so to forget a subscription
 * is to remove its numbers: what stays under them can't be found, and is removed later, bit by bit (house.ts).
 *
 * Attempts are in one partition per UTC day of their start (days.ts), dropped whole. There is no default partition: one that
 * holds anything would stand in the way of the partitions that are made later.
 */
export const ledger = (schema: string): string => `
  CREATE TABLE ${schema}.lanes (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    lane text COLLATE "C" NOT NULL, shard text COLLATE "C" NOT NULL, subscription text COLLATE "C" NOT NULL,
    UNIQUE (lane, shard)
  );
  CREATE INDEX lanes_subscription ON ${schema}.lanes (subscription);
  CREATE TABLE ${schema}.forgotten (lane_id bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());

  CREATE TABLE ${schema}.lane_cursors (
    lane_id bigint PRIMARY KEY,
    log text NOT NULL, position text COLLATE "C" NOT NULL, time_ms bigint NOT NULL, id_hash text NOT NULL
  ) WITH (fillfactor = 70);
  CREATE TABLE ${schema}.slot_cursors (
    slot bigint NOT NULL, shard text COLLATE "C" NOT NULL,
    log text NOT NULL, position text COLLATE "C" NOT NULL, time_ms bigint NOT NULL, id_hash text NOT NULL,
    PRIMARY KEY (slot, shard)
  ) WITH (fillfactor = 50);

  CREATE TABLE ${schema}.parked (
    lane_id bigint NOT NULL, position text COLLATE "C" NOT NULL, held boolean NOT NULL, due_ms bigint NOT NULL,
    attempts bigint NOT NULL, attempts_before bigint NOT NULL, key text COLLATE "C", cause text NOT NULL,
    size bigint NOT NULL, time_ms bigint NOT NULL, id_hash text NOT NULL,
    environment text, app text, bytes bytea,
    PRIMARY KEY (lane_id, position)
  );
  CREATE INDEX parked_due ON ${schema}.parked (lane_id, due_ms, position) WHERE NOT held;
  CREATE INDEX parked_keyed ON ${schema}.parked (lane_id, position) WHERE key IS NOT NULL;

  CREATE TABLE ${schema}.dead_letters (
    id text COLLATE "C" PRIMARY KEY, subscription text COLLATE "C" NOT NULL,
    lane_id bigint NOT NULL, position text COLLATE "C" NOT NULL,
    cause text NOT NULL, detail text NOT NULL, attempts bigint NOT NULL, event_id text NOT NULL, topic text NOT NULL,
    time_ms bigint NOT NULL, died_ms bigint NOT NULL, holds_key text COLLATE "C",
    environment text, app text, bytes bytea,
    through text COLLATE "C", through_ms bigint, range_count bigint
  );
  CREATE INDEX dead_letters_subscription ON ${schema}.dead_letters (subscription, id);
  CREATE INDEX dead_letters_position ON ${schema}.dead_letters (lane_id, position);
  CREATE INDEX dead_letters_keyed ON ${schema}.dead_letters (lane_id, position) WHERE holds_key IS NOT NULL;

  CREATE TABLE ${schema}.attempts (
    lane_id bigint NOT NULL, position text COLLATE "C" NOT NULL, n bigint NOT NULL, started_ms bigint NOT NULL,
    outcome bigint NOT NULL, rest text NOT NULL,
    PRIMARY KEY (lane_id, position, n, started_ms)
  ) PARTITION BY RANGE (started_ms);
  CREATE INDEX attempts_started ON ${schema}.attempts (lane_id, started_ms);
`;
