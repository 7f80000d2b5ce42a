/** Cursors as they are stored: where the last passed event stood, and enough to see later whether it still stands there. */
import type { Cursor } from '../ports/ledger.ts';
import type { LogRecord } from '../ports/log.ts';
import type { Place } from './tail.ts';

/** Short digest of who published which event. FNV-1a, 64 bits in two halves: it must notice a change, not withstand an attacker. */
export function idHashOf({ app, event }: { app: string; event: { source: string; id: string } }): string {
  const text = `${app}\n${event.source}\n${event.id}`;
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ (code + at), 0x01000193);
  }
  return (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0');
}

/** A place as a cursor of this log. */
export function cursorAt(place: Place, log: string): Cursor {
  if ('idHash' in place) return { ...(place as Cursor), log };
  const idHash = 'event' in place ? idHashOf(place as LogRecord) : '';
  return { log, position: place.position, timeMs: place.timeMs, idHash };
}
