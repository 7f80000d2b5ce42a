/** What was read and what is read back are one when their digests are: over all events in order, each with whose it is. */
import { createHash } from 'node:crypto';
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';

export interface EventDigest {
  /** `bytes` as of `comparable`. */
  add(of: { readonly environment: string; readonly app: string; readonly bytes: Uint8Array }): void;
  readonly events: number;
  readonly bytes: number;
  /** Lower-case hex SHA-256. */
  end(): string;
}

export function createEventDigest(): EventDigest {
  const hash = createHash('sha256');
  let events = 0;
  let total = 0;
  return {
    add({ environment, app, bytes }) {
      hash.update(`${JSON.stringify([environment, app, bytes.length])}\n`).update(bytes);
      events++;
      total += bytes.length;
    },
    get events() {
      return events;
    },
    get bytes() {
      return total;
    },
    end: () => hash.digest('hex'),
  };
}

/** The encoded event with its attributes in one order: a broker may give them back in another. */
export function comparable({ id, source, type, extensions, data, ...rest }: Event): Uint8Array {
  const { subject, time, datacontenttype, dataschema } = rest;
  return encodeEvent({
    id,
    source,
    type,
    ...(subject === undefined ? {} : { subject }),
    ...(time === undefined ? {} : { time }),
    ...(datacontenttype === undefined ? {} : { datacontenttype }),
    ...(dataschema === undefined ? {} : { dataschema }),
    extensions: Object.fromEntries(Object.entries(extensions).sort(([a], [b]) => (a < b ? -1 : 1))),
    ...(data === undefined ? {} : { data }),
  });
}
