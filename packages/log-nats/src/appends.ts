/**
 * Appends: every entry is one message, many in flight, each with an id by which the broker knows it again. An entry whose answer
 * did not come is sent again under the same id until it is known to be stored, so that it is never stored twice; all that
 * came after it waits meanwhile, so that order is kept.
 *
 * What this can't do is take back: when a call is given up, some of its entries may be stored. Sent again with their dedupe
 * keys they are duplicates.
 */
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import { createInbox } from '@nats-io/transport-node';
import { createHash } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import type { Appended, Entry } from '@millrace/gateway/ports/log';
import { bodyOf, headersOf } from './binding.ts';
import type { Call } from './calls.ts';
import { createCalls } from './calls.ts';
import { headerBlockOf } from './delivery.ts';
import { readStatus } from './headers.ts';
import type { BrokerError } from './problems.ts';
import { refusalOf, unavailable } from './problems.ts';

export interface Appends {
  add(entries: readonly Entry[]): Promise<readonly Appended[]>;
  /** All that was sent is not known to have come. Sending stands still until `resume`. */
  suspend(): void;
  resume(): void;
  /** Rejects whoever waits. */
  giveUp(reason: unknown): void;
}

/** What the message that holds a dedupe key says. */
export interface FirstUse {
  readonly append: string | undefined;
  readonly digest: string | undefined;
  readonly timeMs: number;
  readonly id: string;
}

interface Needs {
  readonly nc: NatsConnection;
  readonly shard: string;
  readonly subjectOf: (entry: Entry) => string;
  readonly covers: (subject: string) => boolean;
  /** Has the stream capture a subject. */
  readonly declare: (subject: string) => Promise<void>;
  /** The times of these sequences, once we have seen them in the log ourselves. */
  readonly timesOf: (sequences: readonly number[]) => Promise<readonly number[]>;
  /** Undefined where the message is gone. */
  readonly firstUse: (sequence: number) => Promise<FirstUse | undefined>;
  readonly positionOf: (sequence: number) => string;
  /** A message found nobody, or no answer came: looks whether the stream is there. */
  readonly check: () => Promise<void>;
  readonly now: () => number;
}

/** As much as keeps the broker busy over a slow line; more only waits in its memory instead of ours. */
const IN_FLIGHT_MAX = 2_048;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
/** No answer to anything for so long: those that are missing were lost with the server that took them. A slow one answers, one after the other. */
const ANSWER_MS = 2_000;
const LOOK_MS = 500;
const AGAIN_MS = 100;
const KEY_BYTES_MAX = 512;

interface Message {
  readonly call: Call;
  readonly at: number;
  readonly number: number;
  readonly subject: string;
  messageId: string;
  sentMs: number;
}

export function createAppends(needs: Needs): Appends {
  const { nc, shard, subjectOf, covers, positionOf } = needs;
  const inbox = createInbox();
  /** Names this process's appends among all: a repeat of one of ours is told from the same key of somebody else. */
  const own = crypto.randomUUID().replaceAll('-', '');
  const calls = createCalls(needs);
  const inFlight = new Map<number, Message>();
  let waiting: Message[] = [];
  let head = 0;
  let again: Message[] = [];
  let bytesInFlight = 0;
  let count = 0;
  let highest = 0;
  let answeredMs = 0;
  let stands = false;
  let isGoingAgain = false;
  let standing: 'declaring' | 'waiting' | undefined;
  let timer: NodeJS.Timeout | undefined;

  nc.subscribe(`${inbox}.*`, { callback: (error, message) => void (error ?? answered(message)) });

  function pump(): void {
    if (again.length > 0 && inFlight.size === 0 && !stands && !isGoingAgain) void goAgain();
    while (!stands && standing === undefined && inFlight.size < IN_FLIGHT_MAX && bytesInFlight < IN_FLIGHT_BYTES_MAX) {
      const message = waiting[head];
      if (message === undefined) break;
      if (!message.call.isOver && !covers(message.subject)) return void declareFor(message);
      head++;
      if (!message.call.isOver) send(message);
    }
    if (head > 1_024 && head * 2 > waiting.length) [waiting, head] = [waiting.slice(head), 0];
    watch();
  }

  function send(message: Message): void {
    const entry = message.call.entries[message.at]!;
    const body = bodyOf(entry.event);
    const headers = headersOf(entry, `${own}-${message.number}`, message.messageId);
    const bytesMax = nc.info?.max_payload;
    if (bytesMax !== undefined && headers.length + body.length > bytesMax)
      return calls.refuse(message.call, new Problem('payload_too_large', `NATS takes messages of ${bytesMax} bytes`));
    message.sentMs = performance.now();
    inFlight.set(message.number, message);
    bytesInFlight += entry.bytes.length;
    try {
      // The client only ever asks headers for their bytes, and building its own costs more than all the rest of a publish.
      const encoded = { encode: () => headers } as unknown as MsgHdrs;
      nc.publish(message.subject, body, { reply: `${inbox}.${message.number}`, headers: encoded });
    } catch (error) {
      land(message);
      calls.refuse(message.call, unavailable(error, 'NATS does not take the event'));
    }
  }

  function land(message: Message): void {
    if (inFlight.delete(message.number)) bytesInFlight -= message.call.entries[message.at]!.bytes.length;
  }

  function answered(answer: Msg): void {
    const message = inFlight.get(Number(answer.subject.slice(inbox.length + 1)));
    if (message === undefined) return;
    land(message);
    answeredMs = performance.now();
    // Nobody captures the subject, or the stream has no leader at the moment.
    if (answer.data.length === 0 && readStatus(headerBlockOf(answer)).code === 503) return retry(message);
    const { seq, duplicate, error } = JSON.parse(decoder.decode(answer.data)) as Answer;
    if (error !== undefined) judge(message, error);
    else if (duplicate === true) void repeated(message, seq);
    else if (seq <= highest) {
      // Only a stream that was made anew counts down: its places are none of this log.
      retry(message);
    } else {
      highest = seq;
      calls.settle(message.call, message.at, { sequence: seq });
    }
    pump();
  }

  function judge(message: Message, error: BrokerError): void {
    const refusal = refusalOf(error);
    if (refusal.kind === 'again') retry(message);
    else calls.refuse(message.call, refusal.problem);
  }

  /** The id was there already: by a try of ours whose answer was lost, or as the dedupe key of an earlier append. */
  async function repeated(message: Message, sequence: number): Promise<void> {
    const { call, at } = message;
    const { dedupe, event } = call.entries[at]!;
    if (dedupe === undefined) return calls.settle(call, at, { sequence });
    try {
      const first = await needs.firstUse(sequence);
      if (first?.append === `${own}-${message.number}`) calls.settle(call, at, { sequence });
      else if (first !== undefined && first.timeMs + dedupe.windowMs <= needs.now()) useAnew(message, sequence);
      else if (first !== undefined && first.digest !== dedupe.digest) calls.settle(call, at, { status: 'conflict' });
      // The event is gone, the broker still knows its id: what was sent then can't be compared any more.
      else {
        const { timeMs, id } = first ?? { timeMs: needs.now(), id: event.id };
        calls.settle(call, at, { status: 'duplicate', shard, position: positionOf(sequence), timeMs, id });
      }
    } catch (error) {
      calls.refuse(call, unavailable(error));
    }
  }

  /** The broker remembers longer than this key was to be remembered: its next use goes by an id that all nodes make alike. */
  function useAnew(message: Message, sequence: number): void {
    message.messageId = `${message.messageId}@${sequence}`;
    waiting.splice(head, 0, message);
    pump();
  }

  /** Once nothing is in flight, what did not arrive goes again, in its order, before anything else. */
  function retry(message: Message): void {
    again.push(message);
    standing ??= 'waiting';
    pump();
  }

  async function goAgain(): Promise<void> {
    isGoingAgain = true;
    await new Promise<void>((resolve) => setTimeout(resolve, AGAIN_MS));
    await needs.check();
    isGoingAgain = false;
    goOn();
  }

  function goOn(): void {
    if (standing === 'declaring') return;
    putBack();
    standing = undefined;
    pump();
  }

  function putBack(): void {
    const back = again.filter(({ call }) => !call.isOver).sort((a, b) => a.number - b.number);
    again = [];
    waiting = [...back, ...waiting.slice(head)];
    head = 0;
  }

  async function declareFor({ call, subject }: Message): Promise<void> {
    standing = 'declaring';
    try {
      await needs.declare(subject);
    } catch (error) {
      calls.giveUp(call, unavailable(error));
    }
    standing = undefined;
    goOn();
  }

  /** As long as anybody waits, what has waited too long is looked for. */
  function watch(): void {
    if (timer !== undefined || calls.size === 0) return;
    timer = setTimeout(() => {
      timer = undefined;
      calls.giveUpLate();
      const nowMs = performance.now();
      for (const message of Array.from(inFlight.values()))
        if (nowMs - Math.max(message.sentMs, answeredMs) > ANSWER_MS) {
          land(message);
          retry(message);
        }
      pump();
    }, LOOK_MS);
  }

  return {
    add(entries) {
      if (entries.length === 0) return Promise.resolve([]);
      const tooLong = entries.find(({ dedupe }) => dedupe !== undefined && isTooLong(dedupe.key));
      if (tooLong !== undefined)
        return Promise.reject(new Problem('invalid_request', `An idempotency key has at most ${KEY_BYTES_MAX} bytes`));
      const { call, done } = calls.begin(entries);
      for (const [at, entry] of entries.entries()) {
        const number = ++count;
        const messageId = entry.dedupe === undefined ? `${own}-${number}` : messageIdOf(entry, entry.dedupe.key);
        waiting.push({ call, at, number, subject: subjectOf(entry), messageId, sentMs: 0 });
      }
      pump();
      return done;
    },
    suspend() {
      stands = true;
      again.push(...inFlight.values());
      inFlight.clear();
      bytesInFlight = 0;
    },
    resume() {
      stands = false;
      goOn();
    },
    giveUp(reason) {
      calls.giveUpAll(reason);
      inFlight.clear();
      bytesInFlight = 0;
      again = [];
      waiting = [];
      head = 0;
    },
  };
}

const decoder = new TextDecoder();

interface Answer {
  readonly seq: number;
  readonly duplicate?: boolean;
  readonly error?: BrokerError;
}

/** Ids are known to the whole stream, and the broker keeps each in memory: whose key it is goes into a digest of fixed length. */
function messageIdOf({ environment, app }: Entry, key: string): string {
  return createHash('sha256')
    .update(JSON.stringify([environment, app, key]))
    .digest('base64url');
}

function isTooLong(key: string): boolean {
  // A code unit has at most three bytes: nearly every key is short enough without counting.
  return key.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(key) > KEY_BYTES_MAX;
}
