/**
 * What an open claim comes to, without guessing. As long as the log itself is sure to know the key it is free for another append,
 * which the log then judges. Else the log is read: what is found there was used, and what is not is free once its claimant is
 * surely dead.
 */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Claim, Claimed, ClaimPlace, Use } from '../ports/claims.ts';
import type { Log } from '../ports/log.ts';
import { createLook, type Seen } from './look.ts';

export type OpenClaim = Extract<Claimed, { status: 'open' }>;

export interface Asked {
  readonly id: string;
  readonly environment: string;
  /** Of the event that would be published now. */
  readonly topic: string;
  readonly claim: OpenClaim;
}

export type Verdict =
  | { readonly status: 'used'; readonly digest: string; readonly use: Use }
  | { readonly status: 'refused'; readonly problem: Problem }
  /** With what takes it over. */
  | { readonly status: 'free'; readonly place: ClaimPlace; readonly over: NonNullable<Claim['over']> };

export interface Judge {
  /** One verdict each, in order. Rejects as the log's reads do. */
  (asked: readonly Asked[]): Promise<readonly Verdict[]>;
  /** Of keys whose events are in the log by now or will never be: which are, and whether all others are sure not to be. */
  settle(environment: string, place: ClaimPlace, ids: readonly string[]): Promise<Pick<Seen, 'found' | 'extent'>>;
}

/** Each reads the log: who comes on top of these comes again. */
const LOOKS_MAX = 8;
/** Of one call, where they can't be done in one. */
const LOOKS_OF_CALL_MAX = 32;
const AGAIN_MS = 1_000;
const BUSY: Pick<Seen, 'found' | 'extent' | 'ends'> = { found: new Map(), extent: 'part', ends: {} };

interface Needs {
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: Limits;
}

export function createJudge({ log, clock, limits: { claimMs } }: Needs): Judge {
  const look = createLook({ log, clock });
  let looks = 0;

  /** For as long as our append takes, whenever within the claim's life the first one came. */
  function isRemembered({ ageMs, place }: OpenClaim): boolean {
    const { dedupe, dedupeWindowMs = Infinity } = log.supports;
    return dedupe && place.log === log.identity && ageMs + claimMs <= dedupeWindowMs;
  }

  /** The place stays, as an event of the former claimant may be there: for both topics. */
  function freeAsItIs({ topic, claim: { token, ageMs, place } }: Asked): Verdict {
    const topics = [...new Set([...place.topics, topic])];
    return { status: 'free', place: { ...place, topics }, over: { token, ageMs } };
  }

  async function lookAt(environment: string, place: ClaimPlace, ids: readonly string[], heldMs: number): Promise<Seen> {
    if (looks >= LOOKS_MAX) return BUSY;
    looks++;
    try {
      return await look({ environment, place, ids: new Set(ids), untilMs: clock.now() - heldMs + claimMs });
    } finally {
      looks--;
    }
  }

  /** Of one environment, log and topics: all in one look, from the earliest of their ends on. */
  async function lookFor(group: readonly Asked[]): Promise<ReadonlyMap<string, Verdict>> {
    const [first] = group;
    const ids = group.map(({ id }) => id);
    const heldMs = Math.min(...group.map(({ claim }) => claim.heldMs));
    const seen = await lookAt(first!.environment, earliest(group), ids, heldMs);
    // What retention took may be before the ends of most of them.
    if (seen.extent === 'gone' && group.length > 1) return lookForEach(group);
    return new Map(group.map((asked) => [asked.id, verdictOf(asked, seen)]));
  }

  async function lookForEach(group: readonly Asked[]): Promise<ReadonlyMap<string, Verdict>> {
    const verdicts = new Map<string, Verdict>(group.map(({ id }) => [id, IN_FLIGHT]));
    for (const asked of group.slice(0, LOOKS_OF_CALL_MAX)) verdicts.set(asked.id, (await lookFor([asked])).get(asked.id)!);
    return verdicts;
  }

  function verdictOf({ id, topic, claim }: Asked, { found, extent, ends }: Seen): Verdict {
    const used = usedBy(found, id);
    if (used !== undefined) return { status: 'used', ...used };
    if (extent === 'gone') return { status: 'refused', problem: unknowable() };
    // Dead before the look began: what it did is in what was looked at.
    if (extent === 'part' || claim.heldMs < claimMs) return IN_FLIGHT;
    return {
      status: 'free',
      place: { log: log.identity, topics: [topic], ends },
      over: { token: claim.token, ageMs: 0 },
    };
  }

  async function judge(asked: readonly Asked[]): Promise<readonly Verdict[]> {
    const verdicts = new Map<string, Verdict>();
    const unknown = asked.filter((one) => !isRemembered(one.claim));
    for (const group of Map.groupBy(unknown, groupOf).values())
      for (const [id, verdict] of await lookFor(group)) verdicts.set(id, verdict);
    return asked.map((one) => verdicts.get(one.id) ?? freeAsItIs(one));
  }

  return Object.assign(judge, {
    settle: (environment: string, place: ClaimPlace, ids: readonly string[]) => lookAt(environment, place, ids, 0),
  });
}

/** What of a look is said of one key. */
export function usedBy(found: Seen['found'], id: string): { readonly digest: string; readonly use: Use } | undefined {
  const record = found.get(id);
  if (record?.keyed === undefined) return undefined;
  const { shard, position, timeMs, event, keyed } = record;
  return { digest: keyed.digest, use: { shard, position, timeMs, eventId: event.id } };
}

export function underWayElsewhere(): Problem {
  return new Problem('in_flight', 'a publish with this idempotency key is under way', { retryAfterMs: AGAIN_MS });
}

const IN_FLIGHT: Verdict = { status: 'refused', problem: underWayElsewhere() };

function unknowable(): Problem {
  return new Problem('conflict', 'whether the event of this idempotency key was stored can not be told any more', {
    advice: 'Look for the event, or publish it under a new key: it may then be there twice.',
  });
}

function groupOf({ environment, claim: { place } }: Asked): string {
  return JSON.stringify([environment, place.log, place.topics]);
}

/** A shard that one of them does not know had nothing when that one was claimed. */
function earliest(group: readonly Asked[]): ClaimPlace {
  const [first, ...others] = group.map(({ claim }) => claim.place);
  const ends = { ...first!.ends };
  for (const { ends: their } of others)
    for (const shard of Object.keys(ends)) if ((their[shard] ?? '') < ends[shard]!) ends[shard] = their[shard] ?? '';
  return { ...first!, ends };
}
