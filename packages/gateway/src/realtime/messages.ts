/** What the server sends. Frames that carry an event are made once for all who get it. */
import { encodeStructured } from '@millrace/core/cloud-events-json';
import type { LogRecord } from '../ports/log.ts';

/** A message that many connections send: its bytes, and what a transport makes of them once for all. */
export interface Shared {
  readonly bytes: Buffer;
  /** As a whole WebSocket frame, or as text, made when the first asks. */
  framed?: Buffer;
  text?: string;
  /** Of an ephemeral sub: where it then stands. */
  readonly cursor?: string;
}

/** Most clients have few subs, and number them from 1: frames of these are kept for the next one who gets the event. */
const KEPT_SUBS = 16;

export interface Messages {
  /** The `msg` of an ephemeral sub. */
  msg(sub: number, record: LogRecord, cursor: string): Shared;
}

export function createMessages(): Messages {
  let last: LogRecord | undefined;
  let json: Buffer = Buffer.alloc(0);
  let bySub: (Shared | undefined)[] = [];

  function made(sub: number, cursor: string): Shared {
    const head = `{"op":"msg","sub":${sub},"cursor":${JSON.stringify(cursor)},"event":`;
    return { bytes: Buffer.concat([Buffer.from(head), json, CLOSE]), cursor };
  }

  return {
    msg(sub, record, cursor) {
      if (record !== last) {
        last = record;
        json = eventJson(record);
        bySub = [];
      }
      if (sub > KEPT_SUBS) return made(sub, cursor);
      return (bySub[sub] ??= made(sub, cursor));
    },
  };
}

const CLOSE = Buffer.from('}');

/** With its place in the log as `sequence`, where the publisher gave none: as webhooks have it. */
export function eventJson({ event, position }: LogRecord): Buffer {
  const sequenced =
    event.extensions['sequence'] === undefined ? { ...event, extensions: { ...event.extensions, sequence: position } } : event;
  return Buffer.from(encodeStructured(sequenced));
}
