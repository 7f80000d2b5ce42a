/**
 * Rows of the ledger in the terms of the other log. A row whose event stands there moves to its place. One whose event is gone
 * (retention took it, and nobody kept it) has no place there: it is history, and stays where it was, under the name of a shard
 * that no log has, so that it can be read and is never taken for an event of the new log.
 */
import { cursorAt } from '../lanes/cursor.ts';
import { deadLetterId } from '../lanes/rows.ts';
import type { AttemptRow, Cursor, DeadLetter, LaneRow, ParkedRow, SlotRow } from '../ports/ledger.ts';
import type { Log, Position } from '../ports/log.ts';
import type { Places } from './places.ts';

export interface Translate {
  cursor(cursor: Cursor): Promise<ReadonlyMap<string, Cursor>>;
  lane(row: LaneRow): Promise<readonly LaneRow[]>;
  slot(row: SlotRow): Promise<readonly SlotRow[]>;
  /** A delivery whose event is gone can't be sent any more: it becomes the dead letter that it would have become when due. */
  parked(row: ParkedRow): Promise<{ readonly park: ParkedRow } | { readonly bury: DeadLetter }>;
  deadLetter(letter: DeadLetter): DeadLetter;
  attempt(row: AttemptRow): AttemptRow;
}

interface Needs {
  /** The shard of the former log. */
  readonly shard: string;
  readonly to: Log;
  readonly places: Places;
  readonly nowMs: number;
}

export const formerShard = (shard: string): string => `former-${shard}`;

export function createTranslate({ shard: from, to, places, nowMs }: Needs): Translate {
  const former = formerShard(from);
  const known = new Map<string, Cursor>();

  /** What recovery trusts: the event that stands there, its time and its digest. */
  async function cursorOn(shard: string, position: Position): Promise<Cursor> {
    const key = `${shard}\n${position}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const record = position === '' ? undefined : await to.fetch(shard, position);
    const cursor = cursorAt(record ?? { position, timeMs: nowMs }, to.identity);
    known.set(key, cursor);
    return cursor;
  }

  async function cursor({ position }: Cursor): Promise<ReadonlyMap<string, Cursor>> {
    const all = [...places.through(position)].map(async ([shard, at]) => [shard, await cursorOn(shard, at)] as const);
    return new Map(await Promise.all(all));
  }

  async function onEach<Row extends LaneRow | SlotRow>(row: Row): Promise<readonly Row[]> {
    // The row that says that a pass is known, and what stands on shards that this log does not have.
    if (row.shard !== from) return [row];
    return [...(await cursor(row.cursor))].map(([shard, there]) => ({ ...row, shard, cursor: there }));
  }

  /** At the new place, or where it was in a shard that is none any more. */
  function moved<Row extends { readonly shard: string; readonly position: Position }>(row: Row): Row {
    if (row.shard !== from) return row;
    return { ...row, ...(places.of(row.position) ?? { shard: former }) };
  }

  return {
    cursor,
    lane: onEach,
    slot: onEach,
    async parked(row) {
      if (row.shard !== from) return { park: row };
      const place = places.of(row.position);
      if (place === undefined) return { bury: lost({ ...row, shard: former }, nowMs) };
      // What carries its event is never looked for in the log.
      const timeMs = row.kept === undefined ? (await to.fetch(place.shard, place.position))?.timeMs : row.timeMs;
      return { park: { ...row, ...place, timeMs: timeMs ?? row.timeMs } };
    },
    deadLetter(letter) {
      if (letter.shard !== from) return letter;
      const there = letter.range === undefined ? moved(letter) : { ...letter, shard: former };
      return { ...there, id: deadLetterId(there, letter.range?.through) };
    },
    attempt: moved,
  };
}

function lost({ lane, shard, position, attempts, timeMs }: ParkedRow, diedMs: number): DeadLetter {
  const place = { lane, shard, position };
  const detail = 'the event of this delivery is no longer in the log';
  return {
    ...place,
    id: deadLetterId(place),
    cause: 'expired',
    detail,
    attempts,
    eventId: '',
    topic: '',
    timeMs,
    diedMs,
  };
}
