/**
 * Claim, between accept and append, where the log does not remember idempotency keys as long as is promised: a key is claimed in the
 * store, then its event is appended, then the claim is settled, which nobody waits for.
 *
 * A claim that is found open is never guessed about. As long as the log itself is sure to know the key, the event is appended under it
 * once more, and the log says what is so. Else the log is read from where it ended when the key was claimed: what is found settles
 * the claim; what is not there, though its claimant is surely dead, is free, and of several who take it over one succeeds.
 */
import { hash } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import { createClaimCalls } from '../claims/calls.ts';
import { createEnds } from '../claims/ends.ts';
import { createLook, type Seen } from '../claims/look.ts';
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
/** Each reads the log: who comes on top of these comes again. */
const LOOKS_MAX = 8;
const AGAIN_MS = 1_000;

/** What came of a key: known, refused, or nothing that anybody else could use. */
type End = { readonly digest: string; readonly use: Use } | Problem | undefined;

/** A key being worked on in this process, until its claim is settled. */
interface UnderWay {
  readonly id: string;
  readonly token: string;
  /** It was another's, of whose append nothing is known: it is never given back. */
  isTaken: boolean;
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
type Open = Extract<Claimed, { status: 'open' }>;
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
  const look = createLook({ log, clock });
  let count = 0;
  let looks = 0;

  /** The key is under way from here on. */
  function begin(piece: Piece, dedupe: Dedupe, id: string): Keyed {
    const { promise: ended, resolve: end } = Promise.withResolvers<End>();
    const work = { id, token: `${own}.${++count}`, isTaken: false, ended, end };
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

  function claimOf({ dedupe, work: { id, token } }: Keyed, place: ClaimPlace, over?: Claim['over']): Claim {
    const windowMs = Math.max(dedupe.windowMs, limits.claimMs);
    return { id, digest: dedupe.digest, windowMs, token, place, ...(over && { over }) };
  }

  function takenBy(one: Keyed, place: ClaimPlace, over: NonNullable<Claim['over']>) {
    one.work.isTaken = true;
    return { one, claim: claimOf(one, place, over) };
  }

  /** Results for all but those that are to be appended: these. Rejects when the store can't tell, and frees what it may have noted. */
  async function claim(keyed: readonly Keyed[], results: Results): Promise<Keyed[]> {
    if (keyed.length === 0) return [];
    try {
      const now = await ends.now();
      const answers = await claimAll(keyed.map((one) => claimOf(one, placeOf(one, now))));
      const open: (readonly [Keyed, Open])[] = [];
      const ours = keyed.filter((one, at) => isOurs(one, answers[at]!, results, (answer) => open.push([one, answer])));
      return [...ours, ...(await takeOver(open, results))];
    } catch (error) {
      for (const one of keyed) if (results[one.at] === undefined) free(one, asProblem(error));
      throw error;
    }
  }

  function placeOf({ entry }: Keyed, now: ClaimPlace['ends']): ClaimPlace {
    return { log: log.identity, topics: [entry.event.type], ends: now };
  }

  function isOurs(one: Keyed, answer: Claimed, results: Results, onOpen: (answer: Open) => void): boolean {
    if (answer.status === 'claimed') return true;
    if (answer.status === 'open') onOpen(answer);
    else {
      results[one.at] = repeatOf(one.dedupe, answer);
      leave(one.work, answer);
    }
    return false;
  }

  /** Of open claims those that are ours after all. */
  async function takeOver(open: readonly (readonly [Keyed, Open])[], results: Results): Promise<Keyed[]> {
    if (open.length === 0) return [];
    const [known, unknown] = [
      open.filter(([, answer]) => isRemembered(answer)),
      open.filter(([, answer]) => !isRemembered(answer)),
    ];
    const again = known.map(([one, { token, ageMs, place }]) => {
      const topics = [...new Set([...place.topics, one.entry.event.type])];
      return takenBy(one, { ...place, topics }, { token, ageMs });
    });
    for (const group of Map.groupBy(unknown, ([{ entry }, { place }]) => JSON.stringify([entry.environment, place])).values())
      again.push(...(await lookFor(group, results)));
    if (again.length === 0) return [];
    const answers = await claimAll(again.map((each) => each.claim));
    const isTaken = ({ one }: (typeof again)[number], at: number): boolean =>
      isOurs(one, answers[at]!, results, () => refuse(one, results, underWayElsewhere()));
    return again.filter(isTaken).map(({ one }) => one);
  }

  /** The log knows the key for as long as our append takes, whenever within the claim's life the first one came. */
  function isRemembered({ ageMs, place }: Open): boolean {
    const { dedupe, dedupeWindowMs = Infinity } = log.supports;
    return dedupe && place.log === log.identity && ageMs + limits.claimMs <= dedupeWindowMs;
  }

  /** All of one place are looked for in one go. Those that are free come back, with the claim that takes them. */
  async function lookFor(group: readonly (readonly [Keyed, Open])[], results: Results) {
    const [first] = group;
    if (first === undefined) return [];
    const heldMs = Math.min(...group.map(([, answer]) => answer.heldMs));
    const seen = await lookAt(
      first[0].entry.environment,
      first[1].place,
      group.map(([{ work }]) => work.id),
      heldMs,
    );
    return group.flatMap(([one, answer]) => {
      const record = seen?.found.get(one.work.id);
      if (record?.keyed !== undefined) {
        const { shard, position, timeMs, event } = record;
        const used = { digest: record.keyed.digest, use: { shard, position, timeMs, eventId: event.id } };
        results[one.at] = repeatOf(one.dedupe, used);
        settle(one, used.digest, used.use, answer.token);
      } else if (seen?.extent === 'gone') refuse(one, results, unknowable());
      // Dead before the look began: what it did is in what was looked at.
      else if (seen?.extent !== 'whole' || answer.heldMs < limits.claimMs) refuse(one, results, underWayElsewhere());
      else return [takenBy(one, placeOf(one, seen.ends), { token: answer.token, ageMs: 0 })];
      return [];
    });
  }

  async function lookAt(environment: string, place: ClaimPlace, ids: readonly string[], heldMs = 0): Promise<Seen | undefined> {
    if (looks >= LOOKS_MAX) return undefined;
    looks++;
    try {
      return await look({ environment, place, ids: new Set(ids), untilMs: clock.now() - heldMs + limits.claimMs });
    } finally {
      looks--;
    }
  }

  function refuse({ at, work }: Keyed, results: Results, problem: Problem): void {
    results[at] = problem;
    leave(work);
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
    else if (problem.code !== 'log_unavailable' && keyed.length > 0) await refused(keyed, problem).catch(() => undefined);
    for (const { work } of keyed) leave(work, problem);
  }

  async function refused(keyed: readonly Keyed[], problem: Problem): Promise<void> {
    for (const group of Map.groupBy(keyed, ({ entry }) => entry.environment).values()) {
      const topics = [...new Set(group.map(({ entry }) => entry.event.type))];
      const place = { log: log.identity, topics, ends: await ends.now() };
      const seen = await lookAt(
        group[0]!.entry.environment,
        place,
        group.map(({ work }) => work.id),
      );
      for (const one of group) {
        const record = seen?.found.get(one.work.id);
        if (record === undefined && seen?.extent === 'whole') free(one, problem);
      }
    }
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

const underWayElsewhere = (): Problem =>
  new Problem('in_flight', 'a publish with this idempotency key is under way', { retryAfterMs: AGAIN_MS });

const unknowable = (): Problem =>
  new Problem('conflict', 'whether the event of this idempotency key was stored can not be told any more', {
    advice: 'Look for the event, or publish it under a new key: it may then be there twice.',
  });
