/**
 * The Directory port. Changes of this process go in groups: what has come while one was being written is the next
 * transaction, so that a thousand resources are not a thousand waits for the disk. Each has its own answer.
 */
import type { Directory, Kind, Kinds, Versioned } from '@millrace/gateway/ports/directory';
import { parseText } from '@millrace/core/json-parse';
import { Problem } from '@millrace/core/problem';
import type { Database, Row, Step } from './database.ts';
import type { Feed, Moment, StoredChange } from './feed.ts';
import { channelOf } from './listening.ts';

interface Write {
  readonly kind: string;
  readonly environment: string;
  readonly id: string;
  /** Null deletes. */
  readonly value: string | null;
  /** The version it must be at: 0 for absent, null for any. */
  readonly expect: number | null;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

interface Outcome {
  /** Version before, 0 where there was none. */
  readonly present: number;
  /** Absent where it was not as expected, or nothing was there to delete. */
  readonly change?: StoredChange;
}

/** Of one transaction: so long nobody else in the cluster can change anything. */
const GROUP_WRITES = 100;
const GROUP_CHARACTERS = 8 * 1024 * 1024;
/** Configuration is written by people; a script that makes a thousand apps at once is well inside. */
const WAITING_MAX = 10_000;
/** No version: what expects it is refused. */
const NEVER = -1;

interface Needs {
  readonly database: Database;
  readonly feed: Feed;
  /** Names this process to its own listener, which knows already what it is told of. */
  readonly origin: string;
}

export function createDirectory({ database, feed, origin }: Needs): Directory {
  const sql = statements(database.schema);
  let waiting: Write[] = [];
  let isWriting = false;

  function write(request: Omit<Write, 'resolve' | 'reject'>): Promise<Outcome> {
    if (waiting.length >= WAITING_MAX)
      throw new Problem('overloaded', `${WAITING_MAX} changes of the directory wait to be written`);
    return new Promise((resolve, reject) => {
      waiting.push({ ...request, resolve, reject });
      if (!isWriting) void writeAll();
    });
  }

  async function writeAll(): Promise<void> {
    isWriting = true;
    // What is asked in this turn of the event loop goes together.
    await Promise.resolve();
    while (waiting.length > 0) await writeGroup(nextGroup());
    isWriting = false;
  }

  function nextGroup(): Write[] {
    let characters = 0;
    const tooMany = waiting.findIndex(
      ({ value }, i) => i >= GROUP_WRITES || ((characters += value?.length ?? 0) > GROUP_CHARACTERS && i > 0),
    );
    const group = tooMany === -1 ? waiting : waiting.slice(0, tooMany);
    waiting = tooMany === -1 ? [] : waiting.slice(tooMany);
    return group;
  }

  async function writeGroup(group: readonly Write[]): Promise<void> {
    try {
      const notify: Step = [sql.notify, channelOf(database.schema), origin];
      const rows = await database.transaction([[sql.hold], ...group.map(stepOf), notify]);
      const outcomes = group.map((request, i) => outcomeOf(request, rows[i + 1]![0]!));
      await feed.made(
        rows[0]![0] as unknown as Moment,
        outcomes.flatMap(({ change }) => change ?? []),
      );
      group.forEach(({ resolve }, i) => resolve(outcomes[i]!));
    } catch (error) {
      await refuse(group, error);
    }
  }

  /** One that Postgres can't take (an id that is too long for an index) must not be the others' failure. */
  async function refuse(group: readonly Write[], error: unknown): Promise<void> {
    if ((error as Problem).code !== 'internal_error' || group.length === 1) {
      for (const { reject } of group) reject(error);
      // It may have been done, and only the answer was lost: watchers are told then.
      feed.look(database.query).catch(() => {});
      return;
    }
    for (const request of group) await writeGroup([request]);
  }

  function stepOf({ kind, environment, id, value, expect }: Write): Step {
    return value === null ? [sql.remove, kind, environment, id, expect] : [sql.put, kind, environment, id, expect, value];
  }

  return {
    async get<K extends Kind>(kind: K, environment: string, id: string) {
      const [row] = await database.query<StoredResource>(sql.get, kind, environment, id);
      return row && read<K>(row);
    },
    async list<K extends Kind>(kind: K, { environment, after, limit }: Parameters<Directory['list']>[1]) {
      const from = [after?.environment ?? '', after?.id ?? ''] as const;
      const rows =
        environment === undefined
          ? await database.query<StoredResource>(sql.listAll, kind, ...from, limit)
          : await database.query<StoredResource>(sql.listOne, kind, ...from, limit, environment);
      return rows.map((row) => read<K>(row));
    },
    async put<K extends Kind>(kind: K, environment: string, id: string, value: Kinds[K], expect?: 'absent' | number) {
      const json = JSON.stringify(value);
      const { present, change } = await write({ kind, environment, id, value: json, expect: expected(expect) });
      if (change === undefined) throw mismatch(id, expect, present);
      return read<K>({ environment, id, version: change.version, value: json });
    },
    async delete(kind, environment, id, expect) {
      const { present, change } = await write({ kind, environment, id, value: null, expect: expected(expect) });
      if (change === undefined && present !== 0) throw mismatch(id, expect, present);
      return change !== undefined;
    },
    watch: feed.watch,
  };
}

interface StoredResource {
  readonly environment: string;
  readonly id: string;
  readonly version: number;
  readonly value: string;
}

function read<K extends Kind>({ environment, id, version, value }: StoredResource): Versioned<Kinds[K]> {
  return { environment, id, version, value: parseText(value) as Kinds[K] };
}

function expected(expect: 'absent' | number | undefined): number | null {
  if (expect === undefined) return null;
  return expect === 'absent' ? 0 : expect > 0 ? expect : NEVER;
}

function mismatch(id: string, expect: 'absent' | number | undefined, present: number): Problem {
  if (expect === 'absent') return new Problem('already_exists', `There is one with the id ${id} already`);
  return new Problem('version_mismatch', `${id} is at version ${present || 'none'}, not ${expect}`);
}

function outcomeOf({ kind, environment, id, value }: Write, row: Row): Outcome {
  const { present, version, seq, token } = row as { present: number; version: number; seq: number | null; token: string };
  return { present, ...(seq === null ? {} : { change: { seq, token, kind, environment, id, version, value } }) };
}

function statements(schema: string) {
  const place = 'kind = $1 AND environment = $2 AND id = $3';
  const columns = 'environment, id, version, value';
  const all = `SELECT ${columns} FROM ${schema}.directory WHERE kind = $1 AND (environment, id) > ($2, $3)`;
  // `present` is what the transaction finds while it holds the clock, so nobody changes it until the commit.
  const present = `present AS (SELECT coalesce((SELECT version FROM ${schema}.directory WHERE ${place}), 0) AS version)`;
  const told = (value: string) => `
    turn AS (
      UPDATE ${schema}.directory_clock SET seq = seq + 1, token = gen_random_uuid()::text WHERE EXISTS (SELECT FROM done) RETURNING seq, token
    ),
    told AS (
      INSERT INTO ${schema}.changes (seq, token, kind, environment, id, version, value)
      SELECT turn.seq, turn.token, $1, $2, $3, done.version, ${value} FROM done, turn RETURNING seq, token
    )
    SELECT present.version AS present, done.version, told.seq, told.token
    FROM present LEFT JOIN done ON true LEFT JOIN told ON true`;
  return {
    get: { name: 'get', text: `SELECT ${columns} FROM ${schema}.directory WHERE ${place}` },
    listAll: { name: 'list all', text: `${all} ORDER BY environment, id LIMIT $4` },
    listOne: { name: 'list one', text: `${all} AND environment = $5 ORDER BY environment, id LIMIT $4` },
    hold: { name: 'hold the clock', text: `SELECT seq, token FROM ${schema}.directory_clock FOR UPDATE` },
    put: {
      name: 'put',
      text: `WITH ${present},
        done AS (
          INSERT INTO ${schema}.directory (kind, environment, id, version, value)
          SELECT $1, $2, $3, present.version + 1, $5 FROM present WHERE $4::bigint IS NULL OR $4 = present.version
          ON CONFLICT (kind, environment, id) DO UPDATE SET version = excluded.version, value = excluded.value RETURNING version
        ),${told('$5')}`,
    },
    remove: {
      name: 'remove',
      text: `WITH ${present},
        done AS (DELETE FROM ${schema}.directory WHERE ${place} AND ($4::bigint IS NULL OR $4 = version) RETURNING version),${told('NULL')}`,
    },
    notify: { name: 'notify', text: `SELECT pg_notify($1, seq || ' ' || $2) FROM ${schema}.directory_clock` },
  };
}
