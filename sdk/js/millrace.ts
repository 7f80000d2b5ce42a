/**
 * Millrace for JavaScript, in one file without dependencies: publish, subscribe, acknowledge; sign, verify and receive webhooks.
 * Browsers, Node 20 and newer, Deno, Bun, Workers, React Native, webviews: Web APIs only, and where one is missing, an error that says so.
 *
 *   const gateway = connect({ url, getToken, transports: [ws, sse] });
 *   await gateway.sendEvent({ type: 'orders.paid', data: { id: 17 } });
 *   gateway.subscribe('orders.*', async (event) => save(event), { group: 'mailer' });   // resolves: acked; throws: comes again
 *   export const POST = receiver({ secrets: [secret], store: memoryStore(), handle });   // a webhook's endpoint
 *
 * In this order: types, errors, connect (the conversation, then what runs it), transports, publish, sign and verify, receiver, seen-stores.
 * Names end in their unit. What the frames mean is told in spec/protocol.md; `conversation` knows no network, no timer and no promise, so that
 * spec/vectors/realtime can hold it, and its siblings in other languages, to it.
 */

// ── types ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An event to publish: CloudEvents attributes, of which only `type` must be there. Extension attributes have lower-case names. */
export interface EventDraft {
  readonly type: string;
  /** Anything that JSON can hold. */
  readonly data?: unknown;
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  /** Events of one key stay in order. */
  readonly partitionkey?: string;
  readonly [attribute: string]: unknown;
}

/** An event as it arrives. Bytes that are no JSON stand in `data_base64`. */
export interface ReceivedEvent extends EventDraft {
  readonly id: string;
  readonly source: string;
  readonly data_base64?: string;
}

export interface SendOptions {
  /** One key, one event, however often it is sent (24 h): 1 to 255 bytes. Default: what the gateway knows an event by, its id with its source; the id is made up where there is none. */
  readonly idempotencyKey?: string;
  /** W3C Trace Context; made up where it is absent. */
  readonly traceparent?: string;
  readonly signal?: AbortSignal;
  /** After the first attempt. Default 3. */
  readonly retries?: number;
  /** Attempts and waits in all. Default: a minute. What would have to wait for longer (a quota of the day) is rejected at once. */
  readonly budgetMs?: number;
}

export interface Receipt {
  readonly id: string;
  /** It was there already: of an earlier call with the same key. */
  readonly duplicate: boolean;
}

/** Of one of several events: where it was refused, `error` says why, and the others count. */
export type Result = Receipt | { readonly error: GatewayError };

export interface HttpOptions {
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  /** Of one attempt. Default 10,000. */
  readonly timeoutMs?: number;
  readonly hooks?: Hooks;
  readonly clock?: Clock;
}

/** Plain data for whoever measures. None of them may throw. */
export interface Hooks {
  /** Before each attempt of a call; what it returns are further headers. */
  onRequest?(call: { readonly path: string; readonly attempt: number }): Readonly<Record<string, string>> | void;
  onRetry?(retry: {
    readonly path: string;
    readonly attempt: number;
    readonly waitMs: number;
    readonly error: GatewayError;
  }): void;
  onState?(state: State): void;
  /** A gap of a subscription that has no `onGap` of its own. Where nobody listens, this and errors go to the console: they are never swallowed. */
  onGap?(gap: Gap, subscription: Subscription): void;
  /** A handler that threw, a subscription that failed, a group that has other topics, a token that was not to be had. */
  onError?(error: unknown): void;
}

/** Time and chance, for tests. */
export interface Clock {
  /** Time that has passed, at any zero; goes on in sleep. */
  nowMs(): number;
  /** Since 1970. */
  wallMs(): number;
  random(): number;
  /** Returns what cancels it. */
  after(delayMs: number, work: () => void): () => void;
}

/** A token alone, or what `POST /v1/tokens` answered. */
export type Token = string | { readonly token: string; /** ISO, or ms since 1970. */ readonly expiresAt?: string | number };

/** Why a token is asked for. */
export type TokenReason = 'connect' | 'refresh' | 'request' | 'unauthorized';

export interface ConnectOptions extends HttpOptions {
  /** Of the gateway: `https://events.example`. */
  readonly url: string;
  /** Asked on every connect, ahead of expiry and after a 401; several that need one wait for one call. UnauthorizedError stops; else it is asked again later. */
  readonly getToken?: (why: { readonly reason: TokenReason }) => Token | Promise<Token>;
  /** An API key, for servers. Refused on pages, where anybody can read it. */
  readonly key?: string;
  /** What subscriptions may use, the best first: `[ws, sse]`. Where one does not come through, the next is tried. */
  readonly transports?: readonly Transport[];
  /** Told to the gateway. */
  readonly client?: string;
  /** `telemetry`, of this file: nothing is measured without. */
  readonly telemetry?: (gateway: Gateway, http: Http) => void;
}

/** `connecting` asks for a token, too. `closed` comes by `close()`, by a code that no retry can change, or by UnauthorizedError. */
export type State =
  | { readonly state: 'idle' | 'connecting' | 'open' }
  | { readonly state: 'waiting'; readonly code: number; readonly reason: string; readonly retryMs: number }
  | { readonly state: 'closed'; readonly code: number; readonly reason: string };

export interface Gateway {
  readonly state: State;
  /** Resolves when it is durable. Throws GatewayError; `retryable` says whether it was given up or refused. */
  sendEvent(event: EventDraft, options?: SendOptions): Promise<Receipt>;
  /** At most 1,000 of them, each with an answer of its own. Their ids keep a repeated call from doubling them. */
  sendEvents(events: readonly EventDraft[], options?: SendOptions): Promise<readonly Result[]>;
  subscribe(topics: string | readonly string[], handler: Handler, options?: SubscribeOptions): Subscription;
  /** Version, clock and state of the gateway; `skewMs`: how far its clock is ahead of this one. */
  health(): Promise<{ readonly status: string; readonly version: string; readonly now: string; readonly skewMs: number }>;
  /** Checks now: connects where it waits, and begins again after a `closed` that somebody has seen to. Called by itself when a page is shown or online. */
  wake(): void;
  /** Returns what takes the listener away. */
  onState(listener: (state: State) => void): () => void;
  /** Lets handlers end and acks be confirmed; `now` does not wait. */
  close(how?: { readonly now?: boolean }): Promise<void>;
}

export type Handler = (event: ReceivedEvent, message: Message) => unknown;

export interface SubscribeOptions {
  /** The id of a durable subscription that many consumers share; it is made where it is not there. Without it: what comes while one listens, gone on from cursors. */
  readonly group?: string;
  /** Without a group `latest` (default), `last`, or cursors; for a group that is made `latest`, `earliest` or a time. */
  readonly from?: 'latest' | 'last' | 'earliest' | { readonly cursors: readonly string[] } | { readonly timeMs: number };
  /** Messages that may be here and not be done with: 1 to 10,000, default 64. A slow handler gets no more than that. */
  readonly credit?: number;
  /** Handlers at once, default 1. Two of one `partitionkey` never run at once, and in order. */
  readonly concurrency?: number;
  /** `manual`: a handler that resolves acks nothing; `message.ack()` does. */
  readonly ack?: 'auto' | 'manual';
  /** An event pattern; not with a group, which has its own. */
  readonly filter?: object;
  /** False: a group that is not there is an error. */
  readonly create?: boolean;
  /** Skips what was handled among the last 1,000. */
  readonly dedupe?: boolean;
  /** Until a delivery of the group comes again, where the gateway does not say. Default 30,000. While a handler works it is extended. */
  readonly ackWaitMs?: number;
  /** The longest that one is extended for. Default 600,000. */
  readonly workMs?: number;
  readonly onGap?: (gap: Gap, subscription: Subscription) => void;
}

/** Events are missing: from the log's side, and for a reason. */
export interface Gap {
  readonly reason: 'expired' | 'log_changed' | 'too_far' | 'unknown_cursor' | 'filter_too_costly';
  readonly fromMs?: number;
  readonly toMs?: number;
}

export interface Subscription {
  /** The gateway has begun it, for the first time. Rejects where it can't be. */
  readonly ready: Promise<void>;
  /** Where to go on from, in another life: the newest of each part of the log up to which everything was handled. */
  readonly cursors: readonly string[];
  /** Lets handlers end and acks be confirmed; `now` gives back what is here. */
  close(how?: { readonly now?: boolean }): Promise<void>;
}

/** One message in the hands of a handler. */
export interface Message {
  /** From 1; above, it came before. */
  readonly attempt: number;
  /** Of the delivery; without a group undefined. */
  readonly id: string | undefined;
  readonly idempotencyKey: string | undefined;
  /** Resolves when it is written down. Rejects with `connection_lost` or `unknown_delivery`: then it may come again. Without a group at once. */
  ack(): Promise<void>;
  /** Again after `delayMs` (else as the group's schedule says), or `dead`: never, it becomes a dead letter. */
  nack(how?: { readonly delayMs?: number; readonly reason?: string; readonly dead?: boolean }): Promise<void>;
  /** I need this much longer. While a handler runs this happens by itself. */
  extend(ms: number): void;
}

// oxlint-disable-next-line typescript/no-explicit-any -- frames come from outside, and each op has members of its own
type Frame = any;

/** Opens a connection at once, and tells `on` what comes of it. Throws GatewayError `no_transport` where the platform lacks what it needs. */
export type Transport = (dial: Dial) => { send(text: string): void; close(code: number, reason: string): void };

export interface Dial {
  readonly url: string;
  readonly token: string | undefined;
  readonly fetch: typeof fetch;
  readonly on: {
    open(): void;
    /** A frame or a list of them: of none, where it is but a sign of life. */
    message(text: string): void;
    /** 0: this transport can't be had here. */
    close(code: number, reason: string, retryAfterMs?: number): void;
  };
}

// ── bounds ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Up to here a connection has to be opened and greeted; and of silence beyond a heartbeat. */
const SILENCE_MS = 10_000;
const GOOD_MS = 30_000;
const BACKOFF_MAX_MS = 30_000;
/** Of a token's life; the gateway asks at 0.8, and this is for where it was asleep. */
const REFRESH_AT = 0.85;
const REFRESH_EVERY_MS = 5_000;
/** Between two looks whether the last delivery is acked, so that a gateway that drains can be left. */
const LINGER_MS = 100;
/** Timers stand still while a machine sleeps: looked at so often, what is due is seen soon after. */
const LOOK_MS = 10_000;
/** Frames of one message, and ids of one frame: no more than the gateway takes. */
const FRAMES_MAX = 64;
/** Ids that are known to have been handled. */
const DONE_MAX = 1_000;

/** Of a call, with its retries. */
const BUDGET_MS = 60_000;
/** Of one header: a stranger must not make us verify thousands. */
const SIGNATURES_MAX = 32;
/** Of a webhook's body, and of its claim. */
const BODY_BYTES = 1_048_576;
const CLAIM_MS = 60_000;
/** Asked of a sender whose other copy is at work here. */
const BUSY_SECONDS = '5';
/** Of a report that a webhook failed: what the gateway takes. */
const REASON_CHARS = 500;
/** What was seen is known for so long. */
const KEEP_MS = 604_800_000;
/** Of telemetry: until a gateway is asked again whether it wants any; the longest that a report may be about. */
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** How many that are too old are forgotten with each that is done, more than come in; and how many that are kept are looked at for one that is due. */
const FORGET_MAX = 8;
const LIST_MAX = 1_000;

const CLIENT = 'millrace-js/0.1';
const EVENTS = '/v1/events';
const TELEMETRY = '/v1/telemetry';

// ── errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The one error of this file. `code` is the gateway's (docs/api.md), `http_…` where an answer has none, or one of this file's: `network`, `timeout`, `no_token`, `no_transport`, `connection_lost`, `closed`, `invalid`, `other_topics`, `outbox_full`, `store_full`. */
export class GatewayError extends Error {
  /** Minified it would be another one, and that is what consoles show. */
  static override readonly name = 'GatewayError';
  declare readonly code: string;
  /** HTTP; 0 without an answer. */
  declare readonly status: number;
  /** The same again may do. */
  declare readonly retryable: boolean;
  declare readonly retryAfterMs: number | undefined;

  /** Where it is not said, what passes is told by the status, or by when to come again. */
  constructor(code: string, message = code, more: Frame = {}) {
    super(message);
    const retryable = /^5|408|425|429/.test(more.status) || more.retryAfterMs !== undefined;
    Object.assign(this, { name: 'GatewayError', code, status: 0, retryable }, more);
  }
}

/** For `getToken` to throw: there is no token to be had. Connecting stops until `wake()`. */
export class UnauthorizedError extends Error {}

/** Why a webhook is not believed: its message is the reason. */
export class VerifyError extends Error {
  declare readonly message: Refusal;
}

export type Refusal =
  | 'missing_header'
  | 'invalid_timestamp'
  | 'timestamp_too_old'
  | 'timestamp_too_new'
  | 'no_matching_signature'
  /** One of our own secrets can't be read. */
  | 'bad_secret'
  /** There is no `crypto.subtle` here: it takes https, localhost, or a server. React Native and some webviews have none. */
  | 'no_crypto';

/** The same again may do. */
const passing = (code: string, cause?: Frame): GatewayError =>
  // Node tells the address in the cause of what it throws.
  new GatewayError(code, cause && `${code}: ${cause.cause?.message || cause.message}`, { retryable: true, cause });

const errorOf = (problem: Frame): GatewayError =>
  new GatewayError(problem.code ?? `http_${problem.status}`, problem.detail ?? problem.title, problem);

// ── connect: the conversation ──────────────────────────────────────────────────────────────────────────────────────

/** What a conversation is handed: all that it does outside of itself. */
export interface Io extends Clock {
  readonly url: string;
  readonly client: string;
  readonly fetch: typeof fetch;
  readonly transports: readonly Transport[];
  token(reason: TokenReason): Promise<string>;
  onState(state: State): void;
  onGap(gap: Gap, subscription: Subscription): void;
  onError(error: unknown): void;
}

/** By op, what is to be done. Those with a minus are this file's: the connection is there, or over; who is busy; close. */
type Ops = Readonly<Record<string, (frame: Frame) => unknown>>;

/** Full jitter, so that many who lost the same gateway don't come back at once. */
const backoffMs = (clock: Clock, failures: number): number => clock.random() * Math.min(BACKOFF_MAX_MS, 500 * 2 ** failures);

/** A promise, and what settles it. Who does not wait for it hears of it otherwise. */
function deferred<T = void>(): [promise: Promise<T>, resolve: (value: T | Promise<T>) => void, reject: (error: unknown) => void] {
  let both: [resolve: (value: T | Promise<T>) => void, reject: (error: unknown) => void];
  const promise = new Promise<T>((...given) => (both = given));
  promise.catch(() => undefined);
  return [promise, ...both!];
}

/** One client's side of `millrace.v1`. It knows no network and no timer but what it is handed. */
export function conversation(io: Io) {
  /** The subscriptions: each hears every frame that is not of the connection alone. */
  const hearers = new Set<(frame: Frame) => unknown>();
  /** What is to be done, and when. */
  const due = new Map<() => void, number>();
  const out: object[] = [];
  const transports = [...io.transports];
  let state: State = { state: 'idle' };
  let [failures, refusals, silenceMs, askedMs, transport, best] = [0, 0, 0, -Infinity, 0, Infinity];
  /** Of the next subscription; of the connection, once it is open. */
  let number: number | undefined;
  let line: ReturnType<Transport> | undefined;
  let retryAfterMs: number | undefined;
  /** What the gateway said last, since it greeted. */
  let why: GatewayError | undefined;
  let cancel = (): void => undefined;

  const is = (name: State['state']): boolean => state.state === name;
  const become = (next: State): void => io.onState((state = next));
  const tell = (frame: Frame): unknown[] => [...hearers].map((hear) => hear(frame));
  const leftMs = (work: () => void): number => (due.get(work) ?? NaN) - io.nowMs();

  function later(work: () => void, delayMs: number): void {
    due.set(work, io.nowMs() + delayMs);
    wait();
  }

  function wait(): void {
    cancel();
    const waitMs = Math.min(...due.values()) - io.nowMs();
    if (waitMs < Infinity) cancel = io.after(Math.min(Math.max(waitMs, 0), LOOK_MS), look); // Node warns of a time before now
  }

  function look(): void {
    for (const work of due.keys())
      if (leftMs(work) <= 0) {
        due.delete(work);
        work();
      }
    wait();
  }

  /** What is sent in one turn travels together. */
  function send(frame: object): void {
    if (out.push(frame) === 1) void Promise.resolve().then(flush);
  }

  function flush(): void {
    while (out[0]) {
      const text = JSON.stringify(out.splice(0, FRAMES_MAX));
      line?.send(text);
    }
  }

  function begin(): void {
    due.delete(begin);
    become({ state: 'connecting' });
    ask('connect');
  }

  function ask(reason: TokenReason): void {
    io.token(reason).then(
      (token) => {
        refusals = 0;
        if (is('open')) send({ op: 'auth', token });
        else if (is('connecting') && !line) dial(token);
      },
      (error: unknown) => {
        io.onError(error);
        if (error instanceof UnauthorizedError) lost(4401, 'no token');
        else if (is('open')) later(refresh, backoffMs(io, ++refusals));
        else if (is('connecting')) lost(4000, 'no token');
      },
    );
  }

  function dial(token: string): void {
    let mine: typeof line;
    /** What a connection tells that was left reaches nobody. */
    const ours =
      <T extends unknown[]>(work: (...told: T) => void) =>
      (...told: T): void =>
        void (line === mine && work(...told));
    const open = (): void => {
      number = 1;
      send({ op: 'hello', v: 1, token, client: io.client });
      tell({ op: '-linked' });
    };
    const on: Dial['on'] = { open: ours(open), message: ours(received), close: ours(closed) };
    later(silent, SILENCE_MS);
    try {
      line = mine = (transports[transport % transports.length] ?? none)({ ...io, token, on });
    } catch (error) {
      closed(0, String(error));
    }
  }

  function received(text: string): void {
    let frames: Frame;
    try {
      frames = [JSON.parse(text)].flat();
    } catch {
      return lost(4000, 'no JSON'); // a proxy's page, say: it may be gone the next time
    }
    for (const frame of frames)
      if (frame?.sub) tell(frame);
      else on[frame?.op]?.(frame);
    if (is('open')) later(silent, silenceMs);
    look();
  }

  function closed(code: number, reason: string, afterMs?: number): void {
    line = undefined;
    if (code) {
      transport = is('open') ? best : transport + 1;
      return lost(code, reason, afterMs);
    }
    io.onError(new GatewayError('no_transport', reason));
    transports.splice(transport % transports.length, 1);
    // Where none of them can be had here, waiting would not change it.
    lost(transports[0] ? 1006 : 4400, reason, 0);
  }

  /** The connection, if there is one, is over. What comes of it: another one after a while, or none. */
  function lost(code: number, reason: string, afterMs = retryAfterMs): void {
    const drainMs = leftMs(leave);
    const byChanceMs = backoffMs(io, failures++ || 1);
    let retryMs = drainMs > 0 ? drainMs : (afterMs ?? byChanceMs);
    if (/^(44..|1009)$/.test(`${code}`) || afterMs === Infinity) retryMs = Infinity;
    flush();
    line?.close(code > 4400 ? 1000 : code, reason);
    due.clear();
    later(begin, retryMs);
    retryAfterMs = number = line = undefined;
    become({ state: retryMs < Infinity ? 'waiting' : 'closed', code, reason, retryMs });
    tell({ op: '-lost' });
  }

  const silent = (): void => lost(4000, 'silence');
  const good = (): void => void (failures = 0);

  function refresh(): void {
    askedMs = io.nowMs();
    ask('refresh');
  }

  /** Whoever answers with the same token again and again is not asked all the time. */
  function renew({ tokenMs = Infinity }: Frame): void {
    later(refresh, Math.max(tokenMs * REFRESH_AT, askedMs + REFRESH_EVERY_MS - io.nowMs()));
  }

  /** What is worked on is acked first, unless the gateway is faster. */
  function leave(): void {
    if (tell({ op: '-busy' }).some(Boolean)) return later(leave, LINGER_MS);
    send({ op: 'bye' });
    lost(1000, 'drain', 0);
  }

  const on: Ops = {
    __proto__: null as never,
    welcome(frame) {
      silenceMs = frame.heartbeatMs + SILENCE_MS;
      best = Math.min(best, transport % transports.length);
      why = undefined;
      later(good, GOOD_MS);
      renew(frame);
      become({ state: 'open' });
    },
    ping(frame) {
      send({ op: 'pong', t: frame.t });
      tell(frame);
    },
    refresh: () => renew({ tokenMs: 0 }),
    authed(frame) {
      renew(frame);
      tell(frame);
    },
    drain: ({ retryMs: [fromMs, toMs] }) => later(leave, fromMs + io.random() * (toMs - fromMs)),
    // Some transports have no code of their own, and some a poorer one.
    bye: ({ code = 1006, reason }) => closed(code, reason),
    error(frame) {
      ({ retryAfterMs } = frame);
      io.onError((why = errorOf(frame)));
    },
  };

  // ── a subscription: messages on their way through its handler ──

  function subscribe(topics: readonly string[], handler: Handler, options: SubscribeOptions): Subscription {
    const { group, from, filter, create, credit = 64, concurrency = 1, workMs = 600_000, dedupe } = options;
    let { ackWaitMs = 30_000 } = options;
    /** In this session; 0 while it has none. */
    let mine = 0;
    /** The newest of each part of the log. */
    const cursors = new Map<string, string>();
    /** Not done with, in the order in which they came. */
    const here = new Map<string, Held>();
    /** Keys of what is at work. */
    const running = new Set<unknown>();
    const done = new Set<string>();
    const unconfirmed = new Map<string, (error?: Promise<never>) => void>();
    let owed = 0;
    let isClosing = false;
    const [ready, begun, failed] = deferred();
    const [over, emptied] = deferred();

    const hear = (frame: Frame): unknown => (frame.sub ?? mine) === mine && on[frame.op]?.(frame);
    const on: Ops = {
      __proto__: null as never,
      '-linked': join,
      '-lost': leave,
      '-busy': () => group && here.size,
      '-close': close,
      subed(frame) {
        ({ ackWaitMs = ackWaitMs } = frame);
        if (frame.topics) io.onError(new GatewayError('other_topics', `the group ${group} has the topics ${frame.topics}`));
        cursors.clear();
        note(frame.cursors);
        begun();
        if (frame.gap || frame.recovered === false) gap(frame);
      },
      gap,
      msg: take,
      acked: settled,
      nacked: settled,
      unsubed: leave,
      ping: (frame) => note(frame.cursors?.[mine]),
      authed: ({ dropped }) => dropped?.includes(mine) && fail(new GatewayError('forbidden')),
      error(frame) {
        const error = errorOf(frame);
        if (frame.ids) settled(frame, error);
        else if (frame.code === 'credit_overflow') io.onError(error);
        else if (!frame.retryable) fail(error);
        else {
          // That its group moves is nobody's trouble.
          if (frame.code !== 'moving') io.onError(error);
          // It may be over there or not: it is begun anew under another number, after a while.
          later(again, frame.retryAfterMs ?? backoffMs(io, 1));
        }
      },
    };

    const place = (): readonly string[] => [...cursors.values()];

    function join(): void {
      if (isClosing || !number) return;
      mine = number++;
      owed = 0;
      send({
        op: 'sub',
        sub: mine,
        topics,
        group,
        filter,
        create,
        credit: group ? credit : credit - here.size,
        from: cursors.size ? { cursors: place() } : from,
      });
    }

    function again(): void {
      send({ op: 'unsub', sub: mine });
      leave();
      join();
    }

    function gap({ gap = { reason: 'unknown_cursor' } }: Frame): void {
      (options.onGap ?? io.onGap)(gap, subscription);
    }

    function note(newer: readonly string[] = []): void {
      // What stands before its last colon is the part of the log that a cursor is of.
      for (const cursor of newer) cursors.set(cursor.slice(0, cursor.lastIndexOf(':')), cursor);
    }

    function settled({ ids }: { readonly ids: Iterable<string> }, error?: GatewayError): void {
      for (const id of ids) {
        unconfirmed.get(id)?.(error && Promise.reject(error));
        unconfirmed.delete(id);
      }
    }

    /** What is not begun comes again, of a group perhaps to others. What runs goes on: when it comes again here, it is known. */
    function leave(): void {
      mine = 0;
      due.delete(again);
      settled({ ids: unconfirmed.keys() }, passing('connection_lost'));
      if (state.state === 'closed') failed(why ?? new GatewayError('closed', state.reason));
      for (const one of here.values())
        if (one.isBegun) one.sub = -1;
        else if (group) here.delete(one.name);
      check();
    }

    function fail(error: GatewayError): void {
      failed(error);
      io.onError(error);
      leave();
      void close();
    }

    function close({ now = false } = {}): Promise<void> {
      if (mine && !isClosing) send({ op: 'unsub', sub: mine, ...(!now && group && { drain: true }) });
      isClosing = true;
      if (now) {
        here.clear();
        leave();
      }
      check();
      return over;
    }

    /** Whether it is over. */
    function check(): void {
      if (!isClosing || mine || here.size) return;
      hearers.delete(hear);
      failed(new GatewayError('closed')); // where it had not begun
      emptied();
    }

    function take(frame: Frame): void {
      const { id, cursor, event } = frame;
      const name = id ?? `${event.source}\n${event.id}`;
      const same = here.get(name);
      const before = place();
      if (cursor) note([cursor]);
      // Handled, and only the word of it was lost; or at work here just now.
      if (done.has(name) || (same && !group)) return group ? send({ op: 'ack', sub: mine, ids: [id], credit: 1 }) : release();
      if (group && !due.has(extend)) later(extend, ackWaitMs / 4);
      if (same && io.nowMs() < same.atMs + workMs) return void (same.sub = mine);
      const one: Held = {
        attempt: 1,
        ...frame,
        name,
        before,
        atMs: io.nowMs(),
        ack: () => (one.settled ??= settle(one, { op: 'ack' })),
        nack: (how) => (one.settled ??= settle(one, { op: 'nack', ...how })),
        extend: (ms) => void (group && one.sub === mine && send({ op: 'extend', sub: mine, ids: [id], ms })),
      };
      here.set(name, one);
      pump();
    }

    /** Gives the right to send one more; of a group it goes with the ack. */
    function release(): void {
      if (++owed < credit / 2 || !mine) return;
      send({ op: 'credit', sub: mine, add: owed });
      owed = 0;
    }

    /** One that has to wait for another of its key keeps those of its key waiting. */
    function pump(): void {
      for (const one of here.values())
        if (!one.isBegun && running.size < concurrency && !running.has(one.event.partitionkey ?? one)) void work(one);
    }

    async function work(one: Held): Promise<void> {
      const key = one.event.partitionkey ?? one;
      one.isBegun = true;
      running.add(key);
      try {
        await handler(one.event, one);
        if (options.ack !== 'manual') void one.ack();
      } catch (error) {
        io.onError(error);
        void one.nack({ reason: String(error).slice(0, 120) });
      }
      running.delete(key);
      pump();
    }

    function settle(one: Held, frame: { readonly op: string }): Promise<void> {
      const [settled, resolve] = deferred();
      here.delete(one.name);
      if (frame.op === 'ack' && (group || dedupe)) {
        const [oldest = ''] = done.add(one.name);
        if (done.size > DONE_MAX) done.delete(oldest);
      }
      if (!group) {
        resolve();
        release();
      } else if (one.sub === mine) {
        unconfirmed.set(one.id, resolve);
        send({ ...frame, sub: mine, ids: [one.id], credit: 1 });
      } else resolve(Promise.reject(passing('connection_lost')));
      check();
      return settled;
    }

    /** What is here and not begun yet would run out of time as well. */
    function extend(): void {
      const nowMs = io.nowMs();
      const ids = [];
      for (const { sub, atMs, id } of here.values())
        if (sub === mine && atMs < nowMs - ackWaitMs / 4 && atMs > nowMs - workMs) ids.push(id);
      while (ids[0]) send({ op: 'extend', sub: mine, ids: ids.splice(0, FRAMES_MAX), ms: ackWaitMs });
      if (here.size) later(extend, ackWaitMs / 4);
    }

    const subscription: Subscription = {
      ready,
      get cursors() {
        const [first] = here.values();
        return first?.before ?? place();
      },
      close,
    };
    hearers.add(hear);
    if (is('idle')) begin();
    leave();
    join();
    return subscription;
  }

  return {
    get state() {
      return state;
    },
    subscribe,
    wake(isByItself?: unknown) {
      if (is('waiting') || (is('closed') && !isByItself)) begin();
      else if (is('open')) {
        send({ op: 'ping', t: 0 });
        later(silent, Math.min(SILENCE_MS, leftMs(silent)));
      }
    },
    async close(how?: { readonly now?: boolean }) {
      await Promise.all(tell({ op: '-close', ...how }));
      if (is('open')) send({ op: 'bye' });
      lost(1000, 'done', Infinity);
    },
  };
}

interface Held extends Message {
  readonly id: string;
  readonly event: ReceivedEvent;
  /** By which it is known when it comes again. */
  readonly name: string;
  readonly atMs: number;
  /** Where to go on from for who has handled all that came before it. */
  readonly before: readonly string[];
  /** The number under which it was sent: under another one an ack would be about something else. */
  sub: number;
  isBegun?: boolean;
  settled?: Promise<void>;
}

const none: Transport = () => {
  throw new GatewayError('no_transport', 'give transports: [ws, sse]');
};

// ── connect: what runs it ──────────────────────────────────────────────────────────────────────────────────────────

/** A client of one gateway. It connects when the first subscription is made; publishing goes by HTTP. Throws GatewayError `invalid`. */
export function connect(options: ConnectOptions): Gateway {
  const { key, getToken } = options;
  if (!key === !getToken || (key && 'document' in globalThis))
    throw new GatewayError('invalid', 'give key or getToken: anybody can read a key in a page');
  const warn = (what: unknown): void => console.warn('millrace', what);
  const listeners = new Set<(state: State) => void>();
  let asking: Promise<string> | undefined;
  let [kept, goodUntilMs] = ['', 0];

  const http = httpOf(options, options.url, async (reason) => {
    if (key) return key;
    if (reason === 'request' && goodUntilMs > http.wallMs()) return kept;
    // One call for all who wait.
    return (asking ??= within(http, http.timeoutMs, undefined, async () => {
      let given: Frame;
      try {
        given = await getToken?.({ reason });
      } catch (cause) {
        throw cause instanceof UnauthorizedError ? cause : passing('no_token', cause);
      }
      const nowMs = http.wallMs();
      goodUntilMs = nowMs + (+new Date(given.expiresAt ?? 8e15) - nowMs) * REFRESH_AT;
      return (kept = given.token ?? given);
    }).finally(() => (asking = undefined)));
  });
  const talk = conversation({
    transports: [],
    onGap: warn,
    onError: warn,
    ...http,
    onState(state) {
      http.onState?.(state);
      for (const listener of listeners) listener(state);
    },
  });

  const ended = new AbortController();
  // Where there are pages: a phone that was in a pocket, a laptop that was shut. What a document tells comes up to its window.
  for (const sign of ['online', 'visibilitychange'])
    (globalThis as Partial<EventTarget>).addEventListener?.(sign, talk.wake, { signal: ended.signal });

  const gateway: Gateway = {
    ...publishing(http),
    get state() {
      return talk.state;
    },
    subscribe(topics, handler, more = {}) {
      if (!handler?.call) throw new GatewayError('invalid', 'subscribe(topics, handler, options)');
      return talk.subscribe([topics].flat(), handler, more);
    },
    wake: () => talk.wake(),
    onState(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close(how) {
      ended.abort();
      return talk.close(how);
    },
  };
  options.telemetry?.(gateway, http);
  return gateway;
}

let lagMs = 0;

/** Sleep stops one of the two clocks of a machine, and people set the other back: what has passed is what either of them says. */
const systemClock: Clock = {
  nowMs() {
    const runMs = performance.now();
    lagMs = Math.max(lagMs, Date.now() - runMs);
    return runMs + lagMs;
  },
  wallMs: () => Date.now(),
  random: () => Math.random(),
  after(delayMs, work) {
    const timer = setTimeout(work, delayMs);
    return () => clearTimeout(timer);
  },
};

// ── transports ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** As much of a WebSocket as is used: the platform's, and that of `ws`. */
export type SocketClass = new (
  url: string,
  protocol: string,
) => {
  readonly readyState: number;
  onopen: ((event: Frame) => void) | null;
  onmessage: ((event: Frame) => void) | null;
  onclose: ((event: Frame) => void) | null;
  onerror: ((event: Frame) => void) | null;
  send(text: string): void;
  close(code: number, reason: string): void;
};

/** WebSocket by a class that works as the platform's: `webSocket(WebSocket)` with that of the package `ws`, for Node 20. */
export const webSocket =
  (Class?: SocketClass): Transport =>
  ({ url, on }) => {
    const Socket: SocketClass | undefined = Class ?? globalThis.WebSocket;
    if (!Socket) throw new GatewayError('no_transport', 'no WebSocket here: use sse, or webSocket(class)');
    const socket = new Socket(`${url.replace(/^http/, 'ws')}/v1/stream`, 'millrace.v1');
    // oxlint-disable unicorn/prefer-add-event-listener -- all that a class must have, and short
    socket.onopen = on.open;
    socket.onmessage = ({ data }) => on.message(`${data}`);
    socket.onclose = ({ code, reason }) => on.close(code, reason);
    socket.onerror = () => undefined; // what happened is told by close; unheard, some platforms throw it
    // oxlint-enable unicorn/prefer-add-event-listener
    return {
      send: (text) => void (socket.readyState === 1 && socket.send(text)),
      close: (code, reason) => socket.close(code, reason),
    };
  };

/** WebSocket. */
export const ws: Transport = /* @__PURE__ */ webSocket();

/** Events of a server by `fetch`, and frames by POST: where WebSockets don't come through. Needs bodies that stream, which React Native lacks. */
export const sse: Transport = ({ url, token, fetch, on }) => {
  const ended = new AbortController();
  const [session, begun] = deferred<string>();
  let last: Promise<unknown> | undefined;

  async function post(path: string, body: string): Promise<Response> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const answer = await fetch(`${url}/v1/sse${path}`, { method: 'POST', headers, body, signal: ended.signal });
    if (!answer.ok) throw refusalOf(answer, systemClock, await answer.json().catch(() => undefined));
    return answer;
  }

  /** The stream: blocks with an empty line between them, each with the frames of its `data:` lines. */
  async function read(hello: string): Promise<void> {
    const { body } = await post('', hello);
    if (!body) throw new GatewayError('no_transport', 'fetch does not stream here: use ws');
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let text = '';
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      on.message('[]');
      const blocks = (text + decoder.decode(next.value, { stream: true })).split(/\r?\n\r?\n/);
      text = blocks.pop() ?? '';
      for (const block of blocks) take(block);
    }
    throw passing('network');
  }

  function take(block: string): void {
    const data = block.split(/\r?\n/).flatMap((line) => (line.startsWith('data:') ? line.slice(5) : []));
    const text = data.join('\n');
    if (!text) return;
    const [, id] = /"session":\s*"([^"]+)"/.exec(text) ?? [];
    if (id) begun(id);
    on.message(text);
  }

  function fail(error: GatewayError): void {
    if (ended.signal.aborted) return;
    ended.abort();
    const { code, message, status } = error;
    const closeCode = CLOSE_OF[code] ?? CLOSE_OF[status];
    // What others are told by a frame before the end.
    if (closeCode) on.message(JSON.stringify({ op: 'error', code, detail: message, status }));
    on.close(code === 'no_transport' ? 0 : (closeCode ?? 1006), `${error}`, error.retryAfterMs);
  }

  void Promise.resolve().then(on.open);
  return {
    send(text) {
      // The first one opens the stream. The others go one after the other, so that they come in order, and none may take for ever.
      if (!last) read(text).catch(fail);
      last = last
        ? Promise.all([session, last])
            .then(([id]) => within(systemClock, SILENCE_MS, ended.signal, () => post(`/${id}`, text)))
            .catch(fail)
        : session;
    },
    close: () => ended.abort(),
  };
};

/** What an answer would be as a close code; others come again: a session that is not there any more is 404. */
const CLOSE_OF: Readonly<Record<string, number>> = {
  // Another token will do.
  token_expired: 4010,
  token_key_unknown: 4010,
  400: 4400,
  401: 4401,
  403: 4403,
  413: 4413,
  426: 4426,
  429: 4029,
  503: 4100,
};

// ── publish ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a call needs. */
type Http = ReturnType<typeof httpOf> & {
  /** In the place of a token: the headers that vouch for this body under this key, now. */
  readonly signed?: (body: string, id: string | undefined) => Promise<Record<string, string>>;
};

function httpOf(
  options: HttpOptions & { readonly client?: string },
  url: string,
  token: (reason: TokenReason) => Promise<string>,
) {
  // What was given instead may be the key: it is not said.
  if (!/^https?:/.test(url)) throw new GatewayError('invalid', 'url is none of http or https');
  return {
    fetch,
    client: CLIENT,
    timeoutMs: 10_000,
    ...systemClock,
    ...options,
    ...options.clock,
    ...options.hooks,
    url: url.replace(/\/+$/, ''),
    token,
  };
}

const SIGNING_PREFIX = 'mrs_';

/**
 * Publishes one event, without a client: `secret` is an API key (`mr_…`) with the scope `publish`, sent as a bearer token; an idempotency key and
 * retries as in `Gateway.sendEvent`. A key that signs (`mrs_…`, `millrace key create --signs`) is not sent: each attempt carries a signature of its body at its
 * time, in the headers of Standard Webhooks, under the idempotency key. A `whsec_` secret is a receiver's, and refused.
 */
export function sendEvent(
  url: string,
  secret: string,
  event: EventDraft,
  options: SendOptions & HttpOptions = {},
): Promise<Receipt> {
  if (!secret || secret.startsWith('wh')) throw new GatewayError('invalid', 'publishing takes an API key (mr_…)');
  const http = httpOf(options, url, async () => secret);
  const signed: Http['signed'] = async (body, key) => {
    // Ids of events may be anything; this one ends at a dot, and says no more than that it is the same one.
    const { source, id: own } = JSON.parse(body);
    const text = key ?? (source ? `${source}\n${own}` : own);
    const id = /^[!-\-/-~]{1,128}$/.test(text)
      ? text
      : toHex(new Uint8Array(await subtle().digest('SHA-256', await bytesOf(text))));
    const seconds = Math.floor(http.wallMs() / 1_000);
    const content = await bytesOf(`${id}.${seconds}.${body}`);
    const mac = await subtle().sign('HMAC', await hmacKey(await bytesOf(secret), 'sign'), content);
    return {
      authorization: `Signature ${secret.slice(0, SIGNING_PREFIX.length + 8)}`,
      'idempotency-key': id,
      'webhook-id': id,
      'webhook-timestamp': `${seconds}`,
      'webhook-signature': `v1,${toBase64(new Uint8Array(mac))}`,
    };
  };
  return publishing(secret.startsWith(SIGNING_PREFIX) ? { ...http, signed } : http).sendEvent(event, options);
}

/** The calls of a client. */
const publishing = (http: Http): Pick<Gateway, 'sendEvent' | 'sendEvents' | 'health'> => ({
  async sendEvent(event, options = {}) {
    // A key of one's own stands for the event, also when it is sent by another process: nothing random may be in it.
    const whole = options.idempotencyKey ? event : named(event);
    // An id of one's own may come another way as well, in a list say: there the gateway goes by it and the source, and so it does without a header.
    const key = event.id ? {} : { idempotencyKey: whole.id! };
    return receiptOf(await call(http, EVENTS, whole, { ...key, ...options })) as Receipt;
  },
  sendEvents: async (events, options) => (await call(http, EVENTS, events.map(named), options)).results.map(receiptOf),
  async health() {
    const startMs = http.wallMs();
    const answer = await call(http, '/v1/health');
    return { ...answer, skewMs: Date.parse(answer.now) - (startMs + http.wallMs()) / 2 };
  },
});

const named = (event: EventDraft): EventDraft => ({ ...event, id: event.id ?? randomHex(16) });

const receiptOf = ({ id, status, problem }: Frame): Result =>
  problem ? { error: errorOf(problem) } : { id, duplicate: status === 'duplicate' };

/** One call, with its attempts. */
async function call(http: Http, path: string, body?: object, options: SendOptions = {}): Promise<Frame> {
  const { url, fetch: send, timeoutMs } = http;
  const { signal, retries = 3, budgetMs = BUDGET_MS, idempotencyKey: key } = options;
  const { traceparent = `00-${randomHex(16)}-${randomHex(8)}-02` } = options;
  const untilMs = http.nowMs() + budgetMs;
  const text = JSON.stringify(body);
  let reason: TokenReason = 'request';
  for (let attempt = 1; ; attempt++)
    try {
      const headers = {
        'content-type': 'application/json',
        traceparent,
        ...(key && { 'idempotency-key': key }),
        ...((await http.signed?.(text, key)) ?? { authorization: `Bearer ${await http.token(reason)}` }),
        ...http.onRequest?.({ path, attempt }),
      };
      if (signal?.aborted) throw signal.reason;
      return await within(http, timeoutMs, signal, async (signal) => {
        const answer = await send(url + path, {
          method: body ? 'POST' : 'GET',
          headers,
          body: text,
          signal,
        }).catch((cause: unknown) => {
          throw passing('network', cause);
        });
        const json: Frame = await answer.json().catch(() => answer.status === 204 && {});
        if (json && (answer.ok || json.results)) return json;
        throw refusalOf(answer, http, json);
      });
    } catch (thrown) {
      const error = thrown as GatewayError;
      const isStale = error.status === 401 && reason === 'request';
      const waitMs = isStale ? 0 : (error.retryAfterMs ?? backoffMs(http, attempt));
      if (!(isStale || error.retryable) || attempt > retries || http.nowMs() + waitMs > untilMs) throw error;
      if (isStale) reason = 'unauthorized';
      http.onRetry?.({ path, attempt, waitMs, error });
      await within(http, waitMs, signal);
    }
}

/** What was answered instead. A page of somebody on the way is as good as a bad gateway. `Retry-After`: seconds, or a date. */
function refusalOf({ ok, status, headers }: Response, clock: Clock, problem?: Frame): GatewayError {
  const value = headers.get('retry-after') ?? '-';
  const ms = isNaN(+value) ? Date.parse(value) - clock.wallMs() : +value * 1_000;
  return errorOf({ ...problem, status: ok ? 502 : status, retryAfterMs: ms >= 0 ? ms : undefined });
}

/** What comes of `work`, unless its time is over or its caller wants no more of it before. Without work it is a pause. */
function within<T>(clock: Clock, ms: number, signal?: AbortSignal, work?: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const [found, resolve, reject] = deferred<T>();
  const cancel = clock.after(ms, () => (work ? reject(passing('timeout')) : resolve(undefined as T)));
  signal?.addEventListener('abort', () => reject(signal.reason), { signal: stop.signal });
  work?.(stop.signal).then(resolve, reject);
  return found.finally(() => {
    cancel();
    stop.abort();
  });
}

/** `crypto.randomUUID` is missing on pages without TLS, and all of `crypto` in React Native: an id must be new, not secret. */
function randomHex(bytes: number): string {
  const all = new Uint8Array(bytes);
  return toHex(globalThis.crypto?.getRandomValues(all) ?? all.map(() => Math.random() * 256));
}

// ── telemetry ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Upper bounds of how long publishing took: the same for all clients, or a gateway could not add them up. */
const LATENCIES_MS = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/**
 * For `connect({ …, telemetry })`: counts what this client does, and tells its own gateway and nobody else, where that wants to know. It is asked which
 * share of its clients it wants to hear of; one of these tells it with the first call, message or state after `everyMs`, and when it is closed.
 */
export function telemetry(client: Gateway, http: Http): void {
  const gateway = client as { -readonly [name in keyof Gateway]: Gateway[name] };
  const { sendEvent, sendEvents, subscribe, close } = gateway;
  const { onRetry } = http;
  const chance = http.random();
  let wanted: { readonly sample: number; readonly everyMs: number } | undefined;
  let [askAtMs, sinceMs] = [0, http.nowMs()];
  /** By the names of the report; of latencies by their bound. */
  let counts: Record<string, number> = {};

  const add = (name: string | number, many = 1): void => void (counts[name] = (counts[name] ?? 0) + many);

  async function tell(isLast?: boolean): Promise<void> {
    const nowMs = http.nowMs();
    if (nowMs >= askAtMs && !isLast) {
      askAtMs = nowMs + HOUR_MS;
      wanted = await call(http, TELEMETRY, undefined, { retries: 0 });
    }
    if (!wanted || (nowMs - sinceMs < wanted.everyMs && !isLast)) return;
    add('spanMs', nowMs - sinceMs);
    const told = counts;
    [counts, sinceMs] = [{}, nowMs];
    if (chance < wanted.sample) await report(told);
  }

  async function report(told: typeof counts): Promise<void> {
    const { count, failed, retried, acked, nacked, lost, handlerFailed, connects, spanMs = 0 } = told;
    const latencyMs = { le: LATENCIES_MS, counts: [...LATENCIES_MS, Infinity].map((ms) => told[ms] ?? 0) };
    const publishes = { count, failed, retried, latencyMs };
    const messages = { acked, nacked, lost, handlerFailed };
    const whole = { client: CLIENT, spanMs: Math.min(Math.round(spanMs), DAY_MS), publishes, messages, connects };
    try {
      await call(http, TELEMETRY, whole, { retries: 0 });
    } catch (error) {
      // What went wrong while the gateway was away is what it will want to know.
      if ((error as GatewayError).retryable) for (const name in told) add(name, told[name]);
    }
  }

  /** What goes wrong here is nobody's business. */
  const look = (isLast?: boolean): void => void tell(isLast).catch(() => undefined);

  const measured =
    <T extends unknown[], R>(work: (...all: T) => Promise<R>) =>
    async (...all: T): Promise<R> => {
      const startMs = http.nowMs();
      const many = [all[0]].flat().length;
      let failed = many;
      try {
        const result = await work(...all);
        failed = [result].flat().filter((one: Frame) => one.error).length;
        return result;
      } finally {
        const tookMs = http.nowMs() - startMs;
        add('count', many);
        add('failed', failed);
        add(LATENCIES_MS.find((ms) => tookMs <= ms) ?? Infinity, many);
        look();
      }
    };

  const counted = (handler: Handler): Handler =>
    async function handle(event, message) {
      let isCounted = false;
      const counting =
        (outcome: string, settle: Message['nack']): typeof settle =>
        (how) => {
          const settled = settle(how);
          if (!isCounted)
            settled.then(
              () => add(outcome),
              () => add('lost'),
            );
          isCounted = true;
          return settled;
        };
      Object.assign(message, { ack: counting('acked', message.ack), nack: counting('nacked', message.nack) });
      try {
        return await handler(event, message);
      } catch (error) {
        add('handlerFailed');
        throw error;
      } finally {
        look();
      }
    };

  http.onRetry = (retry) => {
    if (retry.path === EVENTS) add('retried');
    onRetry?.(retry);
  };
  gateway.onState(({ state }) => {
    if (state === 'open') add('connects');
    look();
  });
  gateway.sendEvent = measured(sendEvent);
  gateway.sendEvents = measured(sendEvents);
  gateway.subscribe = (topics, handler, options) => subscribe(topics, counted(handler), options);
  gateway.close = async (how) => {
    await close(how);
    look(true); // it is not waited for: the gateway may be away
  };
}

/** Where an outbox stands: for whoever shows it. */
export interface Outbox {
  /** In order, one after the other; each resolves or rejects as `Gateway.sendEvent` does, and waits as long as the gateway can't be reached. Rejects `outbox_full` at once. */
  sendEvent(event: EventDraft, options?: SendOptions): Promise<Receipt>;
  /** What is not sent yet, the oldest first. It is gone with the page: whoever wants it longer keeps it, and sends it again with the same id. */
  readonly waiting: readonly EventDraft[];
}

/** A queue for who may be offline, by choice: `maxEvents` at most (default 100), in order, to be seen. */
export function outbox(gateway: Pick<Gateway, 'sendEvent' | 'onState'>, options: OutboxOptions = {}): Outbox {
  const { maxEvents = 100, clock = systemClock, onChange } = options;
  const waiting: EventDraft[] = [];
  let last: Promise<unknown> = Promise.resolve();

  async function deliver(event: EventDraft, more?: SendOptions): Promise<Receipt> {
    for (let failures = 1; ; failures++)
      try {
        return await gateway.sendEvent(event, more);
      } catch (error) {
        if (!(error as GatewayError).retryable) throw error;
        // A connection that comes up is a better sign than time.
        const [opened, go] = deferred();
        const cancel = clock.after(backoffMs(clock, failures), go);
        const forget = gateway.onState(({ state }) => state === 'open' && go());
        await opened;
        cancel();
        forget();
      }
  }

  return {
    waiting,
    async sendEvent(event, more) {
      if (waiting.length >= maxEvents) throw new GatewayError('outbox_full');
      const whole = named(event);
      waiting.push(whole);
      onChange?.(waiting.length);
      const sent = last
        .then(() => deliver(whole, more))
        .finally(() => {
          waiting.shift();
          onChange?.(waiting.length);
        });
      last = sent.catch(() => undefined);
      return sent;
    },
  };
}

export interface OutboxOptions {
  readonly maxEvents?: number;
  readonly onChange?: (waiting: number) => void;
  readonly clock?: Clock;
}

// ── sign and verify ────────────────────────────────────────────────────────────────────────────────────────────────

type Bytes = Uint8Array<ArrayBuffer>;

/** A header by its lower-case name, out of a `Headers` or a plain object. */
export type HeadersLike = Headers | HeaderRecord;
type HeaderRecord = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface SignOptions {
  /** The `webhook-id`: the same on every attempt. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly timestampSeconds: number;
  readonly body: string | Uint8Array;
  /** `whsec_…` or `whsk_…`, the newest first: one signature each. */
  readonly secrets: readonly string[];
}

export interface VerifyOptions {
  readonly headers: HeadersLike;
  /** The very bytes that came in: what was parsed and written again is something else. */
  readonly body: string | Uint8Array;
  /** `whsec_…` or `whpk_…` (of `simple` any text): each of them may have signed, so that secrets can be rotated. */
  readonly secrets: readonly string[];
  /** How far the sender's clock may be off, either way. Default 300. */
  readonly toleranceSeconds?: number | undefined;
  /** Since 1970; default now. */
  readonly nowMs?: number;
}

/**
 * Standard Webhooks. Resolves where one of the secrets signed these bytes, and throws VerifyError otherwise: who forgets to look at the result
 * believes nothing false. The id is the message's, the same on every attempt.
 */
export async function verify({
  headers,
  body,
  secrets,
  toleranceSeconds = 300,
  nowMs = Date.now(),
}: VerifyOptions): Promise<{ readonly id: string }> {
  const [id, time, signatures] = ['id', 'timestamp', 'signature'].map((name) => headerOf(headers, `webhook-${name}`));
  if (!id || !time || !signatures) throw new VerifyError('missing_header');
  if (!/^(0|[1-9]\d{0,11})$/.test(time)) throw new VerifyError('invalid_timestamp');
  const ageSeconds = Math.floor(nowMs / 1_000) - +time;
  if (ageSeconds > toleranceSeconds) throw new VerifyError('timestamp_too_old');
  if (ageSeconds < -toleranceSeconds) throw new VerifyError('timestamp_too_new');
  const content = await bytesOf(`${id}.${time}.`, body);
  for (const [kind, key] of await Promise.all(secrets.map((secret) => keyOf(secret, 'verify'))))
    for (const one of signatures.split(' ', SIGNATURES_MAX)) {
      const [name, text = ''] = one.split(',');
      // The platform compares in constant time.
      if (name === kind && (await subtle().verify(key.algorithm.name, key, fromBase64(text), content))) return { id };
    }
  throw new VerifyError('no_matching_signature');
}

/** `x-signature`, of the scheme `simple`: it covers the body alone. Its id, for who wants to see each once, is not signed, and there is no time in it. */
export async function verifySimple({
  headers,
  body,
  secrets,
}: Pick<VerifyOptions, 'headers' | 'body' | 'secrets'>): Promise<{ readonly id: string }> {
  const given = headerOf(headers, 'x-signature');
  if (!given) throw new VerifyError('missing_header');
  const mac = Uint8Array.from(given.match(/../g) ?? [], (hex) => Number.parseInt(hex, 16));
  for (const secret of secrets) {
    if (secret === '') throw new VerifyError('bad_secret');
    const key = await hmacKey(await bytesOf(secret), 'verify');
    if (await subtle().verify('HMAC', key, mac, await bytesOf(body))) return { id: headerOf(headers, 'x-idempotency-key') };
  }
  throw new VerifyError('no_matching_signature');
}

/** The value of `webhook-signature`. Throws VerifyError `bad_secret` or `no_crypto`. */
export async function sign({ id, timestampSeconds, body, secrets }: SignOptions): Promise<string> {
  const content = await bytesOf(`${id}.${timestampSeconds}.`, body);
  const signatures = secrets.map(async (secret) => {
    const [kind, key] = await (secret.startsWith('whsk_') ? privateKeyOf(secret) : keyOf(secret, 'sign'));
    return `${kind},${toBase64(new Uint8Array(await subtle().sign(key.algorithm.name, key, content)))}`;
  });
  return (await Promise.all(signatures)).join(' ');
}

/** The value of `x-signature`. */
export async function signSimple(secret: string, body: string | Uint8Array): Promise<string> {
  return toHex(new Uint8Array(await subtle().sign('HMAC', await hmacKey(await bytesOf(secret), 'sign'), await bytesOf(body))));
}

type Use = 'sign' | 'verify';

/** Imported anew each time: on Workers nothing asynchronous may be carried from one request to the next. */
async function keyOf(secret: string, use: Use): Promise<[kind: string, key: CryptoKey]> {
  const [, prefix, text = ''] = /^(whsec|whpk)_(\S+)$/.exec(secret) ?? [];
  const bytes = fromBase64(text.length % 4 ? '' : text);
  if (prefix === 'whsec' && bytes.length > 23 && bytes.length < 65) return ['v1', await hmacKey(bytes, use)];
  const key =
    prefix === 'whpk' &&
    (await subtle()
      .importKey('raw', bytes, 'Ed25519', false, [use])
      .catch(() => undefined));
  if (key) return ['v1a', key];
  throw new VerifyError('bad_secret');
}

const hmacKey = (bytes: Bytes, use: Use): Promise<CryptoKey> =>
  subtle().importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, [use]);

/** PKCS #8 of an Ed25519 key up to its seed (RFC 8410): WebCrypto takes private keys in no shorter form. */
const PKCS8_HEAD = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

async function privateKeyOf(secret: string): Promise<[kind: string, key: CryptoKey]> {
  const seed = fromBase64(secret.slice(5)).subarray(0, 32);
  if (seed.length < 32) throw new VerifyError('bad_secret');
  return ['v1a', await subtle().importKey('pkcs8', Uint8Array.of(...PKCS8_HEAD, ...seed), 'Ed25519', false, ['sign'])];
}

function subtle(): SubtleCrypto {
  const found = globalThis.crypto?.subtle;
  if (!found) throw new VerifyError('no_crypto');
  return found;
}

/** Several of a name, as some servers keep them, are one with spaces: so are signatures. */
const headerOf = (headers: HeadersLike, name: string): string =>
  [(typeof headers.get === 'function' ? headers.get(name) : (headers as HeaderRecord)[name]) ?? ''].flat().join(' ');

const bytesOf = async (...parts: readonly (string | Uint8Array)[]): Promise<Bytes> =>
  new Uint8Array(await new Blob(parts as Bytes[]).arrayBuffer());

/** Nothing, which matches nothing, where it is no base64. */
function fromBase64(text: string): Bytes {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array(0);
  }
}

const toBase64 = (bytes: Uint8Array): string => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

// ── receiver ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** A webhook that was verified. */
export interface Webhook {
  /** The same on every attempt. */
  readonly id: string;
  /** Lower-case names, without signatures. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface ReceiverOptions extends Pick<VerifyOptions, 'secrets' | 'toleranceSeconds'> {
  /** `standard` (default), or `simple`, whose ids are not signed: who listens in can send it again under another id. */
  readonly scheme?: 'standard' | 'simple';
  readonly store: SeenStore;
  /** Throwing means: once more. Must bear being done twice: it may end, and the word of it be lost. */
  readonly handle: (event: ReceivedEvent, webhook: Webhook) => unknown;
  /** `after` (default): 204 when it is handled. `first`: 204 when it is kept, and the work goes on under the platform's `waitUntil`; what is cut off waits for `drain()`. */
  readonly ack?: 'after' | 'first';
  /** A claim outlasts the work, or another copy begins: default 60,000. */
  readonly claimMs?: number;
  /** Of `first`: what fails so often is given to `onDead` and left. Default 10. */
  readonly attempts?: number;
  /** Default: `reportFailure`, by which it becomes a dead letter of its gateway. Throwing means: tried again. */
  readonly onDead?: (webhook: Webhook, error: unknown) => unknown;
  /** Origins of the gateways that failures may be reported to, `https://events.example`: where to is told by a header, and headers are not signed. `first` needs them, or `onDead`. */
  readonly gateways?: readonly string[];
  /** Why it was not 2xx, or what failed later. Default: the console. */
  readonly onError?: (error: unknown) => void;
  /** Default 1 MiB: a payload of 512 KB as base64, and attributes. */
  readonly maxBytes?: number;
  /** Origins that the CloudEvents handshake (OPTIONS) lets in; default all, as what counts is the signature. */
  readonly origins?: readonly string[];
  /** Since 1970. */
  readonly nowMs?: () => number;
}

export interface Receiver {
  (request: Request, context?: { waitUntil?(work: Promise<unknown>): void }): Promise<Response>;
  /** Of `first`: works on what was kept and cut off or failed; for a start and a cron trigger. Resolves with how many there were. */
  drain(): Promise<number>;
}

/**
 * A webhook's endpoint as a web-standard handler: reads the raw body itself, verifies, lets each id through once, acks. GET says that it is there,
 * OPTIONS answers the CloudEvents handshake, and a signed `millrace.challenge` is answered with its text. 401: not believed; 409: its copy is at work.
 * Throws GatewayError `invalid`.
 */
export function receiver(options: ReceiverOptions): Receiver {
  const { secrets, store, handle, ack = 'after', gateways = [], claimMs = CLAIM_MS, nowMs = Date.now } = options;
  const { onError = (error: unknown) => console.error('millrace', error) } = options;
  const isFirst = ack === 'first';
  if (!Array.isArray(secrets) || !secrets[0] || !store?.claim || !handle?.call || !/^(first|after)$/.test(ack))
    throw new GatewayError('invalid', "give secrets (a list), store and handle; ack is 'after' or 'first'");
  if (isFirst && !options.onDead && !gateways[0])
    throw new GatewayError('invalid', 'acked first: give gateways, or onDead, for what fails in the end');

  async function dead(webhook: Webhook, error: unknown): Promise<void> {
    if (options.onDead) return void (await options.onDead(webhook, error));
    await reportFailure(webhook, error, { gateways, dead: true }).catch((error: GatewayError) => {
      if (error.retryable) throw error;
      onError(error);
    });
  }

  async function work(webhook: Webhook, untilMs: number, attempt: number): Promise<void> {
    try {
      await handle(eventOf(webhook), webhook);
    } catch (error) {
      // What is kept stays claimed: that is the pause until it is tried again.
      if (!isFirst) await store.release(webhook.id, untilMs);
      if (!isFirst || attempt < (options.attempts ?? 10)) throw error;
      await dead(webhook, error);
    }
    await store.done(webhook.id, nowMs());
  }

  async function take(request: Request, context?: Parameters<Receiver>[1]): Promise<Response> {
    const { headers } = request;
    const body = await bodyOf(request, options.maxBytes ?? BODY_BYTES);
    if (!body) return answer(413);
    const { id } = await (options.scheme === 'simple' ? verifySimple : verify)({ ...options, headers, body, nowMs: nowMs() });
    if (!id) return answer(400);
    const told = [...headers].filter(([name]) =>
      /^(ce-|millrace-|(content-type|traceparent|webhook-(id|timestamp))$)/.test(name),
    );
    const webhook = { id, headers: Object.fromEntries(told), body };
    const { type, data }: Frame = eventOf(webhook);
    if (type === 'millrace.challenge') return answer(200, {}, `${data?.challenge}`);
    const untilMs = nowMs() + claimMs;
    const claim = await store.claim(id, nowMs(), untilMs, isFirst ? textOf(webhook) : undefined);
    if (claim === 'busy' && !isFirst) return answer(409, { 'retry-after': BUSY_SECONDS });
    if (claim === 'claimed') {
      const working = work(webhook, untilMs, 1);
      if (!isFirst) await working;
      else {
        const quiet = working.catch((error: unknown) => onError(error));
        context?.waitUntil?.(quiet);
      }
    }
    return answer(204);
  }

  async function serve(request: Request, context?: Parameters<Receiver>[1]): Promise<Response> {
    const { method, headers } = request;
    if (method === 'GET' || method === 'HEAD')
      return answer(200, { 'content-type': 'application/json' }, method === 'GET' ? '{"status":"ready"}' : null);
    if (method === 'OPTIONS') {
      // CloudEvents webhooks, section 4: the header is the consent, not the status.
      const origin = headers.get('webhook-request-origin');
      if (!origin || options.origins?.includes(origin) === false) return answer(403);
      return answer(200, { 'webhook-allowed-origin': origin, 'webhook-allowed-rate': '*', allow: 'POST' });
    }
    if (method !== 'POST') return answer(405, { allow: 'POST' });
    try {
      return await take(request, context);
    } catch (error) {
      onError(error);
      const isOurs = !(error instanceof VerifyError) || /^(bad_secret|no_crypto)$/.test(error.message);
      return answer(isOurs ? 500 : 401);
    }
  }

  async function drain(): Promise<number> {
    for (let count = 0; ; count++) {
      const untilMs = nowMs() + claimMs;
      const next = await store.next?.(nowMs(), untilMs);
      if (!next) return count;
      await work(webhookOf(next.kept), untilMs, next.attempts).catch((error: unknown) => onError(error));
    }
  }

  return Object.assign(serve, { drain });
}

/**
 * Tells the gateway that a webhook failed which was acknowledged: it comes again by the schedule of its subscription, or after `delayMs`, or is a
 * dead letter. Its address is believed where it begins with one of `gateways`: whoever sends a signed body again could name any other. Throws GatewayError.
 */
export async function reportFailure(
  { headers }: Webhook,
  reason: unknown,
  { gateways, ...how }: { readonly gateways: readonly string[]; readonly delayMs?: number; readonly dead?: boolean },
): Promise<void> {
  const [address = '', token = ''] = headers['millrace-failed']?.split(' ') ?? [];
  if (!gateways.some((origin) => address.startsWith(`${origin}/`)))
    throw new GatewayError('invalid', 'the header millrace-failed is missing, or of none of the `gateways`');
  const text = String(reason).slice(0, REASON_CHARS) || 'failed';
  await call(
    httpOf({}, address, async () => token),
    '',
    { reason: text, ...how },
  );
}

const answer = (status: number, headers: Record<string, string> = {}, body: string | null = null): Response =>
  new Response(body, { status, headers });

/** Undefined: too long. Counted as it comes, as what is said of its length may be wrong. */
async function bodyOf({ body }: Request, maxBytes: number): Promise<Bytes | undefined> {
  const chunks: Uint8Array[] = [];
  let leftBytes = maxBytes;
  const reader = body?.getReader();
  for (let next = await reader?.read(); next?.value; next = await reader?.read()) {
    leftBytes -= next.value.length;
    if (leftBytes < 0) {
      await reader?.cancel();
      return undefined;
    }
    chunks.push(next.value);
  }
  return bytesOf(...chunks);
}

/** CloudEvents in binary or structured mode; of others, what the body says of its type. */
function eventOf({ id, headers, body }: Webhook): ReceivedEvent {
  const { 'content-type': contentType = 'application/json' } = headers;
  const json = attempted(() => JSON.parse(/[/+]json/.test(contentType) ? new TextDecoder().decode(body) : ''));
  if (contentType.startsWith('application/cloudevents+json')) return json;
  const event: Frame = { id, source: '', type: `${json?.type ?? ''}` };
  for (const [name, value] of Object.entries(headers))
    if (name.startsWith('ce-')) event[name.slice(3)] = attempted(() => decodeURIComponent(value)) ?? value;
  if (json !== undefined) event.data = json;
  else if (body.length > 0) event.data_base64 = toBase64(body);
  return event;
}

/** Undefined where it throws: what is no JSON is told as bytes, and a percent sign may stand for itself. */
function attempted(work: () => unknown): Frame {
  try {
    return work();
  } catch {
    return undefined;
  }
}

const textOf = (webhook: Webhook): string => JSON.stringify({ ...webhook, body: toBase64(webhook.body) });
const webhookOf = (text: string): Webhook => {
  const webhook = JSON.parse(text);
  return { ...webhook, body: fromBase64(webhook.body) };
};

// ── seen-stores ────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Which webhooks were seen, in two phases: claimed for a while, then done. Two copies that come at once run once; a crash after the claim lets the
 * next copy run when the claim is over. Each of them must be atomic, so none is made of Workers KV: it has no compare-and-set, and what one place
 * wrote another may not see for a minute. There, use a Durable Object.
 */
export interface SeenStore {
  /** `kept` is remembered with it until it is done. */
  claim(id: string, nowMs: number, untilMs: number, kept?: string): Promise<'claimed' | 'busy' | 'done'>;
  done(id: string, nowMs: number): Promise<void>;
  /** Only of this claim: another one may have been made meanwhile. */
  release(id: string, untilMs: number): Promise<void>;
  /** Claims one that was kept, is not done and is claimed by nobody. */
  next?(nowMs: number, untilMs: number): Promise<{ readonly kept: string; readonly attempts: number } | undefined>;
}

interface Seen {
  /** Of a claim its end; of what is done when it was. */
  readonly untilMs: number;
  readonly isDone?: boolean;
  readonly attempts: number;
  readonly kept?: string | undefined;
}

/** Of one entry, by itself: what it is to be, where it changes, and the answer to who asked. */
type Change = (
  id: string,
  nowMs: number,
  how: (seen?: Seen) => readonly [next?: Seen | undefined, answer?: Frame],
) => Promise<Frame>;

/** A store over what can change one entry, and lists ids of which some are kept. */
function seenStore(change: Change, ids: () => Iterable<string> | Promise<Iterable<string>>): SeenStore {
  const again = (seen: Seen | undefined, untilMs: number, kept?: string): Seen => ({
    untilMs,
    attempts: (seen?.attempts ?? 0) + 1,
    kept: seen?.kept ?? kept,
  });
  return {
    claim: (id, nowMs, untilMs, kept) =>
      change(id, nowMs, (seen) => {
        if (seen?.isDone) return [undefined, 'done'];
        return seen && seen.untilMs > nowMs ? [undefined, 'busy'] : [again(seen, untilMs, kept), 'claimed'];
      }),
    done: (id, nowMs) => change(id, nowMs, () => [{ untilMs: nowMs, isDone: true, attempts: 0 }]),
    release: (id, untilMs) =>
      change(id, 0, (seen) => (seen?.untilMs === untilMs && !seen.isDone ? [{ ...seen, untilMs: 0 }] : [])),
    async next(nowMs, untilMs) {
      for (const id of await ids()) {
        const next = await change(id, nowMs, (seen) => {
          if (seen?.kept === undefined || seen.untilMs > nowMs) return [];
          const next = again(seen, untilMs);
          return [next, next];
        });
        if (next) return { kept: next.kept, attempts: next.attempts };
      }
      return undefined;
    },
  };
}

/** Of one process, and gone with it: for tests, and where twice does no harm. Beyond `maxIds` (10,000) the oldest are forgotten that nobody is at. */
export function memoryStore({ maxIds = 10_000 }: { readonly maxIds?: number } = {}): SeenStore {
  const all = new Map<string, Seen>();
  return seenStore(
    async (id, nowMs, how) => {
      const [next, answer] = how(all.get(id));
      if (!next) return answer;
      all.delete(id); // to the end: it is the newest
      if (all.size >= maxIds) {
        const [old] = [...all].find(([, { untilMs, kept }]) => untilMs <= nowMs && kept === undefined) ?? [];
        if (old === undefined) throw new GatewayError('store_full', undefined, { retryable: true });
        all.delete(old);
      }
      all.set(id, next);
      return answer;
    },
    () => all.keys(),
  );
}

/** `new DatabaseSync(path)` of node:sqlite, a better-sqlite3 or a bun:sqlite database. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): { all(...values: (string | number | null)[]): unknown[] };
}

export interface KeepOptions {
  /** Default 604,800,000, seven days: as long as anybody may send it again. */
  readonly keepMs?: number;
}

/** In a table `millrace_seen`, which it makes. What is acked is as durable as the database is set to. */
export function sqliteStore(database: SqliteDatabase, options?: KeepOptions): SeenStore {
  for (const sql of SCHEMA) database.exec(sql);
  return sqlStore(async (sql, values) => database.prepare(sql).all(...values), options);
}

/** `pool.query` of the package pg, or whatever takes a statement with `$1` and its values and resolves with rows. */
export type PostgresQuery = (sql: string, values: (string | number | null)[]) => Promise<{ readonly rows: readonly unknown[] }>;

/** In a table `millrace_seen`, which it makes at the first claim. */
export function postgresStore(query: PostgresQuery, options?: KeepOptions): SeenStore {
  let made: Promise<unknown> | undefined;
  return sqlStore(async (sql, values) => {
    made ??= query(SCHEMA[0], []).then(() => query(SCHEMA[1], []));
    await made.catch((error: unknown) => ((made = undefined), Promise.reject(error)));
    let at = 0;
    const numbered = sql.replace(/\?/g, () => `$${++at}`);
    return (await query(numbered, values)).rows;
  }, options);
}

const SCHEMA = [
  'CREATE TABLE IF NOT EXISTS millrace_seen (id TEXT PRIMARY KEY, until_ms BIGINT NOT NULL, done INTEGER NOT NULL, attempts INTEGER NOT NULL, kept TEXT)',
  'CREATE INDEX IF NOT EXISTS millrace_seen_until ON millrace_seen (done, until_ms)',
] as const;

/** Each statement returns rows: some drivers have one call for those that do, and another for those that don't. */
function sqlStore(
  run: (sql: string, values: (string | number | null)[]) => Promise<readonly unknown[]>,
  { keepMs = KEEP_MS }: KeepOptions = {},
): SeenStore {
  return seenStore(
    async (id, nowMs, how) => {
      for (;;) {
        const [row]: Frame = await run('SELECT until_ms, done, attempts, kept FROM millrace_seen WHERE id = ?', [id]);
        const old = row ? [Number(row.until_ms), row.done, row.attempts] : [0, 0, 0];
        const [next, answer] = how(
          row && { untilMs: old[0], isDone: row.done > 0, attempts: row.attempts, kept: row.kept ?? undefined },
        );
        if (!next) return answer;
        const changed = await run(
          'INSERT INTO millrace_seen AS seen (id, until_ms, done, attempts, kept) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET until_ms = ' +
            'excluded.until_ms, done = excluded.done, attempts = excluded.attempts, kept = excluded.kept ' +
            'WHERE seen.until_ms = ? AND seen.done = ? AND seen.attempts = ? RETURNING id',
          [id, next.untilMs, next.isDone ? 1 : 0, next.attempts, next.kept ?? null, ...old],
        );
        if (next.isDone)
          await run('DELETE FROM millrace_seen WHERE done IN (0, 1) AND until_ms < ? AND kept IS NULL RETURNING id', [
            nowMs - keepMs,
          ]);
        // Where another one was faster it is looked at again.
        if (changed[0]) return answer;
      }
    },
    async () =>
      (await run('SELECT id FROM millrace_seen WHERE done = 0 AND kept IS NOT NULL ORDER BY until_ms LIMIT ?', [LIST_MAX])).map(
        (row: Frame) => row.id,
      ),
  );
}

/** The storage of a Durable Object: `ctx.storage`. */
export interface DurableStorage {
  transaction<T>(work: (storage: DurableStorage) => Promise<T>): Promise<T>;
  get<T>(key: string): Promise<T | undefined>;
  put<T>(key: string, value: T): Promise<void>;
  delete(key: string): Promise<boolean>;
  list<T>(options: { readonly prefix: string; readonly limit: number }): Promise<Map<string, T>>;
}

/** In a Durable Object, one for as many webhooks as share an id space. A value holds 128 KiB on the older backend: with `ack: 'first'` use the SQLite one. */
export function durableObjectStore(storage: DurableStorage, { keepMs = KEEP_MS }: KeepOptions = {}): SeenStore {
  return seenStore(
    (id, nowMs, how) =>
      storage.transaction(async (inside) => {
        const [next, answer] = how(await inside.get<Seen>(`seen:${id}`));
        if (!next) return answer;
        const { untilMs, isDone, kept } = next;
        await inside.put(`seen:${id}`, next);
        if (kept !== undefined) await inside.put(`kept:${id}`, id);
        else await inside.put(`old:${String(untilMs).padStart(15, '0')}:${id}`, { id, untilMs });
        if (!isDone) return answer;
        await inside.delete(`kept:${id}`);
        for (const [key, old] of await inside.list<Frame>({ prefix: 'old:', limit: FORGET_MAX })) {
          if (old.untilMs >= nowMs - keepMs) break;
          await inside.delete(key);
          if ((await inside.get<Seen>(`seen:${old.id}`))?.untilMs === old.untilMs) await inside.delete(`seen:${old.id}`);
        }
        return answer;
      }),
    async () => (await storage.list<string>({ prefix: 'kept:', limit: LIST_MAX })).values(),
  );
}
