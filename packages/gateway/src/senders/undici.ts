/**
 * The Sender on undici. `dispatch()` with one handler object per request: no streams, no promise but the caller's.
 *
 * No timer belongs to a request. undici's own header and body timeouts are off (they can't see one byte a second); one
 * tick looks through what is in flight and ends what is past its deadline.
 */
import type { Dispatcher } from 'undici';
import { parseRetryAfter } from '@millrace/core/retry-schedule';
import type { Clock, Timer } from '../ports/clock.ts';
import type { SendError, Sender, SendRequest, SendResult } from '../ports/sender.ts';
import { type Connect, createConnect } from './connect.ts';
import { createLines, type Line, type Lines, type Passenger } from './lines.ts';
import { sendErrorOf } from './send-errors.ts';

/** Connections to one origin: as many as one subscription may have deliveries under way. Past it, requests wait inside their timeout. */
export const CONNECTIONS_MAX = 1_024;
/** Of an answer's body. What comes after is dropped with the connection. */
export const ANSWER_BYTES_MAX = 16_384;
/** Of everything that comes in for one request: what is neither header nor body, such as chunk extensions, ends here. */
export const ANSWER_WIRE_BYTES_MAX = 1_048_576;
/** Answers with a 1xx before the real one. Nobody asked for any. */
export const INTERIM_ANSWERS_MAX = 16;
export const SNIPPET_CHARS_MAX = 1_024;
/** Enough bytes for the snippet's characters: UTF-8 takes at most four each. */
const SNIPPET_BYTES_MAX = 4 * SNIPPET_CHARS_MAX;
/** How late a deadline, or too much on the wire, may be noticed. */
const TICK_MS = 100;
/** Addresses taken apart and remembered; all are forgotten at once past it. */
const ADDRESSES_MAX = 10_000;
const USER_AGENT = 'millrace/0.1';

export interface UndiciSenderOptions {
  readonly clock: Clock;
  readonly connect?: Connect;
  readonly connectionsMax?: number;
}

interface Address {
  readonly origin: string;
  readonly path: string;
}

export function createUndiciSender({
  clock,
  connect = createConnect(),
  connectionsMax = CONNECTIONS_MAX,
}: UndiciSenderOptions): Sender {
  const inFlight = new Set<Exchange>();
  const addresses = new Map<string, Address>();
  const lines = createLines({ clock, connect, connectionsMax });
  let tick: Timer | undefined;
  let closed = false;

  function addressOf(url: string): Address {
    const known = addresses.get(url);
    if (known !== undefined) return known;
    if (addresses.size >= ADDRESSES_MAX) addresses.clear();
    const { origin, pathname, search } = new URL(url);
    const address = { origin, path: pathname + search };
    addresses.set(url, address);
    return address;
  }

  function look(): void {
    tick = undefined;
    const now = clock.monotonic();
    for (const exchange of inFlight) exchange.look(now);
    watch();
  }

  function watch(): void {
    if (tick === undefined && inFlight.size > 0) tick = clock.after(TICK_MS, look);
  }

  return {
    send: (request) =>
      new Promise((resolve) => {
        const exchange = new Exchange({ request, address: addressOf(request.url), lines, clock }, (result) => {
          inFlight.delete(exchange);
          resolve(result);
        });
        if (closed) return exchange.abort();
        inFlight.add(exchange);
        watch();
        exchange.begin();
      }),
    async close() {
      closed = true;
      for (const exchange of inFlight) exchange.abort();
      tick?.cancel();
      await lines.close();
    },
  };
}

interface Needs {
  readonly request: SendRequest;
  readonly address: Address;
  readonly lines: Lines;
  readonly clock: Clock;
}

/** One request with its answer. A class, because undici calls it ten times per delivery: closures would be made anew for each. */
class Exchange implements Dispatcher.DispatchHandler, Passenger {
  settled = false;
  readonly #deadline: number;
  readonly #needs: Needs;
  readonly #done: (result: SendResult) => void;
  readonly #startedAt: number;
  #line: Line | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #again = false;
  #answering = false;
  #interim = 0;
  /** What the line had brought when it was first looked at, so that it costs nothing where an answer is quick. */
  #readBefore: number | undefined;
  #status = 0;
  #retryAfterMs: number | undefined;
  #received = 0;
  #kept: Buffer[] = [];

  constructor(needs: Needs, done: (result: SendResult) => void) {
    this.#needs = needs;
    this.#done = done;
    this.#startedAt = needs.clock.monotonic();
    this.#deadline = this.#startedAt + needs.request.timeoutMs;
  }

  begin(): void {
    this.#needs.lines.take(this.#needs.address.origin, this);
  }

  ride(line: Line): void {
    const { request, address } = this.#needs;
    this.#line = line;
    line.dispatch({ path: address.path, method: 'POST', headers: flat(request.headers), body: request.body }, this);
  }

  look(now: number): void {
    if (this.#deadline <= now) return this.#endLate();
    if (this.#controller === undefined) return;
    const read = this.#line?.bytesRead ?? 0;
    this.#readBefore ??= read;
    if (read - this.#readBefore > ANSWER_WIRE_BYTES_MAX)
      this.#refuse(`more than ${ANSWER_WIRE_BYTES_MAX} bytes came, but no whole answer`);
  }

  #endLate(): void {
    const { timeoutMs } = this.#needs.request;
    if (this.#line !== undefined && this.#controller === undefined && !this.#line.connected)
      this.#fail('connect_timeout', `no connection within ${timeoutMs} ms`);
    else
      this.#fail(
        'timeout',
        `${this.#status === 0 ? 'no answer' : `status ${this.#status}, but no whole answer`} within ${timeoutMs} ms`,
      );
    this.#drop();
  }

  abort(): void {
    this.#fail('aborted', 'the gateway stopped the request');
    this.#drop();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Given up while it waited for the connection: throwing is undici's way to take it off one without closing that.
    if (this.settled) throw new Error('given up before it was sent');
    this.#controller = controller;
  }

  onResponseStarted(): void {
    this.#answering = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) {
      if (++this.#interim > INTERIM_ANSWERS_MAX) this.#refuse(`more than ${INTERIM_ANSWERS_MAX} interim answers (1xx)`);
      return;
    }
    this.#status = status;
    const value = headers['retry-after'];
    if (value !== undefined)
      this.#retryAfterMs = parseRetryAfter(Array.isArray(value) ? value[0] : value, this.#needs.clock.now());
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // Of a delivered event nobody reads the answer.
    if (this.#status >= 300 && this.#received < SNIPPET_BYTES_MAX) this.#kept.push(chunk);
    this.#received += chunk.length;
    if (this.#received <= ANSWER_BYTES_MAX) return;
    this.#answer();
    this.#drop();
  }

  onResponseEnd(): void {
    this.#line?.free(true);
    this.#answer();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const started = this.#controller !== undefined;
    const kind = sendErrorOf(error, { started, secure: this.#needs.address.origin.startsWith('https:') });
    const again = kind === 'reset' && !this.settled && this.#isStaleConnection();
    this.#line?.free(false);
    if (again) this.#sendAgain();
    else this.#fail(kind, detailOf(error, this.#status));
  }

  /**
   * The receiver closed a connection it had kept idle, just as it was used again. Certain only where that connection had
   * brought an answer before and not one byte of this one; and only once.
   */
  #isStaleConnection(): boolean {
    return !this.#again && !this.#answering && this.#controller !== undefined && (this.#line?.answers ?? 0) > 0;
  }

  #sendAgain(): void {
    this.#again = true;
    this.#controller = undefined;
    this.#line = undefined;
    this.#readBefore = undefined;
    this.begin();
  }

  #answer(): void {
    this.#settle({
      status: this.#status,
      durationMs: this.#durationMs(),
      ...(this.#retryAfterMs === undefined ? {} : { retryAfterMs: this.#retryAfterMs }),
      ...(this.#kept.length === 0 ? {} : { snippet: snippetOf(this.#kept) }),
    });
  }

  #refuse(detail: string): void {
    this.#fail('protocol', detail);
    this.#drop();
  }

  #fail(error: SendError, detail: string): void {
    this.#settle({ error, detail, durationMs: this.#durationMs() });
  }

  #settle(result: SendResult): void {
    if (this.settled) return;
    this.settled = true;
    this.#done(result);
  }

  /** Closes the connection, where one was taken already. */
  #drop(): void {
    this.#controller?.abort(new Error('given up'));
  }

  /** In hundredths: the rest is noise, and it is written down for every attempt. */
  #durationMs(): number {
    return Math.round((this.#needs.clock.monotonic() - this.#startedAt) * 100) / 100;
  }
}

/** undici's fastest form: names and values in turn. */
function flat(headers: Readonly<Record<string, string>>): string[] {
  const list = ['user-agent', headers['user-agent'] ?? USER_AGENT];
  for (const name in headers) if (name !== 'user-agent') list.push(name, headers[name] as string);
  return list;
}

function snippetOf(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).subarray(0, SNIPPET_BYTES_MAX).toString('utf8').slice(0, SNIPPET_CHARS_MAX).toWellFormed();
}

function detailOf(error: Error, status: number): string {
  const { code } = error as { readonly code?: unknown };
  const what = messageOf(error);
  const isNews = typeof code === 'string' && code !== 'blocked_address' && !what.includes(code);
  return `${status === 0 ? '' : `status ${status}, then `}${what}${isNews ? ` (${code})` : ''}`;
}

/** Of several addresses that were tried, each has its own. */
function messageOf(error: Error): string {
  if (error instanceof AggregateError) return (error.errors as readonly Error[]).map(messageOf).join('; ');
  return error.message === '' ? error.name : error.message;
}
