/** Rows of the ledger as the port has them. Attempts: what is looked up by is a column, the rest one line of JSON. */
import type { AttemptRow, Cursor, DeadLetter, KeptEvent, ParkedRow } from '@millrace/gateway/ports/ledger';

export const OUTCOMES = ['delivered', 'retry', 'dead'] as const;

export interface StoredAttempt {
  readonly lane: string;
  readonly shard: string;
  readonly position: string;
  readonly n: number;
  readonly startedMs: number;
  readonly outcome: number;
  readonly rest: string;
}

type Rest = readonly [durationMs: number, cause: string, status: number, snippet: string, eventId: string, topic: string];

/** JSON writes U+0000 and halves of surrogates as escapes, so an endpoint's answer comes back as it was. */
export function restOf({ durationMs, cause, status, snippet, eventId, topic }: AttemptRow): string {
  return JSON.stringify([durationMs, cause, status, snippet, eventId, topic] satisfies Rest);
}

export function attemptOf({ outcome, rest, ...stored }: StoredAttempt): AttemptRow {
  const [durationMs, cause, status, snippet, eventId, topic] = JSON.parse(rest) as Rest;
  return { ...stored, outcome: OUTCOMES[outcome]!, durationMs, cause, status, snippet, eventId, topic };
}

interface StoredKept {
  readonly environment: string | null;
  readonly app: string | null;
  readonly bytes: Uint8Array | null;
}

function keptOf({ environment, app, bytes }: StoredKept): { kept?: KeptEvent } {
  return bytes === null ? {} : { kept: { environment: environment!, app: app!, bytes } };
}

export interface StoredParked extends StoredKept, Omit<ParkedRow, 'lane' | 'shard' | 'state' | 'key' | 'kept'> {
  readonly held: boolean;
  readonly key: string | null;
}

export const PARKED = `position, held, due_ms AS "dueMs", attempts, attempts_before AS "attemptsBefore", key, cause, size,
  time_ms AS "timeMs", id_hash AS "idHash", environment, app, bytes`;

export function parkedOf(lane: string, shard: string, stored: StoredParked): ParkedRow {
  const { position, held, dueMs, attempts, attemptsBefore, key, cause, size, timeMs, idHash } = stored;
  const state = held ? 'held' : 'parked';
  const row = { lane, shard, position, state, dueMs, attempts, attemptsBefore, cause, size, timeMs, idHash } as const;
  return { ...row, ...(key === null ? {} : { key }), ...keptOf(stored) };
}

export interface StoredDeadLetter extends StoredKept, Omit<DeadLetter, 'holdsKey' | 'kept' | 'range'> {
  readonly holdsKey: string | null;
  readonly through: string | null;
  readonly throughMs: number | null;
  readonly rangeCount: number | null;
}

export const DEAD_LETTER = `d.id, l.lane, l.shard, d.position, d.cause, d.detail, d.attempts, d.event_id AS "eventId", d.topic,
  d.time_ms AS "timeMs", d.died_ms AS "diedMs", d.holds_key AS "holdsKey", d.environment, d.app, d.bytes,
  d.through, d.through_ms AS "throughMs", d.range_count AS "rangeCount"`;

export function deadLetterOf(stored: StoredDeadLetter): DeadLetter {
  const { holdsKey, environment, app, bytes, through, throughMs, rangeCount, ...all } = stored;
  const count = rangeCount === null ? {} : { count: rangeCount };
  const range = through === null ? {} : { range: { through, throughTimeMs: throughMs!, ...count } };
  return { ...all, ...(holdsKey === null ? {} : { holdsKey }), ...keptOf({ environment, app, bytes }), ...range };
}

export const CURSOR = 'log, position, time_ms AS "timeMs", id_hash AS "idHash"';

export function cursorOf({ log, position, timeMs, idHash }: Cursor): Cursor {
  return { log, position, timeMs, idHash };
}
