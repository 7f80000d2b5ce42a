/** Connections to Postgres: bounded in number, every call bounded in time, failures as Problems. */
import { Socket } from 'node:net';
import { Problem } from '@millrace/core/problem';
import { Client, Pool, types } from 'pg';
import type { ClientBase, ClientConfig, Notification, PoolClient, QueryResultRow } from 'pg';
import { isConnectionLost, problemOf } from './faults.ts';
import { decodeText, encodeText } from './text.ts';

export interface DatabaseOptions {
  /** postgres://user:password@host:port/database */
  readonly url: string;
  /** Where all tables are: letters, digits and underscores. Default `millrace`. */
  readonly schema?: string;
  /** Connections at most, besides the one that listens for changes. */
  readonly poolMax?: number;
  /** Shown by pg_stat_activity. */
  readonly applicationName?: string;
  readonly times?: Partial<Times>;
}

export interface Times {
  /** Until a connection stands, or one of the pool is free. A server that is there answers at once; who waits longer gets nothing done anyway. */
  readonly connectMs: number;
  /** One statement, kept by the server: the largest commit takes two seconds on a slow disk, looking through all that is open at a start ten. */
  readonly statementMs: number;
  /** One call until its answer is there, kept here: for a server that went away without a word. Above statementMs, so that the server's reason is told where there is one. */
  readonly answerMs: number;
}

const TIMES: Times = { connectMs: 5_000, statementMs: 20_000, answerMs: 25_000 };
/** Waiting for a lock: of rows that another node holds, for as long as a commit takes. */
const LOCK_MS = 5_000;
/** A transaction is sent as one: if it stands still in between, its node is frozen, and must not hold its locks. */
const IDLE_IN_TRANSACTION_MS = 5_000;
const POOL_MAX = 10;
/** Calls that wait for a connection: more come only when the server is far too slow, and they would time out. */
const WAITING_MAX = 10_000;
const IDLE_MS = 60_000;
const KEEP_ALIVE_MS = 10_000;

const INT8 = 20;
const TEXT = 25;

export interface Statement {
  /** It is prepared under this name, once per connection; without one it is sent as it is. */
  readonly name?: string;
  readonly text: string;
}

export type Value = string | number | Buffer | null;
export type Step = readonly [statement: Statement, ...values: readonly Value[]];
export type Row = Readonly<Record<string, unknown>>;

export interface Database {
  readonly schema: string;
  query<R = Row>(...step: Step): Promise<R[]>;
  /** All or nothing. The steps are sent in one go, so it takes as long as one question and its answer. */
  transaction(steps: readonly Step[]): Promise<Row[][]>;
  /** A connection of its own, for LISTEN and for what takes long. */
  connect(watch?: Watch): Promise<Connection>;
  close(): Promise<void>;
}

export interface Watch {
  readonly onNotice: (payload: string) => void;
  /** Once, whoever closed it. */
  readonly onLost: () => void;
}

export interface Connection {
  query<R = Row>(...step: Step): Promise<R[]>;
  /** Does not wait for what is under way. */
  close(): void;
}

export function openDatabase({ url, schema = 'millrace', poolMax = POOL_MAX, ...rest }: DatabaseOptions): Database {
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(schema))
    throw new Problem('invalid_request', `${JSON.stringify(schema)} is no name of a schema: lower-case letters, digits, _`);
  const sockets = new Set<Socket>();
  const settings = { ...settingsOf({ url, ...rest }), stream: openSocket };
  const pool = new Pool({ ...settings, max: poolMax, idleTimeoutMillis: IDLE_MS });
  // An idle connection that breaks is replaced; whoever calls next sees whether there is a server.
  pool.on('error', ignore);
  // From the first moment: what the server says in one breath with its welcome comes before anybody has the client.
  pool.on('connect', (client) => void client.on('error', ignore));
  const underWay = new Set<Promise<unknown>>();
  let closing: Promise<void> | undefined;

  /** Ours, so that they can be let go though the server says nothing any more. */
  function openSocket(): Socket {
    const socket = new Socket();
    sockets.add(socket);
    return socket.once('close', () => sockets.delete(socket));
  }

  /** Says goodbye and does not wait for the answer. */
  async function end(): Promise<void> {
    await Promise.all(underWay);
    const ended = pool.end();
    for (const socket of sockets) socket.destroySoon();
    await ended;
  }

  /** The pool would leave unanswered who waits for a connection while it is closed. */
  function call<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    if (closing !== undefined) return Promise.reject(new Problem('ledger_unavailable', 'The store on Postgres is closed'));
    const answer = connected(work).catch(refuse);
    const settled = answer.catch(ignore).finally(() => underWay.delete(settled));
    underWay.add(settled);
    return answer;
  }

  async function connected<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    if (pool.waitingCount >= WAITING_MAX)
      throw new Problem('ledger_unavailable', `${WAITING_MAX} calls wait for a connection to Postgres`);
    const client = await pool.connect().catch(refuse);
    let lost = false;
    try {
      return await work(client);
    } catch (error) {
      lost = isConnectionLost(error);
      throw error;
    } finally {
      client.release(lost);
    }
  }

  return {
    schema,
    query: <R>(...step: Step) => call((client) => ask<R>(client, step)),
    transaction: (steps) => call((client) => together(client, steps)),
    async connect(watch) {
      let socket: Socket | undefined;
      const client = new Client({ ...settings, stream: () => (socket = openSocket()) });
      client.on('error', ignore);
      client.on('notification', ({ payload }: Notification) => watch?.onNotice(payload ?? ''));
      await client.connect().catch(refuse);
      client.once('end', () => watch?.onLost());
      return {
        query: <R>(...step: Step) => ask<R>(client, step).catch(refuse),
        close() {
          client.end().catch(ignore);
          socket?.destroySoon();
        },
      };
    },
    close: () => (closing ??= end()),
  };
}

function settingsOf({ url, applicationName = 'millrace', times }: Omit<DatabaseOptions, 'schema' | 'poolMax'>): ClientConfig {
  const { connectMs, statementMs, answerMs } = { ...TIMES, ...times };
  return {
    connectionString: url,
    application_name: applicationName,
    pipeline: true,
    connectionTimeoutMillis: connectMs,
    statement_timeout: statementMs,
    query_timeout: answerMs,
    lock_timeout: Math.min(LOCK_MS, statementMs),
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    types: { getTypeParser: parserOf },
  };
}

/** Whole numbers here are all below 2^53. Text comes back as it was given, see text.ts. */
function parserOf(type: number, format?: 'text' | 'binary') {
  if (type === INT8) return Number;
  if (type === TEXT) return decodeText;
  return types.getTypeParser(type, format);
}

async function ask<R>(client: ClientBase, [statement, ...values]: Step): Promise<R[]> {
  const given = values.map((value) => (typeof value === 'string' ? encodeText(value) : value));
  // Without values it may be several statements, as migrations are.
  const { rows } = await client.query<R & QueryResultRow>({ ...statement, ...(given.length === 0 ? {} : { values: given }) });
  return rows;
}

const BEGIN: Step = [{ text: 'BEGIN' }];
const COMMIT: Step = [{ text: 'COMMIT' }];

/** After a step that failed Postgres refuses the others, and the COMMIT then rolls back: the first failure is the reason. */
async function together(client: ClientBase, steps: readonly Step[]): Promise<Row[][]> {
  const asked = [BEGIN, ...steps, COMMIT].map((step) => ask<Row>(client, step));
  const answers = await Promise.allSettled(asked);
  return answers
    .map((answer) => {
      if (answer.status === 'rejected') throw answer.reason;
      return answer.value;
    })
    .slice(1, -1);
}

function refuse(error: unknown): never {
  throw problemOf(error);
}

function ignore(): void {
  // Whoever waits for an answer of this connection is told by that answer.
}
