/** Events from one log to the other: first what is missing there is appended, then all is read back and compared. */
import { Problem } from '@millrace/core/problem';
import type { Entry, Log, Position } from '../ports/log.ts';
import { comparable, createEventDigest } from './event-digest.ts';
import { anotherStands, openHeads } from './heads.ts';
import { createPlaces, type Places } from './places.ts';
import { type Item, itemsOf, type Kept } from './sequence.ts';

/** As the port bounds a call. */
const APPEND_ENTRIES = 4_096;
const APPEND_BYTES = 16 * 1024 * 1024;
/** What a process that was killed had under way may still arrive after the next has looked: brokers remember a key that long. */
const REMEMBERED_MS = 120_000;

export interface Move {
  readonly from: Log;
  readonly shard: string;
  readonly to: Log;
  /** Per shard of the other log: what stood there before. */
  readonly begins: ReadonlyMap<string, Position>;
  readonly kept: readonly Kept[];
  /** An item is done. */
  readonly onItem: (item: Item) => void;
}

/**
 * Appends what is not there yet, one call after the other: what stands in a shard is always a beginning of what is to stand
 * there, so that it can be gone on with wherever it ended.
 */
export async function copyEvents({ from, shard, to, begins, kept, onItem }: Move): Promise<void> {
  const heads = await openHeads(to, begins);
  let waiting: Item[] = [];
  let bytes = 0;

  async function flush(): Promise<void> {
    if (waiting.length === 0) return;
    const appended = await to.append(waiting.map((item) => keyed(item, from.identity)));
    if (appended.some(({ status }) => status === 'conflict'))
      throw new Problem('migration_conflict', 'the log has seen the place of an event with other content', {
        advice: 'Wait two minutes and go on, or move to a new place.',
      });
    for (const item of waiting) onItem(item);
    waiting = [];
    bytes = 0;
  }

  for await (const items of itemsOf({ log: from, shard, kept })) {
    for (const item of items) {
      if ((await heads.take(item, comparable(item.entry.event))) !== undefined) {
        onItem(item);
        continue;
      }
      const { length } = item.entry.bytes;
      if (waiting.length === APPEND_ENTRIES || bytes + length > APPEND_BYTES) await flush();
      waiting.push(item);
      bytes += length;
    }
  }
  await flush();
}

function keyed({ position, entry }: Item, log: string): Entry {
  return { ...entry, dedupe: { key: `migrate:${log}:${position}`, digest: '', windowMs: REMEMBERED_MS } };
}

export interface Verified {
  readonly events: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly places: Places;
}

/** Reads both logs from the beginning. Rejects with `migration_mismatch` where they differ. */
export async function verifyEvents({ from, shard, to, begins, kept, onItem }: Move): Promise<Verified> {
  const heads = await openHeads(to, begins);
  const places = createPlaces(begins);
  const read = createEventDigest();
  const readBack = createEventDigest();
  for await (const items of itemsOf({ log: from, shard, kept })) {
    for (const item of items) {
      const { environment, app, event } = item.entry;
      const bytes = comparable(event);
      read.add({ environment, app, bytes });
      const found = await heads.take(item, bytes);
      if (found === undefined) throw missing(item, readBack.events);
      const { record } = found;
      readBack.add({ environment: record.environment, app: record.app, bytes: found.bytes });
      places.add(item.position, record, item.isStray);
      onItem(item);
    }
  }
  const left = await heads.left();
  if (left !== undefined) throw anotherStands(left);
  const [sha256, sha256Back] = [read.end(), readBack.end()];
  if (read.events !== readBack.events || sha256 !== sha256Back)
    throw new Problem(
      'migration_mismatch',
      `${read.events} events with SHA-256 ${sha256} were read, and ${readBack.events} with ${sha256Back} are read back`,
      { advice: AGAIN },
    );
  return { events: read.events, bytes: read.bytes, sha256, places };
}

function missing({ position, entry: { event } }: Item, found: number): Problem {
  return new Problem(
    'migration_mismatch',
    `after ${found} events that are there, the event ${event.id} (at ${position} of the former log) can not be read back`,
    { advice: AGAIN },
  );
}

const AGAIN =
  'Nothing was switched over: the gateway can be started on its former log. Look whether the new one drops events (its limits of age and size), then run this again.';
