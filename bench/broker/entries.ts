/** The same events for the driver and for the bare client: as the door hands them to a log, and as messages. */
import { randomBytes } from 'node:crypto';
import { type MsgHdrs, headers } from '@nats-io/transport-node';
import { encodeEvent } from '@millrace/core/event-bytes';
import { newId } from '@millrace/core/ids';
import type { Entry } from '@millrace/gateway/ports/log';
import { bodyOf, headersOf } from '../../packages/log-nats/src/binding.ts';
import { readHeaders } from '../../packages/log-nats/src/headers.ts';
import { APP, ENVIRONMENT, eventsOf, TOPIC } from '../rig.ts';

export interface Message {
  readonly headers: MsgHdrs;
  readonly body: Uint8Array;
}

export function entriesOf(count: number): Entry[] {
  const nowMs = Date.now();
  return eventsOf(count).map(({ datacontenttype = '', data }) => {
    const event = {
      id: newId('evt', nowMs, (bytes) => randomBytes(bytes)),
      source: `/apps/${APP}`,
      type: TOPIC,
      time: new Date(nowMs).toISOString(),
      datacontenttype,
      extensions: {},
      ...(data && { data }),
    };
    return { environment: ENVIRONMENT, app: APP, event, bytes: encodeEvent(event) };
  });
}

/** Another process must not use the same ids. */
const own = randomBytes(16).toString('hex');
let count = 0;

/** Made beforehand, but for their encoding, with the headers that the driver writes; each id once, as the broker dedupes by it. */
export function messagesOf(entries: readonly Entry[]): Message[] {
  return entries.map((entry) => {
    const append = `${own}-${++count}`;
    const all = headers();
    for (const [name, value] of readHeaders(headersOf(entry, append, append))) all.set(name, value);
    return { headers: all, body: bodyOf(entry.event) };
  });
}
