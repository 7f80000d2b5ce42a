/**
 * Reading what lies further back: a pull consumer that is kept from one page to the next. While a page is being worked the
 * next one is on its way.
 */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import { createInbox } from '@nats-io/transport-node';
import type { Delivered } from './delivery.ts';
import { deliveredOf, headerBlockOf } from './delivery.ts';
import { readStatus } from './headers.ts';

export interface Reader {
  readonly key: string;
  /** Everything up to here was taken. */
  position: number;
  /**
   * The next message, undefined where there is none. What is in the log when `next` is called for the first time after
   * `begin` is never taken for not there. Rejects when the consumer is gone.
   */
  next(): Promise<Delivered | undefined>;
  /** What `next` gave comes again. */
  putBack(message: Delivered): void;
  /** A new page begins. */
  begin(): void;
  /** Has more on its way, for the next page. */
  readAhead(): void;
  close(): void;
}

interface Needs {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly stream: string;
  readonly key: string;
  readonly start: Start;
  readonly filters?: readonly string[] | undefined;
}

export type Start =
  | { readonly deliver_policy: 'by_start_sequence'; readonly opt_start_seq: number }
  | { readonly deliver_policy: 'by_start_time'; readonly opt_start_time: string };

const PULL_RECORDS = 1_024;
const PULL_BYTES = 4 * 1024 * 1024;
/** A pull is asked for before the last one is used up. */
const AHEAD_RECORDS = 512;
/** The server forgets a consumer that nobody reads for so long; one is made in a millisecond. */
const FORGOTTEN_MS = 60_000;
/** Nobody listens for pulls: the consumer is gone, or so new that not all servers of a cluster have heard of it. */
const NOBODY = 503;
const UNHEARD_MAX = 40;
const UNHEARD_MS = 50;
/** An answer takes a millisecond, or the broker is away. */
const ANSWER_MS = 5_000;
const NANOS_PER_MS = 1_000_000;

export class ReaderGone extends Error {}

export async function openReader({ nc, jsm, stream, key, start, filters }: Needs): Promise<Reader> {
  const { name } = await jsm.consumers.add(stream, {
    ...start,
    ack_policy: 'none',
    max_deliver: 1,
    inactive_threshold: FORGOTTEN_MS * NANOS_PER_MS,
    mem_storage: true,
    num_replicas: 1,
    ...(filters === undefined ? {} : filters.length === 1 ? { filter_subject: filters[0]! } : { filter_subjects: [...filters] }),
  });
  const inbox = createInbox();
  const request = JSON.stringify({ batch: PULL_RECORDS, max_bytes: PULL_BYTES, no_wait: true });
  let buffer: Delivered[] = [];
  let head = 0;
  let delivery = 0;
  let pulls = 0;
  /** Messages the pull under way may still bring; 0 where none is. */
  let coming = 0;
  /** The last pull that came to the end of what there was. */
  let foundEnd = 0;
  /** The last pull before this page: what it did not find may have come since. */
  let before = 0;
  let gone: Error | undefined;
  /** The server has answered a pull. */
  let isKnown = false;
  let unheard = 0;
  let wake = (): void => {};

  const subscription = nc.subscribe(`${inbox}.*`, {
    callback(error, message) {
      if (error) gone = new ReaderGone(error.message);
      else take(message);
      wake();
    },
  });

  function take(message: Msg): void {
    const delivered = deliveredOf(message);
    if (delivered === undefined) return ended(message);
    isKnown = true;
    if (delivered.delivery !== ++delivery) gone = new ReaderGone('a message was lost on the way');
    buffer.push(delivered);
    coming--;
    if (delivered.pending > 0) return;
    coming = 0;
    foundEnd = pulls;
  }

  function ended(message: Msg): void {
    // A pull that is over may be told so when the next one is under way.
    if (message.subject !== `${inbox}.${pulls}`) return;
    const { code, text } = readStatus(headerBlockOf(message));
    if (code === NOBODY && !isKnown && ++unheard <= UNHEARD_MAX) return void setTimeout(askAgain, UNHEARD_MS);
    isKnown = true;
    if (code === 404) foundEnd = pulls;
    else if (code !== 408 && !text.includes('maxbytes')) gone = new ReaderGone(`${code} ${text}`);
    coming = 0;
  }

  function pull(): void {
    pulls++;
    coming = PULL_RECORDS;
    ask();
  }

  function askAgain(): void {
    if (gone === undefined && !nc.isClosed()) ask();
  }

  function ask(): void {
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, request, { reply: `${inbox}.${pulls}` });
  }

  async function heard(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new ReaderGone('the broker does not answer')), ANSWER_MS);
    wake = resolve;
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    key,
    position: 0,
    async next() {
      for (;;) {
        const message = buffer[head];
        if (message !== undefined) {
          head++;
          if (head === buffer.length) [buffer, head] = [[], 0];
          return message;
        }
        if (gone !== undefined) throw gone;
        if (coming > 0) await heard();
        else if (foundEnd > before) return undefined;
        else pull();
      }
    },
    putBack(message) {
      if (head > 0) buffer[--head] = message;
      else buffer.unshift(message);
    },
    begin() {
      before = pulls;
    },
    readAhead() {
      if (gone === undefined && coming === 0 && buffer.length - head < AHEAD_RECORDS) pull();
    },
    close() {
      gone ??= new ReaderGone('it was closed');
      wake();
      subscription.unsubscribe();
      if (!nc.isClosed()) jsm.consumers.delete(stream, name).catch(() => {});
    },
  };
}
