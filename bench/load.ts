/** What a generator is asked to post, and the requests it is made of. */
import { PAYLOAD_BYTES } from './rig.ts';
import { stampedPayload, writeStamp } from './stamp.ts';

export interface Load {
  /** Every event is posted to each of them. */
  readonly urls: readonly string[];
  /** `payload`: the bare 1 KB, as a receiver gets it. `event`: {type, data}. `batch`: a list of `perRequest` such events. */
  readonly form: 'payload' | 'event' | 'batch';
  readonly perRequest?: number;
  readonly topic?: string;
  readonly key?: string;
  /** Per url. */
  readonly connections: number;
  /** Events name this many endpoints in turn, see stamp.ts. */
  readonly endpoints?: number;
  /** How many events; without it, as many as go into `spanMs`. */
  readonly count?: number;
  readonly spanMs?: number;
  /**
   * Open loop: requests leave at times fixed in advance, whatever became of those before, and their stamps tell these times
   * also where they left later. Without it, each connection posts its next request when the last one is answered.
   */
  readonly requestsPerSecond?: number;
}

/** Waits are those of a closed loop's publishers: from post to answer. */
export interface Loaded {
  readonly events: number;
  readonly failures: number;
  /** From the first request to the last answer. */
  readonly ms: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How late the 99th of 100 requests of an open loop left. */
  readonly lateP99Ms: number;
}

/** A request that is used again and again, each time with other stamps. */
export interface Request {
  readonly bytes: Buffer;
  /** Stamps all its payloads; the first one is the `n`th. */
  stamp(sentMs: number, n: number): void;
}

export function requestOf({ form, perRequest = 1, topic = '', key, endpoints = 1 }: Load, url: string): Request {
  const payload = stampedPayload(PAYLOAD_BYTES);
  const before = Buffer.from(form === 'payload' ? '' : `{"type":"${topic}","data":`);
  const event = Buffer.concat([before, payload, Buffer.from(form === 'payload' ? '' : '}')]);
  const list = Array.from({ length: perRequest }, (_, at) => [Buffer.from(at === 0 ? '[' : ','), event]).flat();
  const body = form === 'batch' ? Buffer.concat([...list, Buffer.from(']')]) : event;
  const head = headOf(url, { key, bytes: body.length });
  const first = head.length + (form === 'batch' ? 1 : 0) + before.length;
  const bytes = Buffer.concat([head, body]);
  return {
    bytes,
    stamp(sentMs, n) {
      for (let at = 0; at < perRequest; at++)
        writeStamp(bytes, first + at * (event.length + 1), { sentMs, n: n + at, to: (n + at) % endpoints });
    },
  };
}

function headOf(url: string, { key, bytes }: { readonly key: string | undefined; readonly bytes: number }): Buffer {
  const { host, pathname } = new URL(url);
  const lines = [
    `POST ${pathname} HTTP/1.1`,
    `host: ${host}`,
    'content-type: application/json',
    ...(key === undefined ? [] : [`authorization: Bearer ${key}`]),
    `content-length: ${bytes}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
}
