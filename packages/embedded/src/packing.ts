/**
 * Batches as single buffers, so that crossing threads costs one transfer and not an object per event.
 *
 * Events to append:  per event 1 × float64 (window of its key), then per event 6 × uint32 (size, topic, app, audience + 1
 *                    or 0, length of its key + 1 or 0, length of its memo), then the events' bytes in a row.
 * Records read:      per record 2 × float64 (offset, time), then 3 × uint32 (size, environment, app), then the bytes.
 * Names are numbers: of an append, into lists that both sides keep and each batch extends; of a read, into its own lists.
 * Keys and memos are one long string: that is cloned by copying, an array of strings one by one.
 */
import type { AttemptRow } from '@millrace/gateway/ports/ledger';
import type { Entry, LogRecord } from '@millrace/gateway/ports/log';
import { audienceOf } from '@millrace/core/event';
import type { Event } from '@millrace/core/event';
import { decodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { nameOf } from './messages.ts';
import { positionOf, SHARD } from './position.ts';

export type NamePair = readonly [environment: string, name: string];

export interface AppendBatch {
  readonly count: number;
  readonly buffer: ArrayBuffer;
  /** Names not sent before. */
  readonly topics: readonly NamePair[];
  readonly apps: readonly NamePair[];
  /** Keys and memos (see memoOf), in a row. */
  readonly texts: string;
}

/** What was appended has consecutive offsets from `first` on; `others` were not appended: null is a conflict. */
export interface AppendAnswer {
  readonly first: number;
  readonly timeMs: number;
  readonly others: readonly (readonly [at: number, settled: Settled | null])[];
}

/** The first use of a key that was used before. */
export interface Settled {
  readonly offset: number;
  readonly timeMs: number;
  readonly id: string;
}

export interface BatchPacker {
  pack(entries: readonly Entry[]): AppendBatch;
}

const ENTRY_WORDS = 6;
const ENTRY_HEAD_BYTES = 8 + ENTRY_WORDS * 4;

export function createBatchPacker(): BatchPacker {
  const topics = new Map<string, number>();
  const apps = new Map<string, number>();

  /** The number of a name; a new one is noted in `fresh`. */
  function numberOf(known: Map<string, number>, fresh: NamePair[], environment: string, name: string): number {
    const key = nameOf(environment, name);
    const number = known.get(key);
    if (number !== undefined) return number;
    known.set(key, known.size);
    fresh.push([environment, name]);
    return known.size - 1;
  }

  return {
    pack(entries) {
      const count = entries.length;
      const buffer = new ArrayBuffer(count * ENTRY_HEAD_BYTES + entries.reduce((sum, { bytes }) => sum + bytes.length, 0));
      const { windowsMs, words, body } = partsOf(buffer, count);
      const fresh = { topics: [] as NamePair[], apps: [] as NamePair[] };
      const texts: string[] = [];
      let [at, word] = [0, 0];
      entries.forEach(({ environment, app, event, bytes, dedupe }, i) => {
        const audience = audienceOf(event);
        const memo = dedupe === undefined ? '' : memoOf(dedupe.digest, event.id);
        words[word++] = bytes.length;
        words[word++] = numberOf(topics, fresh.topics, environment, event.type);
        words[word++] = numberOf(apps, fresh.apps, environment, app);
        words[word++] = audience === undefined ? 0 : numberOf(apps, fresh.apps, environment, audience) + 1;
        words[word++] = dedupe === undefined ? 0 : dedupe.key.length + 1;
        words[word++] = memo.length;
        if (dedupe !== undefined) {
          windowsMs[i] = dedupe.windowMs;
          texts.push(dedupe.key, memo);
        }
        body.set(bytes, at);
        at += bytes.length;
      });
      return { count, buffer, ...fresh, texts: texts.join('') };
    },
  };
}

export interface BatchEntry {
  readonly topic: number;
  readonly app: number;
  readonly audience: number | undefined;
  readonly bytes: Uint8Array;
  readonly key: BatchKey | undefined;
}

export interface BatchKey {
  readonly key: string;
  readonly memo: string;
  readonly windowMs: number;
}

export function* unpackBatch({ count, buffer, texts }: AppendBatch): Generator<BatchEntry> {
  const { windowsMs, words, body } = partsOf(buffer, count);
  let [at, word, read] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const size = words[word++]!;
    const topic = words[word++]!;
    const app = words[word++]!;
    const audience = words[word++]!;
    const keyEnd = read + words[word++]! - 1;
    const memoEnd = keyEnd + words[word++]!;
    const hasKey = keyEnd >= read;
    const key = hasKey
      ? { key: texts.slice(read, keyEnd), memo: texts.slice(keyEnd, memoEnd), windowMs: windowsMs[i]! }
      : undefined;
    yield { topic, app, audience: audience === 0 ? undefined : audience - 1, bytes: body.subarray(at, at + size), key };
    if (hasKey) read = memoEnd;
    at += size;
  }
}

function partsOf(buffer: ArrayBuffer, count: number) {
  const windowsMs = new Float64Array(buffer, 0, count);
  const words = new Uint32Array(buffer, windowsMs.byteLength, count * ENTRY_WORDS);
  return { windowsMs, words, body: new Uint8Array(buffer, count * ENTRY_HEAD_BYTES) };
}

/** Digest and event id of a key's first use; the length in front keeps any two texts apart. */
export function memoOf(digest: string, id: string): string {
  return `${digest.length}:${digest}${id}`;
}

export function readMemo(memo: string): { readonly digest: string; readonly id: string } {
  const colon = memo.indexOf(':');
  const end = colon + 1 + Number(memo.slice(0, colon));
  return { digest: memo.slice(colon + 1, end), id: memo.slice(end) };
}

export interface RecordPack {
  readonly count: number;
  readonly buffer: ArrayBuffer;
  readonly environments: readonly string[];
  readonly apps: readonly string[];
}

export interface PackableRecord {
  readonly offset: number;
  readonly timeMs: number;
  readonly environment: string;
  readonly app: string;
  readonly bytes: Uint8Array;
}

const RECORD_FLOATS = 2;
const RECORD_WORDS = 3;
const RECORD_HEAD_BYTES = RECORD_FLOATS * 8 + RECORD_WORDS * 4;

export function packRecords(records: readonly PackableRecord[]): RecordPack {
  const count = records.length;
  const headBytes = count * RECORD_HEAD_BYTES;
  const buffer = new ArrayBuffer(headBytes + records.reduce((sum, { bytes }) => sum + bytes.length, 0));
  const floats = new Float64Array(buffer, 0, count * RECORD_FLOATS);
  const words = new Uint32Array(buffer, floats.byteLength, count * RECORD_WORDS);
  const body = new Uint8Array(buffer, headBytes);
  const environments: string[] = [];
  const apps: string[] = [];
  let at = 0;
  records.forEach(({ offset, timeMs, environment, app, bytes }, i) => {
    floats.set([offset, timeMs], i * RECORD_FLOATS);
    words.set([bytes.length, indexIn(environments, environment), indexIn(apps, app)], i * RECORD_WORDS);
    body.set(bytes, at);
    at += bytes.length;
  });
  return { count, buffer, environments, apps };
}

/** The payloads of a page are views into one buffer: who keeps a single one of them keeps the page. */
export function unpackRecords({ count, buffer, environments, apps }: RecordPack): LogRecord[] {
  const floats = new Float64Array(buffer, 0, count * RECORD_FLOATS);
  const words = new Uint32Array(buffer, floats.byteLength, count * RECORD_WORDS);
  let at = count * RECORD_HEAD_BYTES;
  return Array.from({ length: count }, (_, i) => {
    const [size, environment, app] = words.subarray(i * RECORD_WORDS, (i + 1) * RECORD_WORDS) as unknown as [
      number,
      number,
      number,
    ];
    const position = positionOf(floats[i * RECORD_FLOATS]!);
    const event = decoded(new Uint8Array(buffer, at, size), position);
    at += size;
    return {
      shard: SHARD,
      position,
      timeMs: floats[i * RECORD_FLOATS + 1]!,
      environment: environments[environment]!,
      app: apps[app]!,
      event,
      size,
    };
  });
}

function decoded(bytes: Uint8Array, position: string): Event {
  try {
    return decodeEvent(bytes);
  } catch (error) {
    throw new Problem('log_unavailable', `The event at ${position} can not be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The lists are short, and the last name is nearly always the next one's too. */
function indexIn(list: string[], name: string): number {
  const at = list.lastIndexOf(name);
  return at === -1 ? list.push(name) - 1 : at;
}

/** Attempts as columns. `rest` holds a row's members that nothing is looked up by, as JSON, a line each. */
export interface AttemptColumns {
  readonly count: number;
  readonly names: readonly string[];
  /** Per row: lane and shard (into names), n, outcome (into OUTCOMES). */
  readonly words: Uint32Array;
  readonly startedMs: Float64Array;
  /** A line per row; a position is printable, so it has no line break. */
  readonly positions: string;
  readonly rest: string;
}

export const OUTCOMES = ['delivered', 'retry', 'dead'] as const;

const ATTEMPT_WORDS = 4;

export function packAttempts(rows: readonly AttemptRow[]): AttemptColumns {
  const numbers = new Map<string, number>();
  const words = new Uint32Array(rows.length * ATTEMPT_WORDS);
  const startedMs = new Float64Array(rows.length);
  const numberOf = (name: string): number => numbers.get(name) ?? (numbers.set(name, numbers.size), numbers.size - 1);
  rows.forEach((row, i) => {
    words[i * ATTEMPT_WORDS] = numberOf(row.lane);
    words[i * ATTEMPT_WORDS + 1] = numberOf(row.shard);
    words[i * ATTEMPT_WORDS + 2] = row.n;
    words[i * ATTEMPT_WORDS + 3] = OUTCOMES.indexOf(row.outcome);
    startedMs[i] = row.startedMs;
  });
  const positions = rows.map((row) => row.position).join('\n');
  const rest = rows
    .map((row) => JSON.stringify([row.durationMs, row.cause, row.status, row.snippet, row.eventId, row.topic]))
    .join('\n');
  return { count: rows.length, names: [...numbers.keys()], words, startedMs, positions, rest };
}

export interface AttemptLine {
  readonly lane: string;
  readonly shard: string;
  readonly position: string;
  readonly n: number;
  readonly startedMs: number;
  readonly outcome: number;
  readonly rest: string;
}

export function* unpackAttempts({ count, names, words, startedMs, positions, rest }: AttemptColumns): Generator<AttemptLine> {
  const positionLines = positions.split('\n');
  const restLines = rest.split('\n');
  for (let i = 0; i < count; i++) {
    const [lane, shard, n, outcome] = words.subarray(i * ATTEMPT_WORDS, (i + 1) * ATTEMPT_WORDS) as unknown as [
      number,
      number,
      number,
      number,
    ];
    yield {
      lane: names[lane]!,
      shard: names[shard]!,
      position: positionLines[i]!,
      n,
      startedMs: startedMs[i]!,
      outcome,
      rest: restLines[i]!,
    };
  }
}

export function readRest(rest: string): Pick<AttemptRow, 'durationMs' | 'cause' | 'status' | 'snippet' | 'eventId' | 'topic'> {
  const [durationMs, cause, status, snippet, eventId, topic] = JSON.parse(rest) as [
    number,
    string,
    number,
    string,
    string,
    string,
  ];
  return { durationMs, cause, status, snippet, eventId, topic };
}
