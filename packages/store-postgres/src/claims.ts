/**
 * The Claims port. A call is one transaction of columns, whatever the number of claims; times are of the server's clock. Rows are
 * written in the order of their ids, so that two nodes wait for one another and never each for the other.
 */
import { Problem } from '@millrace/core/problem';
import type { Claim, Claimed, Claims, Outcome, Use } from '@millrace/gateway/ports/claims';
import { integers, texts } from './columns.ts';
import type { Database, Step } from './database.ts';
import { sqlStateOf } from './faults.ts';

/** Who holds a claim may give it back between our two looks: that comes up, and twice with bad luck. */
const TRIES = 5;
const DEADLOCK = '40P01';
/** Rows that one statement removes, and statements of one call: a hundred thousand a minute, for each node that comes by. */
const ROWS_AT_ONCE = 2_000;
const ROUNDS = 50;

type Stored = { readonly id: string; readonly digest: string; readonly token: string } & (
  | ({ readonly place: '' } & Use)
  | { readonly place: string; readonly shard: null; readonly ageMs: number; readonly heldMs: number }
);

export function createClaims({ schema, transaction: once, query }: Database): Claims {
  const sql = statements(schema);

  /** Rows that are taken over and rows that are new are two statements, each in order: two nodes may still wait for each other. Of a deadlock nothing is left. */
  async function transaction(steps: readonly Step[]): ReturnType<Database['transaction']> {
    for (let tries = 1; ; tries++) {
      try {
        return await once(steps);
      } catch (error) {
        if (tries === TRIES || sqlStateOf((error as Problem).cause) !== DEADLOCK) throw error;
      }
    }
  }

  async function claimAll(claims: readonly Claim[]): Promise<Map<string, Claimed>> {
    const inOrder = claims.toSorted(byId);
    const again = inOrder.filter(({ over }) => over !== undefined);
    const ids = texts(inOrder.map(({ id }) => id));
    const answers = await transaction([
      [sql.plan],
      ...(again.length === 0 ? [] : [[sql.takeOver, ...columnsOf(again), ...overOf(again)] as const]),
      [sql.claim, ...columnsOf(inOrder)],
      [sql.look, ids],
    ]);
    const tokens = new Map(claims.map(({ id, token }) => [id, token]));
    return new Map((answers.at(-1) as unknown as Stored[]).map((row) => [row.id, answerOf(row, tokens.get(row.id))]));
  }

  return {
    async claim(claims) {
      const answers = new Map<string, Claimed>();
      for (let tries = 0; tries < TRIES && answers.size < claims.length; tries++) {
        const left = claims.filter(({ id }) => !answers.has(id));
        for (const [id, answer] of await claimAll(left)) answers.set(id, answer);
      }
      return claims.map(({ id }) => answers.get(id) ?? unsettled());
    },
    async settle(outcomes) {
      const inOrder = outcomes.toSorted(byId);
      const used = inOrder.flatMap((outcome) => (outcome.use === undefined ? [] : [{ ...outcome, use: outcome.use }]));
      const free = inOrder.filter(({ use }) => use === undefined);
      const steps: Step[] = [[sql.plan], [sql.unsynced]];
      if (used.length > 0) steps.push([sql.settle, ...namesOf(used), ...usesOf(used.map(({ use }) => use))]);
      if (free.length > 0) steps.push([sql.free, ...namesOf(free)]);
      await transaction(steps);
    },
    async prune() {
      for (let round = 0; round < ROUNDS; round++)
        if ((await query<{ count: number }>(sql.prune))[0]?.count !== ROWS_AT_ONCE) return;
    },
  };
}

function byId(one: { readonly id: string }, other: { readonly id: string }): number {
  return one.id < other.id ? -1 : 1;
}

function answerOf(row: Stored, own: string | undefined): Claimed {
  const { digest, token, place } = row;
  if (row.shard !== null) {
    const { shard, position, timeMs, eventId } = row;
    return { status: 'settled', digest, use: { shard, position, timeMs, eventId } };
  }
  if (token === own) return { status: 'claimed' };
  const { ageMs, heldMs } = row;
  return { status: 'open', digest, token, place: JSON.parse(place), ageMs, heldMs };
}

function unsettled(): never {
  throw new Problem('ledger_unavailable', 'A key is claimed and given back all the time');
}

/** Claims of one call nearly all have the same place. */
function columnsOf(claims: readonly Claim[]): readonly Buffer[] {
  return [
    texts(claims.map(({ id }) => id)),
    texts(claims.map(({ digest }) => digest)),
    texts(claims.map(({ token }) => token)),
    texts(claims.map(({ place }) => JSON.stringify(place))),
    integers(claims.map(({ windowMs }) => windowMs)),
  ];
}

function overOf(claims: readonly Claim[]): readonly Buffer[] {
  return [texts(claims.map(({ over }) => over?.token ?? '')), integers(claims.map(({ over }) => Math.round(over?.ageMs ?? 0)))];
}

function namesOf(outcomes: readonly Outcome[]): readonly Buffer[] {
  return [texts(outcomes.map(({ id }) => id)), texts(outcomes.map(({ token }) => token))];
}

function usesOf(uses: readonly Use[]): readonly Buffer[] {
  return [
    texts(uses.map(({ shard }) => shard)),
    texts(uses.map(({ position }) => position)),
    integers(uses.map(({ timeMs }) => timeMs)),
    texts(uses.map(({ eventId }) => eventId)),
  ];
}

function statements(schema: string) {
  const table = `${schema}.claims`;
  const given = 'unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[]';
  const now = 'clock_timestamp()';
  const ms = (since: string) => `(extract(epoch FROM looked.at - ${since}) * 1000)::bigint`;
  const until = `${now} + r.window_ms * interval '1 ms'`;
  return {
    // As in commit-statements.ts: row by row over the index, whatever the planner guesses.
    plan: {
      name: 'plan claims',
      text: `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)`,
    },
    // The log says the same: a power loss of the server takes nothing that can't be found again.
    unsynced: { name: 'unsynced', text: `SELECT set_config('synchronous_commit', 'off', true)` },
    claim: {
      name: 'claim',
      text: `INSERT INTO ${table} AS c (id, digest, token, place, since, taken, until)
        SELECT r.id, r.digest, r.token, r.place, ${now}, ${now}, ${until}
        FROM ${given}) AS r (id, digest, token, place, window_ms)
        ON CONFLICT (id) DO UPDATE SET digest = excluded.digest, token = excluded.token, place = excluded.place,
          since = excluded.since, taken = excluded.taken, until = excluded.until,
          shard = NULL, position = NULL, time_ms = NULL, event_id = NULL
        WHERE c.until <= ${now}`,
    },
    takeOver: {
      name: 'take claims over',
      text: `UPDATE ${table} AS c SET digest = r.digest, token = r.token, place = r.place,
          since = ${now} - r.age_ms * interval '1 ms', taken = ${now}, until = ${until}
        FROM ${given}, $6::text[], $7::int8[]) AS r (id, digest, token, place, window_ms, former, age_ms)
        WHERE c.id = r.id AND c.token = r.former AND c.shard IS NULL`,
    },
    // Both spans end at one time: read twice, the clock would let a claim be held for longer than it has been there.
    look: {
      name: 'look at claims',
      text: `WITH looked AS MATERIALIZED (SELECT ${now} AS at)
        SELECT id, digest, token, place, shard, position, time_ms AS "timeMs", event_id AS "eventId",
          ${ms('since')} AS "ageMs", ${ms('taken')} AS "heldMs"
        FROM looked, ${table} WHERE id = ANY ($1::text[])`,
    },
    settle: {
      name: 'settle claims',
      text: `UPDATE ${table} AS c SET place = '', shard = r.shard, position = r.position, time_ms = r.time_ms, event_id = r.event_id
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::text[])
          AS r (id, token, shard, position, time_ms, event_id)
        WHERE c.id = r.id AND c.token = r.token AND c.shard IS NULL`,
    },
    free: {
      name: 'free claims',
      text: `DELETE FROM ${table} c USING unnest($1::text[], $2::text[]) AS r (id, token)
        WHERE c.id = r.id AND c.token = r.token AND c.shard IS NULL`,
    },
    // Of several nodes each takes others: nobody waits.
    prune: {
      name: 'prune claims',
      text: `WITH gone AS (
          DELETE FROM ${table} WHERE id = ANY (ARRAY(
            SELECT id FROM ${table} WHERE until <= ${now} ORDER BY until LIMIT ${ROWS_AT_ONCE} FOR UPDATE SKIP LOCKED
          )) AND until <= ${now} RETURNING 1
        ) SELECT count(*) AS count FROM gone`,
    },
  };
}
