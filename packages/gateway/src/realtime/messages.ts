/** What the server sends of an event: its JSON is made once for all who get it, and whole frames for as long as the next one gets the same. */
import { encodeStructured } from '@millrace/core/cloud-events-json';
import type { LogRecord } from '../ports/log.ts';
import { cursorText, partOf } from './cursors.ts';

/** A message that many connections send: its bytes, and what a transport makes of them once for all. */
export interface Shared {
  readonly bytes: Buffer;
  /** As a whole WebSocket frame, or as an event of a stream, made when the first asks. */
  framed?: Buffer;
  streamed?: Buffer | undefined;
  /** Of an ephemeral sub: where it then stands. */
  readonly cursor?: string;
}

export interface Messages {
  /** The `msg` of an ephemeral sub. `log`: its identity. */
  msg(sub: number, record: LogRecord, log: string): Shared;
  /** The event alone, with its place in the log as `sequence`, where the publisher gave none: as webhooks have it. */
  event(record: LogRecord): Shared;
}

/** Most clients have few subs, and number them from 1: frames of these are kept for the next one who gets the event. */
const KEPT_SUBS = 16;
/** Lanes of several groups do not keep step as feeds do: some events are kept for the others. */
const KEPT_EVENTS = 64;
const KEPT_BYTES = 1024 * 1024;

export function createMessages(): Messages {
  const kept = new Map<LogRecord, Shared>();
  let keptBytes = 0;
  let last: LogRecord | undefined;
  let json: Shared = { bytes: Buffer.alloc(0) };
  let bySub: (Shared | undefined)[] = [];

  function turnTo(record: LogRecord): void {
    // The one before is kept as bytes alone.
    json.streamed = undefined;
    last = record;
    json = kept.get(record) ?? keep(record);
    bySub = [];
  }

  function keep(record: LogRecord): Shared {
    const made = { bytes: eventJson(record) };
    kept.set(record, made);
    keptBytes += made.bytes.length;
    for (const [oldest, { bytes }] of kept) {
      if (oldest === record || (kept.size <= KEPT_EVENTS && keptBytes <= KEPT_BYTES)) break;
      kept.delete(oldest);
      keptBytes -= bytes.length;
    }
    return made;
  }

  function made(sub: number, record: LogRecord, log: string): Shared {
    const cursor = cursorText(partOf(log, record.shard), record);
    const head = `{"op":"msg","sub":${sub},"cursor":${JSON.stringify(cursor)},"event":`;
    return { bytes: Buffer.concat([Buffer.from(head), json.bytes, CLOSE]), cursor };
  }

  return {
    msg(sub, record, log) {
      if (record !== last) turnTo(record);
      if (sub > KEPT_SUBS) return made(sub, record, log);
      return (bySub[sub] ??= made(sub, record, log));
    },
    event(record) {
      if (record !== last) turnTo(record);
      return json;
    },
  };
}

const CLOSE = Buffer.from('}');

function eventJson({ event, position }: LogRecord): Buffer {
  const sequenced =
    event.extensions['sequence'] === undefined ? { ...event, extensions: { ...event.extensions, sequence: position } } : event;
  return Buffer.from(encodeStructured(sequenced));
}
