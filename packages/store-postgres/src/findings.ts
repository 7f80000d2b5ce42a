/**
 * What an operator should know of the server, as `millrace doctor` says it: settings under which what was written down may be
 * gone after a crash, a server that takes no writes, connections that run out, a clock that is off.
 */
import type { Finding } from '@millrace/gateway/ports/finding';
import type { Database } from './database.ts';

interface Needs {
  readonly database: Pick<Database, 'query'>;
  readonly now: () => number;
}

interface Facts {
  readonly synchronousCommit: string;
  readonly fsync: string;
  readonly isReadOnly: string;
  readonly isStandby: boolean;
  readonly connections: number;
  readonly connectionsMax: number;
  readonly nowMs: number;
}

/** A node that starts takes a dozen and more: with less free the next one may not start. */
const CONNECTIONS_PART = 0.8;
/** As long as `millrace doctor` lets its own clock differ from the gateway's. */
const CLOCK_SKEW_MS = 30_000;

/** Settings as this user has them, which is what counts for our commits. Of connections every user sees how many there are. */
const FACTS = {
  text: `SELECT current_setting('synchronous_commit') AS "synchronousCommit", current_setting('fsync') AS fsync,
    current_setting('transaction_read_only') AS "isReadOnly", pg_is_in_recovery() AS "isStandby",
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint AS "connectionsMax",
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS "nowMs"`,
};

export function createFindings({ database, now }: Needs): () => Promise<readonly Finding[]> {
  return async () => {
    const sentMs = now();
    const [facts] = await database.query<Facts>(FACTS);
    if (facts === undefined) return [];
    return [...durability(facts), ...writes(facts), ...connections(facts), ...clock(facts, { sentMs, receivedMs: now() })];
  };
}

function durability({ synchronousCommit, fsync }: Facts): readonly Finding[] {
  return [
    ...(fsync === 'off'
      ? [
          problem(
            'store_never_synced',
            'Postgres does not sync its files (fsync is off)',
            'After a power loss or a crash of the machine nothing in it can be trusted: set fsync = on.',
          ),
        ]
      : []),
    ...(synchronousCommit === 'off'
      ? [
          problem(
            'store_synced_late',
            'Postgres answers before it has synced what was written (synchronous_commit is off)',
            'After a crash the last deliveries are made again, and the last changes of subscriptions and keys are gone: set it to on, for the user of Millrace at least.',
          ),
        ]
      : []),
  ];
}

function writes({ isReadOnly, isStandby }: Facts): readonly Finding[] {
  if (!isStandby && isReadOnly !== 'on') return [];
  return [
    problem(
      'store_read_only',
      isStandby
        ? 'the Postgres that the gateway is connected to is a standby and takes no writes'
        : 'Postgres takes no writes (default_transaction_read_only)',
      'Nothing that is delivered is written down meanwhile, so deliveries stop. The address of the store must lead to the primary.',
    ),
  ];
}

function connections({ connections, connectionsMax }: Facts): readonly Finding[] {
  if (connections < connectionsMax * CONNECTIONS_PART) return [];
  return [
    problem(
      'store_connections',
      `${connections} of the ${connectionsMax} connections that Postgres lets in are taken`,
      'A node that starts, or reconnects, may find none left: raise max_connections, or see who holds them (pg_stat_activity).',
    ),
  ];
}

/** Its time lies between asking and the answer, where both clocks agree. */
function clock(
  { nowMs }: Facts,
  { sentMs, receivedMs }: { readonly sentMs: number; readonly receivedMs: number },
): readonly Finding[] {
  const off = nowMs < sentMs ? sentMs - nowMs : Math.max(0, nowMs - receivedMs);
  if (off <= CLOCK_SKEW_MS) return [];
  return [
    problem(
      'store_clock',
      `the clock of Postgres and the gateway's differ by ${Math.round(off / 1_000)} s`,
      'Let both follow NTP: retries are due by the one, and partitions of the history are made by the other.',
    ),
  ];
}

function problem(code: string, problem: string, advice: string): Finding {
  return { level: 'problem', code, problem, advice };
}
