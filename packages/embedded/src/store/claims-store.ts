/**
 * Claims in the store thread: a table beside those of schema version 1, made by the first claim: with our own log there is
 * none. A program of before it does not look at it. Times are of the one clock there is: all who claim are in this process, or were in one before it.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Claim, Claimed, Use } from '@millrace/gateway/ports/claims';
import type { ClaimCalls } from '../messages.ts';
import type { State } from './state.ts';

export type ClaimsStore = {
  readonly [Name in keyof ClaimCalls]: (value: ClaimCalls[Name][0], nowMs: number) => ClaimCalls[Name][1];
} & {
  /** After a rollback. */
  reload(): void;
};

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS claims (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, token TEXT NOT NULL, place TEXT NOT NULL,
    since_ms INTEGER NOT NULL, taken_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    shard TEXT, position TEXT, time_ms INTEGER, event_id TEXT
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS claims_until ON claims (until_ms);
`;
/** A minute's worth of a thousand keys a second, and within what one transaction may take of the thread. */
const PRUNED_AT_ONCE = 60_000;

interface Row extends Use {
  readonly digest: string;
  readonly token: string;
  /** JSON. */
  readonly place: string;
  readonly sinceMs: number;
  readonly takenMs: number;
  readonly untilMs: number;
}
type OpenRow = Omit<Row, keyof Use> & { readonly shard: null };

export function openClaimsStore({ db }: Pick<State, 'db'>): ClaimsStore {
  let opened: Statements | undefined;
  const sql = (): Statements => (opened ??= prepared(db));

  function claimOne({ id, digest, windowMs, token, place, over }: Claim, nowMs: number): Claimed {
    const row = sql().get.get(id) as unknown as Row | OpenRow | undefined;
    const isOver = row?.shard === null && row.token === over?.token;
    if (row !== undefined && row.untilMs > nowMs && !isOver) return answerOf(row, token, nowMs);
    const sinceMs = nowMs - (over?.ageMs ?? 0);
    sql().put.run(id, digest, token, JSON.stringify(place), sinceMs, nowMs, nowMs + windowMs);
    return { status: 'claimed' };
  }

  return {
    claim: (claims, nowMs) => claims.map((claim) => claimOne(claim, nowMs)),
    settleClaims(outcomes) {
      for (const { id, token, use } of outcomes) {
        if (use === undefined) sql().free.run(id, token);
        else sql().settle.run(use.shard, use.position, use.timeMs, use.eventId, id, token);
      }
      return null;
    },
    pruneClaims(_, nowMs) {
      sql().prune.run(nowMs, PRUNED_AT_ONCE);
      return null;
    },
    reload: () => void (opened = undefined),
  };
}

type Statements = ReturnType<typeof prepared>;

function prepared(db: DatabaseSync) {
  db.exec(SCHEMA);
  return {
    get: db.prepare(
      `SELECT digest, token, place, since_ms AS sinceMs, taken_ms AS takenMs, until_ms AS untilMs,
        shard, position, time_ms AS timeMs, event_id AS eventId FROM claims WHERE id = ?`,
    ),
    put: db.prepare(
      'INSERT OR REPLACE INTO claims (id, digest, token, place, since_ms, taken_ms, until_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    settle: db.prepare(
      `UPDATE claims SET place = '', shard = ?, position = ?, time_ms = ?, event_id = ? WHERE id = ? AND token = ? AND shard IS NULL`,
    ),
    free: db.prepare('DELETE FROM claims WHERE id = ? AND token = ? AND shard IS NULL'),
    prune: db.prepare('DELETE FROM claims WHERE id IN (SELECT id FROM claims WHERE until_ms <= ? LIMIT ?)'),
  };
}

function answerOf(row: Row | OpenRow, own: string, nowMs: number): Claimed {
  const { digest, token, place, sinceMs, takenMs } = row;
  if (row.shard !== null) {
    const { shard, position, timeMs, eventId } = row;
    return { status: 'settled', digest, use: { shard, position, timeMs, eventId } };
  }
  if (token === own) return { status: 'claimed' };
  return { status: 'open', digest, token, place: JSON.parse(place), ageMs: nowMs - sinceMs, heldMs: nowMs - takenMs };
}
