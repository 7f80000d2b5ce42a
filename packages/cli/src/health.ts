/** How a subscription fares, as the API tells it, and in words. */
import type { Client } from './client.ts';
import { EXIT } from './exit-codes.ts';
import { eachOf } from './lists.ts';
import { Refusal } from './refusal.ts';
import { count, relative, spanOf } from './text.ts';

export interface Health {
  readonly breaker: 'closed' | 'open';
  readonly outage?: { readonly cause: string; readonly since: string; readonly nextProbeAt?: string };
  readonly failingMs: number;
  readonly stoppedBy?: string;
  readonly parked: number;
  readonly held: number;
  readonly deadLetters: number;
  readonly inFlight: number;
  readonly allowed: number;
  /** How far it is behind what came in last. */
  readonly behindMs?: number;
}

export interface Faring {
  readonly id: string;
  readonly topics: readonly string[];
  readonly onDead: string;
  readonly deliver?: { readonly stream?: object };
  readonly state: 'active' | 'paused' | 'disabled';
  readonly disabled?: { readonly cause: string; readonly at: string };
  readonly health: Health;
}

/** Requests at once, where each subscription is asked for. */
const AT_ONCE = 8;
/** Below it nobody waits. */
export const BEHIND_MS = 1_000;

/** One. */
export async function faringOf(client: Client, id: string): Promise<Faring> {
  return (await client.ask<Faring>(`GET /v1/subscriptions/${encodeURIComponent(id)}`)).body;
}

/** Undefined where it was deleted since it was listed. */
export function faringIfThere(client: Client, id: string): Promise<Faring | undefined> {
  return faringOf(client, id).catch((error: unknown) => {
    if (!(error instanceof Refusal) || error.exit !== EXIT.notFound) throw error;
    return undefined;
  });
}

/** `work` on every subscription that the key sees, at most `max` of them and a few at once; in their order. */
export async function ofEach<Result>(
  client: Client,
  work: (id: string) => Promise<Result>,
  { max = Infinity }: { readonly max?: number } = {},
): Promise<{ readonly results: readonly Result[]; readonly whole: boolean }> {
  const results: Result[] = [];
  let group: Promise<Result>[] = [];
  let asked = 0;
  for await (const { id } of eachOf<{ readonly id: string }>(client, 'GET /v1/subscriptions')) {
    if (asked++ === max) return { results: [...results, ...(await Promise.all(group))], whole: false };
    group.push(work(id));
    if (group.length < AT_ONCE) continue;
    results.push(...(await Promise.all(group)));
    group = [];
  }
  return { results: [...results, ...(await Promise.all(group))], whole: true };
}

/** Its consumers connect: it has no endpoint that could be down, and no secret. */
export const isToStream = ({ deliver }: { readonly deliver?: { readonly stream?: object } }): boolean =>
  deliver?.stream !== undefined;

/** `ok`, or what is wrong with it. */
export function stateOf(faring: Pick<Faring, 'state' | 'disabled' | 'health' | 'deliver'>, nowMs: number): string {
  const { state, disabled, health } = faring;
  if (state === 'disabled')
    return disabled === undefined ? 'disabled' : `disabled ${relative(disabled.at, nowMs)} (${whyDisabled(faring)})`;
  if (state === 'paused') return 'paused';
  if (health.breaker === 'open') return downOf(health, nowMs);
  if (health.stoppedBy !== undefined) return `stands still at its bound '${health.stoppedBy}'`;
  if (health.failingMs === 0) return 'ok';
  return `${isToStream(faring) ? 'nothing acked' : 'failing'} for ${exactly(health.failingMs)}`;
}

export function whyDisabled(faring: Pick<Faring, 'disabled' | 'deliver'>): string {
  const { cause = 'failing' } = faring.disabled ?? {};
  return isToStream(faring) && cause === 'failing' ? 'its consumers acked nothing for too long' : cause;
}

/** Of one in a list: its state where nothing is known of it. */
export function shortStateOf(one: {
  readonly state: string;
  readonly health?: Partial<Health>;
  readonly deliver?: { readonly stream?: object };
}): string {
  const { state, health } = one;
  if (state !== 'active' || health === undefined) return state;
  if (health.breaker === 'open') {
    const { outage } = health;
    return outage === undefined
      ? 'down'
      : `down for ${spanOf(Math.max(0, Date.now() - Date.parse(outage.since)))} (${outage.cause})`;
  }
  if (health.stoppedBy !== undefined) return `at bound ${health.stoppedBy}`;
  const said = [...((health.failingMs ?? 0) > 0 ? [isToStream(one) ? 'nothing acked' : 'failing'] : []), ...waitingOf(health)];
  return said.length === 0 ? 'ok' : said.join(', ');
}

function waitingOf({ parked = 0, held = 0, deadLetters = 0 }: Partial<Health>): string[] {
  return [
    ...(parked > 0 ? [`${parked} parked`] : []),
    ...(held > 0 ? [`${held} held`] : []),
    ...(deadLetters > 0 ? [count(deadLetters, 'dead letter')] : []),
  ];
}

/** `down for 5 min (refused), the next probe in 3 s`. */
export function downOf({ outage }: Health, nowMs: number): string {
  if (outage === undefined) return 'down';
  const since = Math.max(0, nowMs - Date.parse(outage.since));
  const { cause, nextProbeAt } = outage;
  const probe = nextProbeAt === undefined ? 'a probe is under way' : `the next probe ${relative(nextProbeAt, nowMs)}`;
  return `down for ${exactly(since)} (${cause}), ${probe}`;
}

/** For people: a line for each thing worth one, the state first. */
export function healthLines(faring: Faring, nowMs: number): [name: string, said: string][] {
  const { inFlight, allowed, behindMs } = faring.health;
  const waiting = waitingOf(faring.health);
  return [
    ['health', stateOf(faring, nowMs)],
    ...(waiting.length === 0 ? [] : [['waiting', waiting.join(', ')] satisfies [string, string]]),
    ...(behindMs === undefined || behindMs < BEHIND_MS ? [] : [['behind', exactly(behindMs)] satisfies [string, string]]),
    [isToStream(faring) ? 'not acked yet' : 'under way', `${inFlight} of ${allowed} allowed at once`],
  ];
}

/** Of short spans a decimal tells something. */
export function exactly(ms: number): string {
  return ms >= 1_000 && ms < 9_950 ? `${Number((ms / 1_000).toFixed(1))} s` : spanOf(ms);
}
