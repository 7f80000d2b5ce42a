/** The world stores are shown in, and rows to put into them. */
import assert from 'node:assert/strict';
import type { Claims } from '@millrace/gateway/ports/claims';
import type { App, Directory } from '@millrace/gateway/ports/directory';
import type { AttemptRow, Cursor, DeadLetter, KeptEvent, LaneRow, Ledger, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { Position } from '@millrace/gateway/ports/log';

export interface Stores {
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly claims: Claims;
}

export interface OpenedStores extends Stores {
  /** Closes the stores and opens them again where they were, as a restart does. Durable drivers have it. */
  reopen?(): Promise<Stores>;
  /** The same stores as another node sees them. Drivers that several nodes share have it. */
  peer?(): Promise<Stores>;
  /** Closes the stores and removes what they kept. */
  close(): Promise<void>;
}

/** Opens empty stores, others at each call. */
export type OpenStores = () => Promise<OpenedStores>;

export const START_MS = Date.UTC(2026, 10, 2, 12);
/** Two lanes of one subscription, and one of a subscription whose uid begins the same. */
export const UID = 'sub_1';
export const LANE = `${UID}.0`;
export const OTHER_LANE = `${UID}.run.7`;
export const NEIGHBOUR = 'sub_10';
export const NEIGHBOUR_LANE = `${NEIGHBOUR}.0`;
export const SHARD = 'main';

/** Positions as drivers make them: padded. */
export function at(n: number): Position {
  return String(n).padStart(16, '0');
}

export function cursor(n: number): Cursor {
  return { log: 'log-1', position: n === 0 ? '' : at(n), timeMs: START_MS + n, idHash: n === 0 ? '' : `hash${n}` };
}

export function laneRow(n: number, { lane = LANE, shard = SHARD } = {}): LaneRow {
  return { lane, shard, cursor: cursor(n) };
}

export function parked(n: number, change: Partial<ParkedRow> = {}): ParkedRow {
  const event = { size: 100 + n, timeMs: START_MS + n, idHash: `hash${n}` };
  return {
    lane: LANE,
    shard: SHARD,
    position: at(n),
    state: 'parked',
    dueMs: START_MS + 1_000 * n,
    attempts: 1,
    attemptsBefore: 0,
    cause: 'timeout',
    ...event,
    ...change,
  };
}

export function held(n: number, change: Partial<ParkedRow> = {}): ParkedRow {
  return parked(n, { state: 'held', dueMs: 0, attempts: 0, cause: '', key: 'k', ...change });
}

export function attempt(n: number, change: Partial<AttemptRow> = {}): AttemptRow {
  const answer = { outcome: 'delivered', cause: '', status: 204, snippet: '' } as const;
  const event = { eventId: `event-${n}`, topic: 'orders.created' };
  return {
    lane: LANE,
    shard: SHARD,
    position: at(n),
    n: 1,
    startedMs: START_MS + n,
    durationMs: 12,
    ...answer,
    ...event,
    ...change,
  };
}

export function deadLetter(n: number, change: Partial<DeadLetter> = {}): DeadLetter {
  const { lane = LANE, shard = SHARD } = change;
  const id = `dl_${lane}_${shard}_${at(n)}`;
  const event = { eventId: `event-${n}`, topic: 'orders.created', timeMs: START_MS + n };
  return {
    id,
    lane,
    shard,
    position: at(n),
    cause: 'http_500',
    detail: 'answered 500',
    attempts: 10,
    diedMs: START_MS + 60_000 + n,
    ...event,
    ...change,
  };
}

export function rangeLetter(n: number, through: number, change: Partial<DeadLetter> = {}): DeadLetter {
  const range = { through: at(through), throughTimeMs: START_MS + through, count: through - n };
  return deadLetter(n, {
    id: `dl_range_${at(n)}`,
    cause: 'expired',
    detail: '',
    attempts: 0,
    eventId: '',
    topic: '',
    range,
    ...change,
  });
}

export function kept(bytes: Uint8Array): KeptEvent {
  return { environment: 'default', app: 'shop', bytes };
}

export function app(name: string): App {
  return { name, createdMs: START_MS };
}

/** Equal members, none more; bytes equal, whatever class carries them. */
export function same(actual: unknown, expected: unknown): void {
  assert.deepEqual(plain(actual), plain(expected));
}

/** Equal rows, in any order. */
export function sameRows(actual: readonly unknown[], expected: readonly unknown[]): void {
  const sorted = (rows: readonly unknown[]) => rows.map(plain).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  assert.deepEqual(sorted(actual), sorted(expected));
}

/** Members in the order of their names, bytes as hex: rows compare the same from whatever driver. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, plain((value as Record<string, unknown>)[name])]),
  );
}

/** All that the ledger tells of these lanes, for comparing a ledger before and after. */
export async function snapshot(
  ledger: Ledger,
  lanes: readonly string[] = [LANE, OTHER_LANE, NEIGHBOUR_LANE],
  shard = SHARD,
): Promise<unknown> {
  const ofLane = async (lane: string) => [
    await ledger.handledAfter(lane, shard, ''),
    await ledger.due(lane, shard, Number.MAX_SAFE_INTEGER, 1_000),
    await ledger.keyed(lane, shard),
  ];
  const ofSubscription = async (subscription: string) => [
    await ledger.attempts({ subscription, limit: 1_000 }),
    await ledger.deadLetters({ subscription, limit: 1_000 }),
  ];
  const everywhere = [
    ...(await ledger.lanes()),
    ...(await ledger.slots()),
    ...(await ledger.openLanes()),
    ...(await ledger.deadLetterCounts()),
  ];
  return plain([
    everywhere.map((row) => JSON.stringify(plain(row))).sort(),
    await Promise.all(lanes.map(ofLane)),
    await Promise.all([UID, NEIGHBOUR].map(ofSubscription)),
  ]);
}
