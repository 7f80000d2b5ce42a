/**
 * Who owns which slot. A node has one lease for all it owns, one row that it renews; the clock of Postgres says when it ends.
 * A slot is taken where nobody's lease covers it, and gets an epoch then: a number that grows, and a token that is chance.
 * Every commit of the owner names the epochs of its slots (`fences`) and is refused where one is another by now.
 *
 * A lease that ended and that nobody made use of is renewed as if it had not: after a minute without Postgres every node goes
 * on with what it had. The caller counts its own time from before it asked, and stops what it does in time.
 */
import { randomBytes } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import type { Fence, Leases, NodeRow, SlotOwner } from '@millrace/gateway/ports/leases';
import { integers, texts } from './columns.ts';
import { openDatabase } from './database.ts';
import type { DatabaseOptions, Step } from './database.ts';
import { createDays } from './days.ts';
import { createCommit } from './ledger.ts';

export interface LeasesOptions extends Omit<DatabaseOptions, 'poolMax'> {
  /** Names the node in the cluster. A name whose lease still runs belongs to that process. */
  readonly node: string;
  /** Where other nodes reach it. */
  readonly address: string;
  readonly leaseMs: number;
}

/** Connections of its own, so that a renewal never waits behind reads: one for commits, one for renewals, one for what asks. */
const POOL_MAX = 3;
/** Parts of a lease that one call may take: a renewal that fails has time for two more. */
const TRIES_PER_LEASE = 3;

/** The schema must be there: openPostgres or migrate has made it. */
export function openLeases({ node, address, leaseMs, ...options }: LeasesOptions): Leases {
  const callMs = Math.max(1_000, Math.floor(leaseMs / TRIES_PER_LEASE));
  // Renewals are bounded by the lease; commits may be large, and have what commits have.
  const short = openDatabase({
    ...options,
    poolMax: POOL_MAX - 1,
    times: { connectMs: callMs, statementMs: callMs, answerMs: callMs, ...options.times },
  });
  const long = openDatabase({ ...options, poolMax: 1 });
  const sql = statements(short.schema);
  const token = randomBytes(16).toString('hex');
  const commit = createCommit({ database: long, days: createDays(long) });
  const me = [node, token] as const;
  /** Tries of this writer so far. */
  let tries = 0;

  return {
    async renew(load) {
      const [renewed, owned] = await short.transaction([
        [sql.renew, ...me, leaseMs, load, address],
        [sql.owned, ...me],
      ]);
      if (renewed!.length === 0)
        throw new Problem('conflict', `Another process is the node ${node}, and its lease runs`, {
          advice: 'Give each process a name of its own.',
        });
      return owned as unknown as Fence[];
    },
    async take(slots) {
      const wanted = integers(slots);
      const rows = await short.transaction([
        [sql.lockSlots, wanted],
        [sql.lockOwners, wanted, node],
        [sql.take, wanted, ...me],
        [sql.ownedOf, wanted, ...me],
      ]);
      return rows.at(-1) as unknown as Fence[];
    },
    async release(slots) {
      await short.query(sql.release, integers(slots), ...me);
    },
    async leave() {
      await short.transaction([
        [sql.releaseAll, ...me],
        [sql.leave, ...me],
      ]);
    },
    nodes: () => short.query<NodeRow>(sql.nodes),
    async slots() {
      const rows = await short.query<Omit<SlotOwner, 'owner'> & { owner: string | null }>(sql.slots);
      return rows.map(({ owner, ...row }) => (owner === null ? row : { ...row, owner }));
    },
    commit: (changes, fences) => commit(changes, [...fenceSteps(sql.fence, fences), [sql.inTurn, token, ++tries]]),
    async close() {
      await Promise.all([short.close(), long.close()]);
    },
  };
}

function fenceSteps(statement: { readonly name: string; readonly text: string }, fences: readonly Fence[]): Step[] {
  if (fences.length === 0) return [];
  const [slots, epochs] = [fences.map(({ slot }) => slot), fences.map(({ epoch }) => epoch)];
  return [[statement, integers(slots), integers(epochs), texts(fences.map(({ token }) => token))]];
}

function statements(schema: string) {
  const fence = 'slot, epoch, token';
  const runs = (node: string, token: string) =>
    `EXISTS (SELECT FROM ${schema}.nodes n WHERE n.node = ${node} AND n.token = ${token} AND n.expires_at > clock_timestamp())`;
  const free = 'owner = NULL, owner_token = NULL';
  return {
    renew: {
      name: 'renew',
      text: `INSERT INTO ${schema}.nodes AS n (node, token, expires_at, load, address)
        VALUES ($1, $2, clock_timestamp() + $3 * interval '1 ms', $4, $5)
        ON CONFLICT (node) DO UPDATE SET token = excluded.token, expires_at = clock_timestamp() + $3 * interval '1 ms', load = excluded.load, address = excluded.address
        WHERE n.token = excluded.token OR n.expires_at <= clock_timestamp()
        RETURNING node`,
    },
    owned: { name: 'owned', text: `SELECT ${fence} FROM ${schema}.slots WHERE owner = $1 AND owner_token = $2 ORDER BY slot` },
    lockSlots: {
      name: 'lock slots',
      text: `SELECT slot FROM ${schema}.slots WHERE slot = ANY ($1::int8[]) ORDER BY slot FOR UPDATE`,
    },
    // An owner that renews just now is waited for, or waits and then sees what it has lost.
    lockOwners: {
      name: 'lock owners',
      text: `SELECT node FROM ${schema}.nodes WHERE node = $2 OR node IN (SELECT owner FROM ${schema}.slots WHERE slot = ANY ($1::int8[])) ORDER BY node FOR UPDATE`,
    },
    take: {
      name: 'take',
      text: `UPDATE ${schema}.slots SET owner = $2, owner_token = $3, epoch = epoch + 1, token = gen_random_uuid()::text
        WHERE slot = ANY ($1::int8[]) AND ${runs('$2', '$3')} AND NOT ${runs('owner', 'owner_token')}`,
    },
    ownedOf: {
      name: 'owned of',
      text: `SELECT ${fence} FROM ${schema}.slots WHERE slot = ANY ($1::int8[]) AND owner = $2 AND owner_token = $3 AND ${runs('$2', '$3')} ORDER BY slot`,
    },
    release: {
      name: 'release',
      text: `UPDATE ${schema}.slots SET ${free} WHERE slot = ANY ($1::int8[]) AND owner = $2 AND owner_token = $3`,
    },
    releaseAll: { name: 'release all', text: `UPDATE ${schema}.slots SET ${free} WHERE owner = $1 AND owner_token = $2` },
    leave: { name: 'leave', text: `DELETE FROM ${schema}.nodes WHERE node = $1 AND token = $2` },
    nodes: {
      name: 'nodes',
      text: `SELECT node, address, load, (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS "leftMs" FROM ${schema}.nodes ORDER BY node`,
    },
    slots: {
      name: 'slot owners',
      text: `SELECT slot, epoch, owner, ${runs('owner', 'owner_token')} AS covered FROM ${schema}.slots ORDER BY slot`,
    },
    inTurn: { name: 'in turn', text: `SELECT ${schema}.in_turn($1, $2)` },
    fence: { name: 'fence', text: `SELECT ${schema}.fence($1::int8[], $2::int8[], $3::text[])` },
  };
}
