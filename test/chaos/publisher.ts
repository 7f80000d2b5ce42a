/** A publisher that gives nothing up: what was not answered 202 is sent again, with the same ids. */
import type { Random } from '../simulation/random.ts';
import type { Book, Published } from './book.ts';
import type { Ready } from './process.ts';
import { FAILING_KEYS, TOPICS } from './subscriptions.ts';
import { createSignal, pass } from './waiting.ts';

export interface Publisher {
  /** Requests without an answer. */
  readonly inFlight: number;
  readonly isBatch: boolean;
  /** Resolves when the next request is on its way. */
  sent(): Promise<void>;
  /** Publishes until stopped. Resolves then, with everything it had begun answered 202. */
  run(): Promise<void>;
  stop(): void;
  /** One event per topic, answered 202 when it resolves. */
  once(): Promise<void>;
}

export interface PublisherSettings {
  readonly name: string;
  /** Events of a request; with 1 it is no batch. */
  readonly size: number;
  /** From an answer to the next request, on average. */
  readonly gapMs: number;
  /** Added to every payload at most. */
  readonly padBytes: number;
}

interface Needs extends PublisherSettings {
  readonly book: Book;
  readonly random: Random;
  /** A gateway that takes requests, now or once there is one; rejects when there will be none. */
  readonly up: () => Promise<Ready>;
  /** Resolves when no more is waiting for receivers than they can soon take. */
  readonly room: () => Promise<void>;
}

const KEYS = 32;
/** Of some keys deliveries often fail: with more of their events, these would wait for one another for ever. */
const FAILING_KEY_SHARE = 0.25;
const KEYLESS_SHARE = 0.1;
/** As a client that hopes for better times soon. */
const AGAIN_MS = 50;
/** Longer than any answer takes, short enough to be given up while a gateway is stopped. */
const TIMEOUT_MS = 10_000;

export function createPublisher({ name, size, gapMs, padBytes, book, random, up, room }: Needs): Publisher {
  const isBatch = size > 1;
  const sending = createSignal();
  let count = 0;
  let inFlight = 0;
  let stopped = false;

  function write(topic: string): Published {
    const n = count++;
    const key = random.chance(KEYLESS_SHARE) ? undefined : keyOf();
    const data = JSON.stringify({ n, key, pad: 'x'.repeat(random.int(0, padBytes)) });
    const event = { id: `${name}-${n}`, publisher: name, n, topic, key, data, position: undefined };
    book.publish(event);
    return event;
  }

  function keyOf(): string {
    const [low, high] = random.chance(FAILING_KEY_SHARE) ? [0, FAILING_KEYS - 1] : [FAILING_KEYS, KEYS - 1];
    return `${name}-k${random.int(low, high)}`;
  }

  /** Until all are answered 202. The next request is made only then, so that the log's order is this publisher's. */
  async function publish(events: readonly Published[]): Promise<void> {
    for (let open = events; open.length > 0; open = open.filter(({ position }) => position === undefined)) {
      if (open !== events) await pass(AGAIN_MS);
      const gateway = await up();
      inFlight++;
      const answer = send(gateway, open);
      sending.fire();
      const how = await answer.finally(() => inFlight--);
      book.answered(how);
    }
  }

  async function send({ address, key }: Ready, events: readonly Published[]): Promise<string> {
    let response: Response;
    let answer: Answer;
    try {
      response = await fetch(`${address}/v1/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': isBatch ? BATCH : STRUCTURED },
        body: isBatch ? `[${events.map(encode).join(',')}]` : events.map(encode).join(''),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      answer = (await response.json()) as Answer;
    } catch (error) {
      return brokenBy(error);
    }
    if (response.status !== 202) return refusal(response.status, answer);
    const results = isBatch ? (answer.results ?? []) : [answer];
    if (results.length !== events.length) book.breach(`${events.length} events were answered by ${results.length} results`);
    return results.map((result, at) => note(events[at], result)).find((how) => how !== '202') ?? '202';
  }

  function note(event: Published | undefined, result: Result): string {
    if (event === undefined) return '202';
    if (result.problem !== undefined) return refusal(202, result.problem);
    if (result.id !== event.id) book.breach(`${event.id} was answered as ${result.id}`);
    book.acknowledged(event, String(result.position));
    return '202';
  }

  /** What is only now so is tried again; all else means that the gateway misunderstood a good request. */
  function refusal(status: number, { code = `${status}` }: Answer): string {
    if (!PASSING.has(code)) book.breach(`a publish of ${name} was answered ${status} ${code}`);
    return code;
  }

  return {
    isBatch,
    get inFlight() {
      return inFlight;
    },
    sent: () => sending.next(),
    async run() {
      const topics = Object.values(TOPICS);
      while (!stopped) {
        await room();
        await publish(
          Array.from({ length: size }, () => write(topics[random.chance(0.15) ? 2 : random.int(0, 1)] ?? TOPICS.orders)),
        );
        await pass(random.gap(gapMs));
      }
    },
    stop: () => void (stopped = true),
    async once() {
      for (const topic of Object.values(TOPICS)) await publish([write(topic)]);
    },
  };
}

const STRUCTURED = 'application/cloudevents+json';
const BATCH = 'application/cloudevents-batch+json';
const PASSING: ReadonlySet<string> = new Set([
  'log_full',
  'log_unavailable',
  'ledger_unavailable',
  'overloaded',
  'shutting_down',
  'in_flight',
  '503',
]);

interface Answer extends Result {
  readonly results?: readonly Result[];
  /** Of a problem. */
  readonly code?: string;
}

interface Result {
  readonly id?: string;
  readonly status?: unknown;
  readonly position?: string;
  readonly problem?: { readonly code?: string };
}

/** Its bytes are the same every time: an id that comes again with other content is refused. */
export function encode({ id, publisher, topic, key, data }: Published): string {
  const attributes = { specversion: '1.0', id, source: `/chaos/${publisher}`, type: topic, partitionkey: key };
  return `${JSON.stringify(attributes).slice(0, -1)},"data":${data}}`;
}

function brokenBy(error: unknown): string {
  const { name, cause } = error as { readonly name?: string; readonly cause?: { readonly code?: string } };
  if (name === 'TimeoutError') return 'timeout';
  return cause?.code === 'ECONNREFUSED' ? 'refused' : 'cut';
}
