/**
 * Claim, between accept and append, where the log does not remember idempotency keys as long as is promised: a key is claimed in the
 * store, then its event is appended, then the claim is settled, which nobody waits for. A claim that is found open is never guessed
 * about (claims/judge.ts).
 */
import { hash } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import { createClaimCalls } from '../claims/calls.ts';
import { createEnds } from '../claims/ends.ts';
import { createJudge, type OpenClaim, underWayElsewhere, usedBy } from '../claims/judge.ts';
import { createSettling } from '../claims/settling.ts';
import type { Limits } from '../limits.ts';
import { bytesFrom, type Clock } from '../ports/clock.ts';
import type { Claim, Claimed, ClaimPlace, Claims, Use } from '../ports/claims.ts';
import type { Appended, Dedupe, Entry, Log } from '../ports/log.ts';
import type { Append } from './append.ts';

export interface Claiming {
  /** As Append; and a Problem for an entry of whose key nothing can be said now. Entries without a key wait for no claim but those of their call. */
  (entries: readonly Entry[]): Promise<readonly (Appended | Problem)[]>;
  /** Resolves when what was appended is settled, as far as the store takes it. */
  settled(): Promise<void>;
  /** Settles nothing any more. */
  stop(): void;
}

interface Needs {
  readonly append: Append;
  readonly log: Log;
  readonly claims: Claims;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** Parts of limits.claimMs: in one the store answers, in two the event goes to the log, which gives up within another two. */
const PARTS = 6;
/** Of these the log says that nothing will come of the call any more: each of its events is there, or never will be. */
const FINAL: ReadonlySet<string> = new Set(['log_full', 'payload_too_large', 'invalid_request']);

/** What came of a key: known, refused, or nothing that anybody else could use. */
type End = { readonly digest: string; readonly use: Use } | Problem | undefined;

/** A key being worked on in this process, until its claim is settled. */
interface UnderWay {
  readonly id: string;
  readonly token: string;
  /** It was another's, of whose append nothing is known: it is never given back. */
  isTaken: boolean;
  /** Where its event is, if it was appended. */
  place: ClaimPlace;
  readonly ended: Promise<End>;
  readonly end: (end: End) => void;
}

interface Piece {
  readonly entry: Entry;
  readonly at: number;
}
/** With a key that is ours to claim. */
interface Keyed extends Piece {
  readonly dedupe: Dedupe;
  readonly work: UnderWay;
}
type Results = (Appended | Problem | undefined)[];

/** Whether the log forgets keys before they may be used again. */
export function isForgetful({ supports }: Log, { dedupeWindowMs }: Limits): boolean {
  return !supports.dedupe || (supports.dedupeWindowMs ?? Infinity) < dedupeWindowMs;
}

export function createClaiming({ append, log, claims, clock, limits }: Needs): Claiming {
  const own = Buffer.from(bytesFrom(clock)(12)).toString('base64url');
  const underWay = new Map<string, UnderWay>();
  const ends = createEnds({ log, clock });
  const claimAll = createClaimCalls({ claims, clock, patienceMs: limits.claimMs / PARTS });
  const settling = createSettling({ claims, clock });
  const judge = createJudge({ log, clock, limits });
  let count = 0;

  /** The key is under way from here on. */
  function begin(piece: Piece, dedupe: Dedupe, id: string): Keyed {
    const { promise: ended, resolve: end } = Promise.withResolvers<End>();
    const place = { log: log.identity, topics: [piece.entry.event.type], ends: {} };
    const work = { id, token: `${own}.${++count}`, isTaken: false, place, ended, end };
    underWay.set(id, work);
    return { ...piece, dedupe, work };
  }

  function leave({ id, ...work }: UnderWay, end?: End): void {
    work.end(end);
    if (underWay.get(id)?.token === work.token) underWay.delete(id);
  }

  /** Until that is written down, whoever comes with the key is told by us. */
  function settle({ work }: Keyed, digest: string, use: Use, token = work.token): void {
    work.end({ digest, use });
    settling.add({ id: work.id, token, use }, () => leave(work));
  }

  /** We have appended nothing, and nobody else has. */
  function free({ work }: Keyed, end?: End): void {
    if (!work.isTaken) settling.add({ id: work.id, token: work.token }, () => undefined);
    leave(work, end);
  }

  function claimOf({ dedupe, work: { id, token, place } }: Keyed, over?: Claim['over']): Claim {
    const windowMs = Math.max(dedupe.windowMs, limits.claimMs);
    return { id, digest: dedupe.digest, windowMs, token, place, ...(over && { over }) };
  }

  /** Results for all but those that are to be appended: these. Rejects when the store can't tell, and frees what it may have noted. */
  async function claim(keyed: readonly Keyed[], results: Results): Promise<Keyed[]> {
    if (keyed.length === 0) return [];
    try {
      const now = await ends.now();
      for (const { work } of keyed) work.place = { ...work.place, ends: now };
      const answers = await claimAll(keyed.map((one) => claimOf(one)));
      const open: (readonly [Keyed, OpenClaim])[] = [];
      const ours = keyed.filter((one, at) => isOurs(one, answers[at]!, results, (answer) => open.push([one, answer])));
      return [...ours, ...(await takeOver(open, results))];
    } catch (error) {
      for (const one of keyed) if (results[one.at] === undefined) free(one, asProblem(error));
      throw error;
    }
  }

  function isOurs(one: Keyed, answer: Claimed, results: Results, onOpen: (answer: OpenClaim) => void): boolean {
    if (answer.status === 'claimed') return true;
    if (answer.status === 'open') onOpen(answer);
    else {
      results[one.at] = repeatOf(one.dedupe, answer);
      leave(one.work, answer);
    }
    return false;
  }

  /** Of open claims those that are ours after all. */
  async function takeOver(open: readonly (readonly [Keyed, OpenClaim])[], results: Results): Promise<Keyed[]> {
    if (open.length === 0) return [];
    const asked = open.map(([{ work, entry }, answer]) => {
      return { id: work.id, environment: entry.environment, topic: entry.event.type, claim: answer };
    });
    const again: { readonly one: Keyed; readonly claim: Claim }[] = [];
    for (const [i, verdict] of (await judge(asked)).entries()) {
      const [one, answer] = open[i]!;
      if (verdict.status === 'refused') refuse(one, results, verdict.problem);
      else if (verdict.status === 'used') {
        results[one.at] = repeatOf(one.dedupe, verdict);
        settle(one, verdict.digest, verdict.use, answer.token);
      } else {
        Object.assign(one.work, { isTaken: true, place: verdict.place });
        again.push({ one, claim: claimOf(one, verdict.over) });
      }
    }
    if (again.length === 0) return [];
    const answers = await claimAll(again.map((each) => each.claim));
    const isTaken = ({ one }: (typeof again)[number], at: number): boolean =>
      isOurs(one, answers[at]!, results, () => refuse(one, results, underWayElsewhere()));
    return again.filter(isTaken).map(({ one }) => one);
  }

  function refuse({ at, work }: Keyed, results: Results, problem: Problem): void {
    results[at] = problem;
    leave(work, problem);
  }

  /** In the order of the call, with what has no key. */
  async function appendAll(pieces: readonly (Piece | Keyed)[], startedMs: number, results: Results): Promise<void> {
    if (pieces.length === 0) return;
    const isLate = (): boolean => clock.monotonic() - startedMs > (limits.claimMs / PARTS) * 3;
    const keyed = pieces.filter((piece): piece is Keyed => 'work' in piece);
    try {
      const appended = await append(
        pieces.map(({ entry }) => entry),
        keyed.length === 0 ? undefined : isLate,
      );
      ends.passed(appended);
      for (const [i, piece] of pieces.entries()) landed(piece, appended[i]!, results);
    } catch (error) {
      await notAppended(keyed, asProblem(error));
      throw error;
    }
  }

  function landed(piece: Piece | Keyed, appended: Appended, results: Results): void {
    results[piece.at] = appended;
    if (!('work' in piece)) return;
    // The log knows the key for other content: our claim was of a store that has forgotten it.
    if (appended.status === 'conflict') return free(piece);
    const { shard, position, timeMs } = appended;
    const eventId = appended.status === 'duplicate' ? appended.id : piece.entry.event.id;
    settle(piece, piece.dedupe.digest, { shard, position, timeMs, eventId });
  }

  /** What never came to the log is free. What the log has refused may all the same be there in part: it is looked. Else it stays open. */
  async function notAppended(keyed: readonly Keyed[], problem: Problem): Promise<void> {
    if (problem.code === 'overloaded') for (const one of keyed) free(one, problem);
    else if (FINAL.has(problem.code))
      for (const group of Map.groupBy(keyed, ({ entry, work }) => JSON.stringify([entry.environment, work.place])).values())
        await refused(group, problem).catch(() => undefined);
    for (const { work } of keyed) leave(work, problem);
  }

  async function refused(group: readonly Keyed[], problem: Problem): Promise<void> {
    const { entry, work } = group[0]!;
    const ids = group.map((one) => one.work.id);
    const { found, extent } = await judge.settle(entry.environment, work.place, ids);
    for (const one of group) {
      const used = usedBy(found, one.work.id);
      if (used !== undefined) settle(one, used.digest, used.use);
      else if (extent === 'whole') free(one, problem);
    }
  }

  async function appendPlain(entries: readonly Entry[]): Promise<readonly Appended[]> {
    const appended = await append(entries);
    ends.passed(appended);
    return appended;
  }

  async function publishRound(pieces: readonly (Piece | Keyed)[], results: Results): Promise<void> {
    const startedMs = clock.monotonic();
    const keyed = pieces.filter((piece): piece is Keyed => 'work' in piece);
    const ours = new Set<Piece | Keyed>(await claim(keyed, results));
    await appendAll(
      pieces.filter((piece) => !('work' in piece) || ours.has(piece)),
      startedMs,
      results,
    );
  }

  /** Those whose key another call has are none of this round: they wait for it, holding nothing themselves. */
  async function publish(entries: readonly Entry[]): Promise<readonly (Appended | Problem)[]> {
    if (entries.every(({ dedupe }) => dedupe === undefined)) return appendPlain(entries);
    const results: Results = entries.map(() => undefined);
    let left: readonly Piece[] = entries.map((entry, at) => ({ entry, at }));
    for (let round = 1; left.length > 0; round++) {
      const waiting: (readonly [Piece, Dedupe, UnderWay])[] = [];
      const pieces = left.flatMap((piece) => {
        const { dedupe } = piece.entry;
        if (dedupe === undefined) return [piece];
        const id = idOf(piece.entry, dedupe);
        const other = underWay.get(id);
        if (other === undefined) return [begin(piece, dedupe, id)];
        waiting.push([piece, dedupe, other]);
        return [];
      });
      await publishRound(pieces, results).catch((error: unknown) => {
        // Of a call that is answered already in part, only these fail.
        if (round === 1) throw error;
        for (const { at } of pieces) results[at] ??= asProblem(error);
      });
      left = await afterOthers(waiting, results);
    }
    return results.map((result) => result ?? underWayElsewhere());
  }

  /** Those of which the other call's end says nothing. */
  async function afterOthers(
    waiting: readonly (readonly [Piece, Dedupe, UnderWay])[],
    results: Results,
  ): Promise<readonly Piece[]> {
    const left: Piece[] = [];
    for (const [piece, dedupe, { ended }] of waiting) {
      const end = await ended;
      if (end === undefined) left.push(piece);
      else results[piece.at] = end instanceof Problem ? end : repeatOf(dedupe, end);
    }
    return left;
  }

  return Object.assign(publish, { settled: settling.idle, stop: settling.stop });
}

/** As LogRecord.keyed has it. */
function idOf({ environment, app }: Entry, { key }: Dedupe): string {
  return hash('sha256', JSON.stringify([environment, app, key]), 'base64url');
}

function repeatOf({ digest }: Dedupe, used: { readonly digest: string; readonly use: Use }): Appended {
  if (digest !== used.digest) return { status: 'conflict' };
  const { eventId, ...place } = used.use;
  return { status: 'duplicate', ...place, id: eventId };
}

function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem('internal_error', String(error), { cause: error });
}
