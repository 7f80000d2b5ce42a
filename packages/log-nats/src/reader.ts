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

const PULL_RECORDS = 512;
const PULL_BYTES = 2 * 1024 * 1024;
/** More is asked for when less than this is here or on its way: the broker is never waited for, and two pulls' bytes are held at most. */
const AHEAD_RECORDS = 1_024;
const READ_AHEAD_EVERY = 64;
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
  let buffer: Delivered[] = [];
  let head = 0;
  let delivery = 0;
  let pulls = 0;
  /** Pulls under way, which the server serves in their order, with what each may still bring. */
  let underWay: { readonly number: number; left: number; hasBrought: boolean }[] = [];
  /** The last pull that came to the end of what there was. */
  let foundEnd = 0;
  /** The last pull before this page: what it did not find may have come since. */
  let before = 0;
  /** The next message is larger than all that a pull asks for. */
  let isLarge = false;
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
    isLarge = false;
    if (delivered.delivery !== ++delivery) gone = new ReaderGone('a message was lost on the way');
    buffer.push(delivered);
    const pull = underWay[0];
    if (pull === undefined) return;
    pull.hasBrought = true;
    if (--pull.left > 0 && delivered.pending > 0) return;
    underWay.shift();
    if (delivered.pending === 0) foundEnd = pull.number;
  }

  function ended(message: Msg): void {
    // One that has brought its last may be told so later.
    const pull = underWay.find(({ number }) => message.subject === `${inbox}.${number}`);
    if (pull === undefined) return;
    const { code, text } = readStatus(headerBlockOf(message));
    if (code === NOBODY && !isKnown && ++unheard <= UNHEARD_MAX) return void setTimeout(askAgain, UNHEARD_MS, pull.number);
    isKnown = true;
    if (code === 404) foundEnd = pull.number;
    else if (text.includes('maxbytes')) isLarge = !pull.hasBrought;
    else if (code !== 408) gone = new ReaderGone(`${code} ${text}`);
    underWay = underWay.filter(({ number }) => number > pull.number);
  }

  function pull(): void {
    const left = isLarge ? 1 : PULL_RECORDS;
    underWay.push({ number: ++pulls, left, hasBrought: false });
    ask(pulls);
  }

  function askAgain(number: number): void {
    if (gone === undefined && !nc.isClosed()) ask(number);
  }

  function ask(number: number): void {
    const request = isLarge ? { batch: 1, no_wait: true } : { batch: PULL_RECORDS, max_bytes: PULL_BYTES, no_wait: true };
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, JSON.stringify(request), { reply: `${inbox}.${number}` });
  }

  function onItsWay(): number {
    return underWay.reduce((sum, { left }) => sum + left, 0);
  }

  /** Unless the end was found since the page began: then there is nothing to ask for. */
  function readAhead(): void {
    if (gone === undefined && foundEnd <= before && buffer.length - head + onItsWay() < AHEAD_RECORDS) pull();
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
          if (head % READ_AHEAD_EVERY === 0) readAhead();
          if (head === buffer.length) [buffer, head] = [[], 0];
          return message;
        }
        if (gone !== undefined) throw gone;
        if (foundEnd > before && underWay.length === 0) return undefined;
        if (underWay.length === 0) pull();
        else await heard();
      }
    },
    putBack(message) {
      if (head > 0) buffer[--head] = message;
      else buffer.unshift(message);
    },
    begin() {
      before = pulls;
    },
    readAhead,
    close() {
      gone ??= new ReaderGone('it was closed');
      wake();
      subscription.unsubscribe();
      if (!nc.isClosed()) jsm.consumers.delete(stream, name).catch(() => {});
    },
  };
}
