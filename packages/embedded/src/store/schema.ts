/**
 * state.db, schema version 1.
 *
 * Names are written once and meant by number everywhere else. The hot events are in tables hot_1, hot_2, … (the last one
 * takes the appends, older ones are being sealed), the attempts in one table per UTC day; both come and go whole.
 */

/** Also the version of the sealed files. A newer one is refused with `data_directory_newer`. */
export const SCHEMA_VERSION = 1;
/** 'MILL', in the header of every file of ours. */
export const APPLICATION_ID = 0x4d494c4c;
export const PAGE_BYTES = 16_384;

export const STATE_SCHEMA = `
  CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE topics (
    id INTEGER PRIMARY KEY, environment TEXT NOT NULL, topic TEXT NOT NULL, retention_ms INTEGER, UNIQUE (environment, topic)
  );
  CREATE TABLE apps (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, app TEXT NOT NULL, UNIQUE (environment, app));

  CREATE TABLE files (
    name TEXT PRIMARY KEY, hot INTEGER NOT NULL, kind TEXT NOT NULL, records INTEGER NOT NULL, bytes INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, until_ms INTEGER
  ) WITHOUT ROWID;
  CREATE TABLE file_topics (
    name TEXT NOT NULL, topic INTEGER NOT NULL, records INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    PRIMARY KEY (name, topic)
  ) WITHOUT ROWID;
  CREATE TABLE doomed (name TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE removed (
    id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, records INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, marks BLOB
  );
  CREATE INDEX removed_last ON removed (topic, last);

  CREATE TABLE directory (
    kind TEXT NOT NULL, environment TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (kind, environment, id)
  ) WITHOUT ROWID;

  CREATE TABLE shards (id INTEGER PRIMARY KEY, shard TEXT NOT NULL UNIQUE);
  CREATE TABLE lanes (id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL);
  CREATE INDEX lanes_subscription ON lanes (subscription);
  CREATE TABLE forgotten (lane INTEGER PRIMARY KEY);
  CREATE TABLE lane_cursors (
    lane INTEGER NOT NULL, shard INTEGER NOT NULL, log TEXT NOT NULL, position TEXT NOT NULL, time_ms INTEGER NOT NULL, id_hash TEXT NOT NULL,
    PRIMARY KEY (lane, shard)
  ) WITHOUT ROWID;
  CREATE TABLE slot_cursors (
    slot INTEGER NOT NULL, shard INTEGER NOT NULL, log TEXT NOT NULL, position TEXT NOT NULL, time_ms INTEGER NOT NULL, id_hash TEXT NOT NULL,
    PRIMARY KEY (slot, shard)
  ) WITHOUT ROWID;
  CREATE TABLE parked (
    lane INTEGER NOT NULL, shard INTEGER NOT NULL, position TEXT NOT NULL, held INTEGER NOT NULL, due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL, attempts_before INTEGER NOT NULL, key TEXT, cause TEXT NOT NULL, size INTEGER NOT NULL, time_ms INTEGER NOT NULL, id_hash TEXT NOT NULL,
    environment TEXT, app TEXT, bytes BLOB,
    PRIMARY KEY (lane, shard, position)
  ) WITHOUT ROWID;
  CREATE INDEX parked_due ON parked (lane, shard, held, due_ms, position, size);
  CREATE INDEX parked_key ON parked (lane, shard, position, key, held) WHERE key IS NOT NULL;
  CREATE TABLE dead_letters (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subscription TEXT NOT NULL, lane INTEGER NOT NULL, shard INTEGER NOT NULL, position TEXT NOT NULL,
    cause TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL, event_id TEXT NOT NULL, topic TEXT NOT NULL,
    time_ms INTEGER NOT NULL, died_ms INTEGER NOT NULL, holds_key TEXT, environment TEXT, app TEXT, bytes BLOB,
    through TEXT, through_ms INTEGER, range_count INTEGER
  );
  CREATE INDEX dead_letters_subscription ON dead_letters (subscription, id);
  CREATE INDEX dead_letters_position ON dead_letters (lane, shard, position, through);
  CREATE INDEX dead_letters_key ON dead_letters (lane, shard, position, holds_key) WHERE holds_key IS NOT NULL;
`;

/** `key`, `memo` and `until_ms` are the entry's dedupe. Topics are found through memory (hot.ts): an index here would double what a small commit writes. */
export function hotSchema(hot: number): string {
  return `CREATE TABLE hot_${hot} (
    offset INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, topic INTEGER NOT NULL, app INTEGER NOT NULL, audience INTEGER, bytes BLOB NOT NULL,
    key TEXT, memo TEXT, until_ms INTEGER
  )`;
}

/**
 * A sealed file can be understood without state.db: it says which log it is of and brings its names. `marks` (see
 * marks.ts) is the index by topic and time: a tenth of the size and half of the work of one in SQL.
 */
export const EVENTS_SCHEMA = `
  CREATE TABLE sealed.about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE sealed.events (
    offset INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, topic INTEGER NOT NULL, app INTEGER NOT NULL, audience INTEGER, bytes BLOB NOT NULL
  );
  CREATE TABLE sealed.topics (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, topic TEXT NOT NULL, marks BLOB NOT NULL);
  CREATE TABLE sealed.apps (id INTEGER PRIMARY KEY, environment TEXT NOT NULL, app TEXT NOT NULL);
`;

export const KEYS_SCHEMA = `
  CREATE TABLE sealed.about (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE sealed.keys (
    app INTEGER NOT NULL, key TEXT NOT NULL, offset INTEGER NOT NULL, time_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, memo TEXT NOT NULL,
    PRIMARY KEY (app, key)
  ) WITHOUT ROWID;
  CREATE TABLE sealed.filter (bits BLOB NOT NULL);
`;

export function attemptsSchema(table: string): string {
  return `
    CREATE TABLE ${table} (
      lane INTEGER NOT NULL, shard INTEGER NOT NULL, position TEXT NOT NULL, n INTEGER NOT NULL, started_ms INTEGER NOT NULL,
      outcome INTEGER NOT NULL, rest TEXT NOT NULL,
      PRIMARY KEY (lane, shard, position, n, started_ms)
    ) WITHOUT ROWID;
    CREATE INDEX ${table}_started ON ${table} (lane, started_ms);
  `;
}
