/**
 * The Sender on undici. `dispatch()` with one handler object per request: no streams, no promise but the caller's.
 *
 * No timer belongs to a request. undici's own header and body timeouts are off (they can't see one byte a second); one
 * tick looks through what is in flight and ends what is past its deadline.
 */
import { Agent, Client, type Dispatcher, Pool } from 'undici';
import { parseRetryAfter } from '@millrace/core/retry-schedule';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Sender, SendRequest, SendResult } from '../ports/sender.ts';
import { type Connect, createConnect } from './connect.ts';
import { sendErrorOf } from './send-errors.ts';

/** Connections to one origin: as many as one subscription may have deliveries under way. Past it, requests wait inside their timeout. */
export const CONNECTIONS_MAX = 1_024;
/** Of an answer's body. What comes after is dropped with the connection. */
export const ANSWER_BYTES_MAX = 16_384;
export const SNIPPET_CHARS_MAX = 1_024;
/** Enough bytes for the snippet's characters: UTF-8 takes at most four each. */
const SNIPPET_BYTES_MAX = 4 * SNIPPET_CHARS_MAX;
/** How late a deadline may be noticed. */
const TICK_MS = 100;
const KEEP_ALIVE_MS = 15_000;
/** A connection is given up at this age, so that an endpoint which moved is found again by DNS. */
const CONNECTION_AGE_MS = 300_000;
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

export function createUndiciSender({ clock, connect = createConnect(), connectionsMax = CONNECTIONS_MAX }: UndiciSenderOptions): Sender {
  const inFlight = new Set<Exchange>();
  const addresses = new Map<string, Address>();
  const agent = new Agent({
    factory: (origin, options) => new Pool(origin, { ...options, factory: (url, its) => new Line(url, its) }),
    connect,
    allowH2: false,
    connections: connectionsMax,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    clientTtl: CONNECTION_AGE_MS,
    headersTimeout: 0,
    bodyTimeout: 0,
  });
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

  function endLate(): void {
    tick = undefined;
    const now = clock.monotonic();
    for (const exchange of inFlight) if (exchange.deadline <= now) exchange.endLate();
    watch();
  }

  function watch(): void {
    if (tick === undefined && inFlight.size > 0) tick = clock.after(TICK_MS, endLate);
  }

  return {
    send: (request) =>
      new Promise((resolve) => {
        const exchange = new Exchange({ request, address: addressOf(request.url), agent, clock }, (result) => {
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
      await agent.destroy();
    },
  };
}

/** One connection at a time to an origin, which knows how many answers the present one has brought. */
class Line extends Client {
  answers = 0;
  connected = false;

  constructor(origin: string | URL, options: object) {
    super(origin, options);
    this.on('connect', () => {
      this.answers = 0;
      this.connected = true;
    });
    this.on('disconnect', () => {
      this.connected = false;
    });
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (handler instanceof Exchange) handler.line = this;
    return super.dispatch(options, handler);
  }
}

interface Needs {
  readonly request: SendRequest;
  readonly address: Address;
  readonly agent: Agent;
  readonly clock: Clock;
}

/** One request with its answer. A class, because undici calls it ten times per delivery: closures would be made anew for each. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly deadline: number;
  line: Line | undefined;
  readonly #needs: Needs;
  readonly #done: (result: SendResult) => void;
  readonly #startedAt: number;
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #again = false;
  #answering = false;
  #status = 0;
  #retryAfterMs: number | undefined;
  #received = 0;
  #kept: Buffer[] = [];

  constructor(needs: Needs, done: (result: SendResult) => void) {
    this.#needs = needs;
    this.#done = done;
    this.#startedAt = needs.clock.monotonic();
    this.deadline = this.#startedAt + needs.request.timeoutMs;
  }

  begin(): void {
    const { request, address, agent } = this.#needs;
    agent.dispatch({ origin: address.origin, path: address.path, method: 'POST', headers: flat(request.headers), body: request.body }, this);
  }

  endLate(): void {
    const { timeoutMs } = this.#needs.request;
    const connecting = this.#controller === undefined && this.line !== undefined && !this.line.connected;
    if (connecting) this.#fail('connect_timeout', `no connection within ${timeoutMs} ms`);
    else this.#fail('timeout', this.#status === 0 ? `no answer within ${timeoutMs} ms` : `status ${this.#status}, but no whole answer within ${timeoutMs} ms`);
    this.#drop();
  }

  abort(): void {
    this.#fail('aborted', 'the gateway stopped the request');
    this.#drop();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Given up while it waited for a connection: throwing is undici's way to take it off one without closing that.
    if (this.#settled) throw new Error('given up before it was sent');
    this.#controller = controller;
  }

  onResponseStarted(): void {
    this.#answering = true;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>): void {
    if (status < 200) return;
    this.#status = status;
    const value = headers['retry-after'];
    if (value !== undefined) this.#retryAfterMs = parseRetryAfter(Array.isArray(value) ? value[0] : value, this.#needs.clock.now());
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
    if (this.line !== undefined) this.line.answers += 1;
    this.#answer();
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#settled) return;
    const started = this.#controller !== undefined;
    const kind = sendErrorOf(error, { started, secure: this.#needs.address.origin.startsWith('https:') });
    if (kind === 'reset' && this.#isStaleConnection()) return this.#sendAgain();
    this.#fail(kind, detailOf(error, this.#status));
  }

  /**
   * The receiver closed a connection it had kept idle, just as it was used again. Certain only where that connection had
   * brought an answer before and not one byte of this one; and only once.
   */
  #isStaleConnection(): boolean {
    return !this.#again && !this.#answering && this.#controller !== undefined && (this.line?.answers ?? 0) > 0;
  }

  #sendAgain(): void {
    this.#again = true;
    this.#controller = undefined;
    this.line = undefined;
    this.begin();
  }

  #answer(): void {
    const snippet = this.#kept.length === 0 ? undefined : Buffer.concat(this.#kept).subarray(0, SNIPPET_BYTES_MAX).toString('utf8').slice(0, SNIPPET_CHARS_MAX).toWellFormed();
    this.#settle({
      status: this.#status,
      durationMs: this.#durationMs(),
      ...(this.#retryAfterMs === undefined ? {} : { retryAfterMs: this.#retryAfterMs }),
      ...(snippet === undefined ? {} : { snippet }),
    });
  }

  #fail(error: Extract<SendResult, { error: unknown }>['error'], detail: string): void {
    this.#settle({ error, detail, durationMs: this.#durationMs() });
  }

  #settle(result: SendResult): void {
    if (this.#settled) return;
    this.#settled = true;
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

function detailOf(error: Error, status: number): string {
  const code = (error as { readonly code?: unknown }).code;
  const what = error.message === '' ? error.name : error.message;
  return `${status === 0 ? '' : `status ${status}, then `}${what}${typeof code === 'string' && !what.includes(code) ? ` (${code})` : ''}`;
}
