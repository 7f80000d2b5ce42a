/**
 * What is to stand in the other log, in order: the events of the log, and between them those that it does not have any more
 * but that the ledger has kept, because they are parked or dead. These stand where they stood, so that the order of a key, and
 * what was settled where, go on as they were.
 */
import { decodeEvent, encodeEvent } from '@millrace/core/event-bytes';
import type { KeptEvent } from '../ports/ledger.ts';
import type { Entry, Log, LogRecord, Position } from '../ports/log.ts';

export interface Item {
  readonly position: Position;
  readonly entry: Entry;
  /** Of an event of the log: its append time there. */
  readonly timeMs?: number;
  /** It stood in a former log, past the end of this one: no place of this log is its own. */
  readonly isStray: boolean;
}

/** An event that the ledger has kept. Its bytes are read when their turn comes. */
export interface Kept {
  readonly position: Position;
  readonly load: () => Promise<KeptEvent>;
}

/** Of one read of a log. */
export const PAGE_RECORDS = 1_000;
export const PAGE_BYTES = 4 * 1024 * 1024;

interface Needs {
  readonly log: Log;
  readonly shard: string;
  /** By position, each once. */
  readonly kept: readonly Kept[];
}

/** Nothing may be appended meanwhile. The same each time, as long as neither log nor ledger changes. */
export async function* itemsOf({ log, shard, kept }: Needs): AsyncGenerator<readonly Item[]> {
  const { end } = await log.bounds(shard);
  const strays = kept.filter(({ position }) => position > end);
  for (const one of strays) yield [await keptItem(one, true)];
  const own = kept.slice(0, kept.length - strays.length);
  let at = 0;
  for (let after = ''; ;) {
    const page = await log.read({ shard, after, limit: PAGE_RECORDS, maxBytes: PAGE_BYTES });
    const items: Item[] = [];
    for (const record of page.records) {
      for (; at < own.length && own[at]!.position < record.position; at++) items.push(await keptItem(own[at]!, false));
      if (own[at]?.position === record.position) at++;
      items.push(itemOf(record));
    }
    const through = page.atEnd ? end : page.through;
    for (; at < own.length && own[at]!.position <= through; at++) items.push(await keptItem(own[at]!, false));
    if (items.length > 0) yield items;
    if (page.atEnd) return;
    after = page.through;
  }
}

function itemOf({ position, environment, app, event, timeMs }: LogRecord): Item {
  return { position, entry: { environment, app, event, bytes: encodeEvent(event) }, timeMs, isStray: false };
}

async function keptItem({ position, load }: Kept, isStray: boolean): Promise<Item> {
  const { environment, app, bytes } = await load();
  return { position, entry: { environment, app, event: decodeEvent(bytes), bytes }, isStray };
}
