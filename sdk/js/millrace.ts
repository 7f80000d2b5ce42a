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
  /** One key, one event, however often it is sent (24 h): 1 to 255 bytes. Default: the event's id, which is made up where it has none. */
  readonly idempotencyKey?: string;
  /** W3C Trace Context; made up where it is absent. */
  readonly traceparent?: string;
  readonly signal?: AbortSignal;
  /** After the first attempt. Default 3. */
  readonly retries?: number;
  /** Attempts and waits in all; default no bound but `retries`. */
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
  /** A handler that threw, a subscription that failed, a token that was not to be had. */
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
  /** At most 100 of them, each with an answer of its own. Their ids keep a repeated call from doubling them. */
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
    /** Something came, if only a sign of life. */
    heard(): void;
    /** A frame or a list of them. */
    message(text: string): void;
    /** 0: this transport can't be had here. */
    close(code: number, reason: string, retryAfterMs?: number): void;
  };
}

// ── errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The one error of this file. `code` is the gateway's (docs/api.md), or `network`, `timeout`, `no_transport`, `connection_lost`, `closed`, `invalid`. */
export class GatewayError extends Error {
  declare readonly code: string;
  /** HTTP; 0 without an answer. */
  declare readonly status: number;
  /** The same again may do. */
  declare readonly retryable: boolean;
  declare readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message = code,
    more?: Partial<Pick<GatewayError, 'status' | 'retryable' | 'retryAfterMs' | 'cause'>>,
  ) {
    super(message);
    Object.assign(this, { name: 'GatewayError', code, status: 0, retryable: false }, more);
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

// ── connect: the conversation ──────────────────────────────────────────────────────────────────────────────────────

/** What a conversation asks of whoever runs it. */
export interface Io {
  nowMs(): number;
  random(): number;
  /** Answered by `token` or `noToken`. */
  wantToken(reason: TokenReason): void;
  /** Answered by `opened` or `closed`. */
  dial(token: string | undefined): void;
  send(frame: object): void;
  /** Nothing that comes from this connection afterwards may reach the conversation. */
  hangUp(code: number, reason: string): void;
  onState(state: State): void;
  onError(error: GatewayError): void;
}

/** A subscription, as the conversation sees it. */
export interface Sub {
  readonly ask: { readonly topics: readonly string[]; readonly group?: string; readonly [member: string]: unknown };
  readonly credit: number;
  /** Its number in this session; 0 while it has none. */
  number: number;
  /** Messages that are here and not done with. */
  held: number;
  /** The newest of each part of the log. */
  readonly cursors: Map<string, string>;
  /** `subed`, `msg`, `gap`, `acked`, `nacked`, `unsubed`, `ping`; `error` about deliveries; `lost`: the session is over; `failed`: the subscription is. */
  on(what: string, frame: Frame): void;
}

/** Up to here a connection has to be opened and greeted. */
const GREET_MS = 10_000;
/** Of silence beyond a heartbeat. */
const SILENCE_MS = 10_000;
const GOOD_MS = 30_000;
const BACKOFF_MAX_MS = 30_000;
/** Of a token's life; the gateway asks at 0.8, and this is for where it was asleep. */
const REFRESH_AT = 0.85;
const REFRESH_EVERY_MS = 5_000;
/** Timers stand still while a machine sleeps: looked at so often, what is due is seen soon after. */
const LOOK_MS = 10_000;
/** Between two looks whether the last delivery is acked, so that a gateway that drains can be left. */
const LINGER_MS = 100;

/** Full jitter, so that many who lost the same gateway don't come back at once. */
const backoffMs = (random: number, failures: number): number => random * Math.min(BACKOFF_MAX_MS, 500 * 2 ** failures);

/** The cursor without its place: which part of the log it is of. */
const partOf = (cursor: string): string => cursor.slice(0, cursor.lastIndexOf(':'));

/** One client's side of `millrace.v1`: what came in goes in, what is to be done comes out through `io`. Its owner calls `tick` at `wakeAtMs`. */
export function conversation(io: Io, client?: string) {
  const subs = new Set<Sub>();
  /** Those that are to be begun anew, and when. */
  const again = new Map<Sub, number>();
  let byNumber = new Map<number, Sub>();
  let numbers = 0;
  let state: State = { state: 'idle' };
  let isLinked = false;
  let [failures, refusals, welcomedMs, heartbeatMs, askedMs] = [0, 0, 0, 0, -Infinity];
  let [dialAtMs, silentAtMs, refreshAtMs, leaveAtMs] = [Infinity, Infinity, Infinity, Infinity];
  let retryAfterMs: number | undefined;
  let bye: { readonly code: number; readonly reason: string } | undefined;
  let token: string | undefined;

  const is = (name: State['state']): boolean => state.state === name;
  const become = (next: State): void => io.onState((state = next));

  function begin(): void {
    dialAtMs = Infinity;
    become({ state: 'connecting' });
    io.wantToken('connect');
  }

  function subscribe(sub: Sub): void {
    byNumber.set((sub.number = ++numbers), sub);
    const cursors = [...sub.cursors.values()];
    const from = cursors[0] === undefined ? {} : { from: { cursors } };
    io.send({ op: 'sub', sub: numbers, ...sub.ask, credit: Math.max(0, sub.credit - sub.held), ...from });
  }

  function end(code: number, reason: string): void {
    io.hangUp(code, reason);
    isLinked = false;
    silentAtMs = refreshAtMs = dialAtMs = leaveAtMs = Infinity;
    retryAfterMs = bye = undefined;
    numbers = 0;
    byNumber = new Map();
    again.clear();
    for (const sub of subs) {
      sub.number = 0;
      sub.on('lost', {});
    }
  }

  /** The connection is over. What comes of it: another one after a while, or none. */
  function lost(code: number, reason: string, afterMs = retryAfterMs): void {
    ({ code, reason } = bye ?? { code, reason });
    const nowMs = io.nowMs();
    if (is('open') && nowMs - welcomedMs >= GOOD_MS) failures = 0;
    const drainMs = leaveAtMs < Infinity ? Math.max(0, leaveAtMs - nowMs) : undefined;
    end(code, reason);
    if ((code >= 4400 && code < 4500) || code === 1009) return become({ state: 'closed', code, reason });
    const byChanceMs = failures === 0 ? io.random() * 1_000 : backoffMs(io.random(), failures);
    const retryMs = drainMs ?? afterMs ?? byChanceMs;
    failures++;
    dialAtMs = nowMs + retryMs;
    become({ state: 'waiting', code, reason, retryMs });
  }

  function fail(sub: Sub, error: GatewayError): void {
    subs.delete(sub);
    byNumber.delete(sub.number);
    sub.number = 0;
    sub.on('failed', error);
  }

  function tokenLives(tokenMs = Infinity): void {
    refusals = 0;
    refreshAfter(tokenMs * REFRESH_AT);
  }

  /** Whoever answers with the same token again and again is not asked all the time. */
  function refreshAfter(delayMs: number): void {
    refreshAtMs = Math.max(io.nowMs() + delayMs, askedMs + REFRESH_EVERY_MS);
  }

  function note(sub: Sub | undefined, cursors: readonly string[] = []): void {
    for (const cursor of cursors) sub?.cursors.set(partOf(cursor), cursor);
  }

  const on: Readonly<Record<string, (frame: Frame, sub?: Sub) => void>> = {
    welcome(frame) {
      heartbeatMs = frame.heartbeatMs;
      welcomedMs = io.nowMs();
      tokenLives(frame.tokenMs);
      become({ state: 'open' });
    },
    subed({ cursors }, sub) {
      sub?.cursors.clear();
      note(sub, cursors);
    },
    msg({ cursor }, sub) {
      if (sub !== undefined) sub.held++;
      if (cursor !== undefined) note(sub, [cursor]);
    },
    ping({ t, cursors = {} }) {
      io.send({ op: 'pong', t });
      for (const number in cursors) {
        const sub = byNumber.get(+number);
        note(sub, cursors[number]);
        sub?.on('ping', {});
      }
    },
    refresh() {
      refreshAfter(0);
      tick();
    },
    authed({ tokenMs, dropped = [] }) {
      tokenLives(tokenMs);
      for (const number of dropped) {
        const sub = byNumber.get(number);
        if (sub !== undefined)
          fail(sub, new GatewayError('forbidden', 'the new token may not see these topics', { status: 403 }));
      }
    },
    drain: ({ retryMs: [fromMs, toMs] }) => void (leaveAtMs = io.nowMs() + fromMs + io.random() * (toMs - fromMs)),
    bye: (frame) => void (bye = frame),
    /** About the connection, a sub, or some of its deliveries. */
    error(frame, sub) {
      const { code, detail, title, status, retryable, ids } = frame;
      const error = new GatewayError(code, detail ?? title, { status, retryable });
      if (frame.sub === undefined) {
        ({ retryAfterMs } = frame);
        io.onError(error);
      } else if (sub === undefined) return;
      else if (ids !== undefined) sub.on('unsettled', { ids, error });
      else if (code === 'credit_overflow') io.onError(error);
      else if (!retryable) fail(sub, error);
      // It may be over there or not: it is begun anew under another number, after a while.
      else again.set(sub, io.nowMs() + (frame.retryAfterMs ?? backoffMs(io.random(), 1)));
    },
  };

  function beginAgain(sub: Sub): void {
    again.delete(sub);
    io.send({ op: 'unsub', sub: sub.number });
    byNumber.delete(sub.number);
    sub.on('lost', {});
    subscribe(sub);
  }

  function tick(): void {
    const nowMs = io.nowMs();
    if (nowMs >= dialAtMs) begin();
    if (nowMs >= silentAtMs) lost(4000, 'nothing was heard');
    if (nowMs >= refreshAtMs) {
      refreshAtMs = Infinity;
      askedMs = nowMs;
      io.wantToken('refresh');
    }
    for (const [sub, dueMs] of again) if (nowMs >= dueMs) beginAgain(sub);
    if (nowMs < leaveAtMs || !is('open')) return;
    // What is worked on is acked first, unless the gateway is faster.
    if ([...subs].some((sub) => sub.held > 0 && sub.ask.group !== undefined)) return void (leaveAtMs = nowMs + LINGER_MS);
    io.send({ op: 'bye' });
    lost(1000, 'drain');
  }

  function heard(): void {
    if (is('open')) silentAtMs = io.nowMs() + heartbeatMs + SILENCE_MS;
  }

  return {
    get state() {
      return state;
    },
    get wakeAtMs() {
      return Math.min(dialAtMs, silentAtMs, refreshAtMs, leaveAtMs, ...again.values());
    },
    tick,
    add(sub: Sub) {
      subs.add(sub);
      if (is('idle')) begin();
      else if (isLinked) subscribe(sub);
    },
    remove(sub: Sub) {
      subs.delete(sub);
      again.delete(sub);
      byNumber.delete(sub.number);
      sub.number = 0;
    },
    token(text: string | undefined) {
      token = text;
      if (is('open')) return io.send({ op: 'auth', token });
      if (!is('connecting')) return;
      silentAtMs = io.nowMs() + GREET_MS;
      io.dial(token);
    },
    /** `isFinal`: nor will there be one. */
    noToken(isFinal: boolean) {
      if (isFinal) {
        end(1000, 'unauthorized');
        become({ state: 'closed', code: 4401, reason: 'there is no token to be had' });
      } else if (is('open')) refreshAtMs = io.nowMs() + backoffMs(io.random(), ++refusals);
      else if (is('connecting')) lost(4000, 'no token came');
    },
    opened() {
      isLinked = true;
      io.send({ op: 'hello', v: 1, token, client });
      for (const sub of subs) subscribe(sub);
    },
    heard,
    received(frame: Frame) {
      const sub = byNumber.get(frame.sub);
      if (Object.hasOwn(on, frame.op)) on[frame.op]?.(frame, sub);
      sub?.on(frame.op, frame);
      heard();
    },
    closed: lost,
    wake(evenIfClosed: boolean) {
      if (is('waiting') || (evenIfClosed && is('closed'))) begin();
      if (!is('open')) return;
      io.send({ op: 'ping', t: 0 });
      silentAtMs = Math.min(silentAtMs, io.nowMs() + SILENCE_MS);
    },
    close() {
      if (is('open')) io.send({ op: 'bye' });
      end(1000, 'done');
      become({ state: 'closed', code: 1000, reason: 'done' });
    },
  };
}

// ── connect: what runs it ──────────────────────────────────────────────────────────────────────────────────────────

const CREDIT = 64;
const ACK_WAIT_MS = 30_000;
const WORK_MS = 600_000;
/** Ids that are known to have been handled. */
const DONE_MAX = 1_000;
/** Frames of one message, and ids of one frame: far below a message's bytes. */
const FRAMES_MAX = 64;
const IDS_MAX = 100;

/** A client of one gateway. It connects when the first subscription is made; publishing goes by HTTP. Throws GatewayError `invalid`. */
export function connect(options: ConnectOptions): Gateway {
  const { key, getToken, transports = [], timeoutMs = TIMEOUT_MS, client = 'millrace-js/0.1' } = options;
  const hooks = {
    onGap: (gap: Gap) => console.warn('millrace: events are missing', gap),
    onError: (error: unknown) => console.warn('millrace:', error),
    ...options.hooks,
  };
  const clock = options.clock ?? systemClock();
  const url = options.url.replace(/\/+$/, '');
  if ((key === undefined) === (getToken === undefined)) throw invalid('give key, or getToken');
  if (key !== undefined && 'document' in globalThis)
    throw invalid('anybody can read a key in a page: use getToken, POST /v1/tokens makes them');
  const listeners = new Set<(state: State) => void>();
  const open = new Set<Subscription>();

  // Tokens: one call for all who wait.
  let asking: Promise<string | undefined> | undefined;
  let kept: { readonly token: string; readonly untilMs: number } | undefined;

  function tokenFor(reason: TokenReason): Promise<string | undefined> {
    if (key !== undefined) return Promise.resolve(key);
    const isGood = kept !== undefined && kept.untilMs > clock.wallMs() + AHEAD_MS;
    if (reason === 'request' && isGood) return Promise.resolve(kept?.token);
    return (asking ??= newToken(reason).finally(() => (asking = undefined)));
  }

  async function newToken(reason: TokenReason): Promise<string> {
    const given = await inTime(clock, timeoutMs, async () => getToken?.({ reason }) ?? '');
    const { token, expiresAt = Infinity } = typeof given === 'string' ? { token: given } : given;
    kept = { token, untilMs: typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt };
    return token;
  }

  // The connection: what it is told belongs to the one that is up, or to nobody.
  let line: ReturnType<Transport> | undefined;
  let [epoch, asked, transport, best, lacking] = [0, 0, 0, Infinity, 0];
  let out: object[] = [];

  const talk = conversation(
    {
      ...clock,
      wantToken(reason) {
        const mine = ++asked;
        tokenFor(reason).then(
          (token) => void (mine === asked && run(() => talk.token(token))),
          (error: unknown) => {
            hooks.onError(error);
            if (mine === asked) run(() => talk.noToken(error instanceof UnauthorizedError));
          },
        );
      },
      dial(token) {
        const mine = ++epoch;
        const mayRun = (work: () => void): void => void (mine === epoch && run(work));
        const dial: Dial = {
          url,
          token,
          fetch: options.fetch ?? fetch,
          on: {
            open: () => mayRun(talk.opened),
            heard: () => mayRun(talk.heard),
            message: (text) => mayRun(() => receive(text)),
            close: (code, reason, afterMs) =>
              mayRun(() => {
                line = undefined;
                transport = talk.state.state === 'open' ? best : transport + 1;
                lacking = code === 0 ? lacking + 1 : 0;
                if (code !== 0) return talk.closed(code, reason, afterMs);
                hooks.onError(new GatewayError('no_transport', reason));
                // Where none of them can be had here, waiting would not change it.
                talk.closed(lacking < transports.length ? 1006 : 4400, reason, 0);
              }),
          },
        };
        try {
          line = transports[transport % transports.length]?.(dial);
          if (line === undefined) dial.on.close(0, 'give connect() transports: [ws, sse]');
        } catch (error) {
          dial.on.close(0, String(error));
        }
      },
      send,
      hangUp(code, reason) {
        flush();
        epoch++;
        line?.close(code, reason);
        line = undefined;
      },
      onState(state) {
        if (state.state === 'open') best = Math.min(best, transport % transports.length);
        hooks.onState?.(state);
        for (const listener of listeners) listener(state);
      },
      onError: (error) => hooks.onError(error),
    },
    client,
  );

  /** What is sent in one turn travels together. */
  function send(frame: object): void {
    if (out.push(frame) === 1) void Promise.resolve().then(flush);
  }

  function flush(): void {
    const frames = out;
    out = [];
    for (let at = 0; at < frames.length; at += FRAMES_MAX) line?.send(JSON.stringify(frames.slice(at, at + FRAMES_MAX)));
  }

  function receive(text: string): void {
    let message: Frame;
    try {
      message = JSON.parse(text);
    } catch {
      return talk.closed(4000, 'what came is no JSON'); // a proxy's page, say: it may be gone the next time
    }
    for (const frame of [message].flat()) if (frame?.op) talk.received(frame);
  }

  // Timers stand still in sleep: each one looks at the clock, and none is longer than a look's.
  let cancel = (): void => undefined;
  function run(work: () => void): void {
    work();
    cancel();
    const waitMs = talk.wakeAtMs - clock.nowMs();
    if (waitMs < Infinity) cancel = clock.after(Math.max(0, Math.min(waitMs, LOOK_MS)), () => run(talk.tick));
  }

  function onState(listener: (state: State) => void): () => void {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  const wake = (): void => run(() => talk.wake(false));
  // Where there are pages: a phone that was in a pocket, a laptop that was shut.
  const { document: page } = globalThis as { readonly document?: EventTarget };
  const listen = (how: 'addEventListener' | 'removeEventListener'): void => {
    (globalThis as Partial<EventTarget>)[how]?.('online', wake);
    page?.[how]('visibilitychange', wake);
  };
  listen('addEventListener');

  const http: Http = { ...options, url, clock, token: tokenFor };
  return {
    get state() {
      return talk.state;
    },
    sendEvent: (event, more) => publishOne(http, event, more),
    sendEvents: (events, more) => publishMany(http, events, more),
    async health() {
      const startMs = clock.wallMs();
      const answer = await call(http, '/v1/health', undefined);
      return { ...answer, skewMs: Date.parse(answer.now) - (startMs + clock.wallMs()) / 2 };
    },
    subscribe: (topics, handler, more = {}) =>
      consume({ talk, clock, hooks, run, send, onState, open }, [topics].flat(), handler, more),
    wake: () => run(() => talk.wake(true)),
    onState,
    async close(how) {
      listen('removeEventListener');
      await Promise.all([...open].map((one) => one.close(how)));
      run(talk.close);
    },
  };
}

/** A token is good for this long at least, or another is asked for. */
const AHEAD_MS = 30_000;

interface Held extends Message {
  readonly event: ReceivedEvent;
  /** By which it is known when it comes again. */
  readonly name: string;
  readonly cursor: string | undefined;
  readonly atMs: number;
  /** Of the sub that it was sent to: under another number an ack would be about something else. */
  number: number;
  isSettled: boolean;
  isOld: boolean;
}

interface Around {
  readonly talk: ReturnType<typeof conversation>;
  readonly clock: Clock;
  readonly hooks: Hooks & Required<Pick<Hooks, 'onGap' | 'onError'>>;
  readonly run: (work: () => void) => void;
  readonly send: (frame: object) => void;
  readonly onState: Gateway['onState'];
  /** All that are not closed. */
  readonly open: Set<Subscription>;
}

/** Messages of one subscription on their way through its handler. */
function consume(around: Around, topics: readonly string[], handler: Handler, options: SubscribeOptions): Subscription {
  const { talk, clock, hooks, run, send } = around;
  const { group, from, filter, create, credit = CREDIT, concurrency = 1, workMs = WORK_MS, dedupe } = options;
  /** Not done with, in the order in which they came; of these, some wait and some run. */
  const here = new Map<string, Held>();
  const queue = new Set<Held>();
  const running = new Set<Held>();
  const done = new Set<string>();
  const unconfirmed = new Map<string, { resolve(): void; reject(error: GatewayError): void }>();
  let handled = new Map<string, string>();
  let owed = 0;
  let ackWaitMs = options.ackWaitMs ?? ACK_WAIT_MS;
  let stopExtending: (() => void) | undefined;
  let closing: Promise<void> | undefined;
  let begun = (): void => undefined;
  let failed = (error: unknown): void => void error;
  let emptied = (): void => undefined;
  const ready = new Promise<void>((resolve, reject) => ([begun, failed] = [resolve, reject]));
  ready.catch(() => undefined); // who does not wait for it hears of it by onError or onState
  const watch = (now: State): void => {
    if (now.state === 'closed') failed(new GatewayError('closed', now.reason));
  };
  watch(talk.state);
  const forget = around.onState(watch);
  const sub: Sub = {
    ask: { topics, ...(group && { group }), from, filter, create },
    credit,
    number: 0,
    held: 0,
    cursors: new Map(),
    on,
  };

  function on(what: string, frame: Frame): void {
    if (what === 'msg') take(frame);
    else if (what === 'subed') subed(frame);
    else if (what === 'gap') tell(frame.gap);
    else if (what === 'acked' || what === 'nacked') confirmed(frame.ids, ({ resolve }) => resolve());
    else if (what === 'unsettled') confirmed(frame.ids, ({ reject }) => reject(frame.error));
    else if (what === 'lost') lost();
    else if (what === 'failed') {
      failed(frame);
      hooks.onError(frame);
      lost();
      void subscription.close();
    }
    if (what === 'unsubed') run(() => talk.remove(sub));
    if (here.size === 0) handled = new Map(sub.cursors);
    if (sub.number === 0 && here.size === 0) emptied();
  }

  function subed(frame: Frame): void {
    ({ ackWaitMs = ackWaitMs } = frame);
    begun();
    if (frame.gap !== undefined || frame.recovered === false) tell(frame.gap ?? { reason: 'unknown_cursor' });
  }

  function tell(gap: Gap): void {
    (options.onGap ?? hooks.onGap)(gap, subscription);
  }

  function confirmed(ids: readonly string[], how: (one: { resolve(): void; reject(error: GatewayError): void }) => void): void {
    for (const id of ids) {
      const one = unconfirmed.get(id);
      if (one !== undefined) how(one);
      unconfirmed.delete(id);
    }
  }

  /** What is not begun comes again, of a group perhaps to others. What runs goes on: when it comes again here, it is known. */
  function lost(): void {
    owed = 0;
    confirmed([...unconfirmed.keys()], ({ reject }) =>
      reject(new GatewayError('connection_lost', 'it was not confirmed', { retryable: true })),
    );
    if (closing !== undefined) talk.remove(sub);
    if (group === undefined) return;
    sub.held = 0;
    for (const one of queue) here.delete(one.name);
    queue.clear();
    for (const one of here.values()) one.number = 0;
  }

  function take({ sub: number, id, cursor, attempt = 1, idempotencyKey, event }: Frame): void {
    const name = id ?? `${event.source}\n${event.id}`;
    const same = here.get(name);
    if (done.has(name) || (same !== undefined && (group === undefined || clock.nowMs() < same.atMs + workMs))) {
      // Handled, and only the word of it was lost; or at work here just now.
      if (same === undefined && group !== undefined) send({ op: 'ack', sub: number, ids: [id], credit: 1 });
      if (same === undefined || group === undefined) release(group === undefined);
      else same.number = number;
      return;
    }
    const one: Held = {
      event,
      name,
      cursor,
      attempt,
      id,
      idempotencyKey,
      number,
      atMs: clock.nowMs(),
      isSettled: false,
      isOld: false,
      ack: () => settle(one, 'ack'),
      nack: (how) => settle(one, 'nack', how),
      extend: (ms) => void (group && send({ op: 'extend', sub: one.number, ids: [id], ms })),
    };
    here.set(name, one);
    queue.add(one);
    if (group !== undefined) stopExtending ??= clock.after(ackWaitMs / 4, extend);
    pump();
  }

  /** Gives the right to send one more; of a group it went with the ack. */
  function release(byItself = true): void {
    sub.held--;
    if (byItself && ++owed >= credit / 2 && sub.number > 0) {
      send({ op: 'credit', sub: sub.number, add: owed });
      owed = 0;
    }
  }

  function pump(): void {
    const keys = new Set([...running].map(({ event }) => event.partitionkey));
    keys.delete(undefined);
    for (const one of queue) {
      if (running.size >= concurrency) return;
      if (keys.has(one.event.partitionkey)) continue;
      if (one.event.partitionkey !== undefined) keys.add(one.event.partitionkey);
      queue.delete(one);
      running.add(one);
      void work(one);
    }
  }

  async function work(one: Held): Promise<void> {
    try {
      await handler(one.event, one);
      if (options.ack !== 'manual') one.ack().catch(() => undefined); // lost on the way: it comes again, and is known
    } catch (error) {
      hooks.onError(error);
      one.nack({ reason: String(error).slice(0, 120) }).catch(() => undefined);
    }
    running.delete(one);
    pump();
  }

  function settle(one: Held, op: 'ack' | 'nack', how?: object): Promise<void> {
    if (one.isSettled) return Promise.resolve();
    one.isSettled = true;
    if (op === 'ack' && (group !== undefined || dedupe)) remember(one.name);
    if (group === undefined) return Promise.resolve(inOrder());
    here.delete(one.name);
    const lives = one.number > 0 && one.number === sub.number;
    const settled = new Promise<void>((resolve, reject) => {
      const { id = '' } = one;
      if (!lives) return reject(new GatewayError('connection_lost', 'its connection is gone', { retryable: true }));
      unconfirmed.set(id, { resolve, reject });
      send({ op, sub: one.number, ids: [id], ...how, credit: 1 });
    });
    if (lives) release(false);
    on('', {});
    return settled;
  }

  /** A place can be gone on from when everything before it was handled. */
  function inOrder(): void {
    for (const one of here.values()) {
      if (!one.isSettled) break;
      here.delete(one.name);
      if (one.cursor !== undefined) handled.set(partOf(one.cursor), one.cursor);
      release();
    }
    on('', {});
  }

  function remember(name: string): void {
    done.add(name);
    for (const oldest of done) if (done.size > DONE_MAX) done.delete(oldest);
  }

  /** What is here and not begun yet would run out of time as well. */
  function extend(): void {
    const [nowMs, ids] = [clock.nowMs(), [] as string[]];
    for (const one of here.values()) {
      if (one.isOld && one.number > 0 && nowMs < one.atMs + workMs) ids.push(one.name);
      one.isOld = true;
    }
    for (let at = 0; at < ids.length; at += IDS_MAX)
      send({ op: 'extend', sub: sub.number, ids: ids.slice(at, at + IDS_MAX), ms: ackWaitMs });
    stopExtending = here.size === 0 ? undefined : clock.after(ackWaitMs / 4, extend);
  }

  const subscription: Subscription = {
    ready,
    get cursors() {
      return [...handled.values()];
    },
    close: ({ now = false } = {}) =>
      (closing ??= new Promise<void>((resolve) => {
        emptied = () => {
          forget();
          around.open.delete(subscription);
          stopExtending?.();
          resolve();
        };
        if (sub.number > 0) send({ op: 'unsub', sub: sub.number, ...(!now && group && { drain: true }) });
        if (now) [here, queue].forEach((all) => all.clear());
        if (now || sub.number === 0) run(() => talk.remove(sub));
        on('', {});
      })),
  };
  around.open.add(subscription);
  run(() => talk.add(sub));
  return subscription;
}

/** Sleep stops one of the two clocks of a machine, and people set the other: what has passed is what either of them says. */
function systemClock(): Clock {
  let [passedMs, wallMs, runningMs] = [0, Date.now(), performance.now()];
  return {
    nowMs() {
      const [wall, runs] = [Date.now(), performance.now()];
      passedMs += Math.max(wall - wallMs, runs - runningMs);
      [wallMs, runningMs] = [wall, runs];
      return passedMs;
    },
    wallMs: Date.now,
    random: Math.random,
    after(delayMs, work) {
      const timer = setTimeout(work, delayMs);
      return () => clearTimeout(timer);
    },
  };
}

// ── transports ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** WebSocket by a class that works as the platform's: `webSocket(WebSocket)` with that of the package `ws`, for Node 20. */
export const webSocket =
  (Class?: typeof WebSocket): Transport =>
  ({ url, on }) => {
    const Socket = Class ?? globalThis.WebSocket;
    if (Socket === undefined) throw new GatewayError('no_transport', 'there is no WebSocket here: use sse, or webSocket(class)');
    const socket = new Socket(`${url.replace(/^http/, 'ws')}/v1/stream`, 'millrace.v1');
    socket.addEventListener('open', on.open);
    socket.addEventListener('message', ({ data }) => on.message(String(data)));
    socket.addEventListener('close', ({ code, reason }) => on.close(code, reason));
    socket.addEventListener('error', () => undefined); // what happened is told by close; unheard, some platforms throw it
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
  const waiting: string[] = [];
  let session: string | undefined;
  let isPosting = false;
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };

  async function post(path: string, text: string): Promise<Response> {
    const body = text.startsWith('[') ? text : `[${text}]`;
    const answer = await fetch(`${url}/v1/sse${path}`, { method: 'POST', headers, body, signal: ended.signal });
    if (!answer.ok) throw errorOf({}, answer.status, retryAfterOf(answer, Date.now()));
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
      on.heard();
      const blocks = (text + decoder.decode(next.value, { stream: true })).split(/\r?\n\r?\n/);
      text = blocks.pop() ?? '';
      for (const block of blocks) take(block);
    }
  }

  function take(block: string): void {
    const data = block.split(/\r?\n/).flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trimStart()] : []));
    if (data.length === 0) return;
    const text = data.join('\n');
    session ??= /"session":\s*"([^"]+)"/.exec(text)?.[1];
    on.message(text);
    void pass();
  }

  /** One after the other, so that they come in order. */
  async function pass(): Promise<void> {
    if (isPosting || session === undefined) return;
    isPosting = true;
    for (let text = waiting.shift(); text !== undefined; text = waiting.shift()) {
      const tooLong = setTimeout(fail, GREET_MS, {}); // the stream is alive, and what it is asked comes to nothing
      await post(`/${session}`, text).catch(fail);
      clearTimeout(tooLong);
    }
    isPosting = false;
  }

  function fail(error: unknown): void {
    if (ended.signal.aborted) return;
    ended.abort();
    const { code, status = 0, retryAfterMs } = error as Partial<GatewayError>;
    on.close(code === 'no_transport' ? 0 : (CLOSE_OF[status] ?? 1006), String(error), retryAfterMs);
  }

  Promise.resolve().then(on.open, fail);
  let isFirst = true;
  return {
    send(text) {
      if (!isFirst) {
        waiting.push(text);
        return void pass();
      }
      isFirst = false;
      read(text).then(() => fail({}), fail);
    },
    close: () => ended.abort(),
  };
};

/** What an answer would be as a close code; others come again. */
const CLOSE_OF: Readonly<Record<number, number>> = {
  400: 4400,
  401: 4401,
  403: 4403,
  413: 4413,
  426: 4426,
  429: 4029,
  503: 4100,
};

// ── publish ────────────────────────────────────────────────────────────────────────────────────────────────────────

const TIMEOUT_MS = 10_000;
const RETRIES = 3;

interface Http extends HttpOptions {
  readonly url: string;
  readonly clock: Clock;
  readonly token: (reason: TokenReason) => Promise<string | undefined>;
}

/**
 * Publishes one event, without a client: `secret` is an API key (`mr_…`) with the scope `publish`, sent as a bearer token; an idempotency key and
 * retries as in `Gateway.sendEvent`. A `whsec_` secret signs webhooks and is refused here: the gateway takes keys, no signatures.
 */
export function sendEvent(
  url: string,
  secret: string,
  event: EventDraft,
  options: SendOptions & HttpOptions = {},
): Promise<Receipt> {
  if (secret.startsWith('wh')) throw invalid('publishing takes an API key (mr_…); a whsec_ secret is for webhooks');
  const http = { clock: systemClock(), ...options, url: url.replace(/\/+$/, ''), token: async () => secret };
  return publishOne(http, event, options);
}

async function publishOne(http: Http, event: EventDraft, options: SendOptions = {}): Promise<Receipt> {
  // A key of one's own stands for the event, also when it is sent by another process: nothing random may be in it.
  const whole = options.idempotencyKey === undefined ? { ...event, id: event.id ?? randomHex(16) } : event;
  const { id, status } = await call(http, '/v1/events', whole, { idempotencyKey: String(whole.id), ...options });
  return { id, duplicate: status === 'duplicate' };
}

async function publishMany(http: Http, events: readonly EventDraft[], options: SendOptions = {}): Promise<readonly Result[]> {
  const whole = events.map((event) => ({ ...event, id: event.id ?? randomHex(16) }));
  const { results } = await call(http, '/v1/events', whole, options);
  return results.map(({ id, status, problem }: Frame) =>
    problem === undefined ? { id, duplicate: status === 'duplicate' } : { error: errorOf(problem, problem.status) },
  );
}

/** One call, with its attempts. */
async function call(http: Http, path: string, body: unknown, options: SendOptions = {}): Promise<Frame> {
  const { clock, hooks } = http;
  const startMs = clock.nowMs();
  const trace = options.traceparent ?? `00-${randomHex(16)}-${randomHex(8)}-02`;
  let reason: TokenReason = 'request';
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await once(http, path, body, { ...options, traceparent: trace, attempt, reason });
      return answer;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      const isStale = error.status === 401 && reason === 'request';
      if (isStale) reason = 'unauthorized';
      else if (!error.retryable) throw error;
      const waitMs = isStale ? 0 : (error.retryAfterMs ?? backoffMs(clock.random(), attempt));
      const passedMs = clock.nowMs() - startMs;
      if (attempt > (options.retries ?? RETRIES) || passedMs + waitMs > (options.budgetMs ?? Infinity)) throw error;
      hooks?.onRetry?.({ path, attempt, waitMs, error });
      await pause(clock, waitMs, options.signal);
    }
  }
}

type Attempt = SendOptions & { readonly attempt: number; readonly reason: TokenReason };

async function once(
  http: Http,
  path: string,
  body: unknown,
  { attempt, reason, signal, traceparent, idempotencyKey }: Attempt,
): Promise<Frame> {
  const { url, clock, hooks, timeoutMs = TIMEOUT_MS } = http;
  const token = await http.token(reason);
  const headers: Record<string, string> = { traceparent: traceparent ?? '', ...(token && { authorization: `Bearer ${token}` }) };
  if (idempotencyKey !== undefined) headers['idempotency-key'] = idempotencyKey;
  if (body !== undefined) headers['content-type'] = 'application/json';
  Object.assign(headers, hooks?.onRequest?.({ path, attempt }));
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  try {
    const [answer, text] = await inTime(clock, timeoutMs, async () => {
      const init = { method: body === undefined ? 'GET' : 'POST', headers, signal: stop.signal };
      const answer = await (http.fetch ?? fetch)(url + path, body === undefined ? init : { ...init, body: JSON.stringify(body) });
      return [answer, await answer.text()] as const;
    });
    const json = parsed(text);
    if (json && (answer.ok || json.results)) return json;
    // A page of somebody on the way is as good as a bad gateway.
    throw errorOf(json ?? {}, answer.ok ? 502 : answer.status, retryAfterOf(answer, clock.wallMs()));
  } catch (error) {
    stop.abort();
    if (signal?.aborted) throw signal.reason;
    if (error instanceof GatewayError) throw error;
    throw new GatewayError('network', 'the gateway was not reached', { retryable: true, cause: error });
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function parsed(text: string): Frame {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not every answer on the way is the gateway's
  }
}

/** 409 is for good, unless the answer says when to come again. */
function errorOf({ code, detail, title }: Frame, status: number, retryAfterMs?: number): GatewayError {
  const retryable = status >= 500 || [408, 425, 429].includes(status) || (status === 409 && retryAfterMs !== undefined);
  return new GatewayError(code ?? `http_${status}`, detail ?? title, {
    status,
    retryable,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** `Retry-After`: seconds, or a date. */
function retryAfterOf({ headers }: Response, nowMs: number): number | undefined {
  const value = headers.get('retry-after');
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - nowMs;
  return ms >= 0 ? ms : undefined;
}

function inTime<T>(clock: Clock, timeoutMs: number, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = new GatewayError('timeout', `no answer within ${timeoutMs} ms`, { retryable: true });
    const cancel = clock.after(timeoutMs, () => reject(late));
    work().then(resolve, reject).finally(cancel);
  });
}

function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort);
  });
}

const invalid = (message: string): GatewayError => new GatewayError('invalid', message);

/** `crypto.randomUUID` is missing on pages without TLS, and all of `crypto` in React Native: an id must be new, not secret. */
function randomHex(bytes: number): string {
  const all = new Uint8Array(bytes);
  if ('crypto' in globalThis) crypto.getRandomValues(all);
  else for (let at = 0; at < bytes; at++) all[at] = Math.random() * 256;
  return toHex(all);
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
  const { maxEvents = 100, clock = systemClock(), onChange } = options;
  const waiting: EventDraft[] = [];
  let last: Promise<unknown> = Promise.resolve();

  async function deliver(event: EventDraft, more?: SendOptions): Promise<Receipt> {
    for (let failures = 1; ; failures++) {
      try {
        return await gateway.sendEvent(event, more);
      } catch (error) {
        if (!(error instanceof GatewayError && error.retryable)) throw error;
        await untilOpen(backoffMs(clock.random(), failures));
      }
    }
  }

  /** A connection that comes up is a better sign than time. */
  function untilOpen(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        cancel();
        forget();
        resolve();
      };
      const cancel = clock.after(delayMs, go);
      const forget = gateway.onState(({ state }) => state === 'open' && go());
    });
  }

  return {
    waiting,
    sendEvent(event, more) {
      if (waiting.length >= maxEvents) return Promise.reject(new GatewayError('outbox_full', `${maxEvents} events wait already`));
      const whole = { ...event, id: event.id ?? randomHex(16) };
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

const TOLERANCE_SECONDS = 300;
/** Of one header: a stranger must not make us verify thousands. */
const SIGNATURES_MAX = 32;

/**
 * Standard Webhooks. Resolves where one of the secrets signed these bytes, and throws VerifyError otherwise: who forgets to look at the result
 * believes nothing false. The id is the message's, the same on every attempt.
 */
export async function verify({
  headers,
  body,
  secrets,
  toleranceSeconds = TOLERANCE_SECONDS,
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
  /** Of `first`: what fails so often is given to `onFailed` and left. Default 10. */
  readonly attempts?: number;
  readonly onFailed?: (webhook: Webhook, error: unknown) => unknown;
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

const BODY_BYTES = 1_048_576;
const CLAIM_MS = 60_000;
const ATTEMPTS = 10;
/** Asked of a sender whose other copy is at work here. */
const BUSY_SECONDS = '5';

/**
 * A webhook's endpoint as a web-standard handler: reads the raw body itself, verifies, lets each id through once, acks. GET says that it is there,
 * OPTIONS answers the CloudEvents handshake, and a signed `millrace.challenge` is answered with its text. 401: not believed; 409: its copy is at work.
 */
export function receiver(options: ReceiverOptions): Receiver {
  const { secrets, scheme, toleranceSeconds, store, handle, ack = 'after', onError } = options;
  const { claimMs = CLAIM_MS, attempts = ATTEMPTS, maxBytes = BODY_BYTES, nowMs = Date.now } = options;

  async function work(webhook: Webhook, untilMs: number, attempt: number): Promise<void> {
    try {
      await handle(eventOf(webhook), webhook);
    } catch (error) {
      // What is kept stays claimed: that is the pause until it is tried again.
      if (ack === 'after') await store.release(webhook.id, untilMs);
      if (ack === 'after' || attempt < attempts) throw error;
      await options.onFailed?.(webhook, error);
    }
    await store.done(webhook.id, nowMs());
  }

  async function take(webhook: Webhook, waitUntil?: (work: Promise<unknown>) => void): Promise<Response> {
    const untilMs = nowMs() + claimMs;
    const claim = await store.claim(webhook.id, nowMs(), untilMs, ack === 'first' ? textOf(webhook) : undefined);
    if (claim === 'busy' && ack === 'after') return answer(409, { 'retry-after': BUSY_SECONDS });
    if (claim !== 'claimed') return answer(204);
    const working = work(webhook, untilMs, 1);
    if (ack === 'after') await working;
    else waitUntil?.(working.catch((error: unknown) => onError?.(error)));
    return answer(204);
  }

  const serve: Receiver = Object.assign(
    async (request: Request, context?: Parameters<Receiver>[1]) => {
      const { method, headers } = request;
      if (method === 'GET' || method === 'HEAD')
        return answer(200, { 'content-type': 'application/json' }, method === 'GET' ? '{"status":"ready"}' : null);
      if (method === 'OPTIONS') return handshake(headers.get('webhook-request-origin') ?? '', options.origins);
      if (method !== 'POST') return answer(405, { allow: 'POST' });
      try {
        const body = await bodyOf(request, maxBytes);
        if (body === undefined) return answer(413);
        const signed = { secrets, toleranceSeconds, headers, body, nowMs: nowMs() };
        const { id } = await (scheme === 'simple' ? verifySimple(signed) : verify(signed));
        if (!id) return answer(400);
        const webhook = { id, headers: toldBy(headers), body };
        const { type, data } = eventOf(webhook);
        if (type === 'millrace.challenge')
          return answer(200, {}, String((data as { challenge?: unknown } | undefined)?.challenge));
        return await take(webhook, context?.waitUntil?.bind(context) ?? (() => undefined));
      } catch (error) {
        onError?.(error);
        const isTheirs = error instanceof VerifyError && !/^(bad_secret|no_crypto)$/.test(error.message);
        return answer(isTheirs ? 401 : 500);
      }
    },
    {
      async drain() {
        for (let count = 0; ; count++) {
          const untilMs = nowMs() + claimMs;
          const next = await store.next?.(nowMs(), untilMs);
          if (next === undefined) return count;
          await work(webhookOf(next.kept), untilMs, next.attempts).catch((error: unknown) => onError?.(error));
        }
      },
    },
  );
  return serve;
}

const answer = (status: number, headers: Record<string, string> = {}, body: string | null = null): Response =>
  new Response(body, { status, headers });

/** CloudEvents webhooks, section 4: the header is the consent, not the status. */
function handshake(origin: string, origins: readonly string[] = [origin]): Response {
  if (!origin || !origins.includes(origin)) return answer(403);
  return answer(200, { 'webhook-allowed-origin': origin, 'webhook-allowed-rate': '*', allow: 'POST' });
}

/** Undefined: too long. Counted as it comes, as what is said of its length may be wrong. */
async function bodyOf({ body }: Request, maxBytes: number): Promise<Bytes | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const reader = body?.getReader();
  for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
    bytes += next.value.length;
    if (bytes > maxBytes) {
      await reader?.cancel();
      return undefined;
    }
    chunks.push(next.value);
  }
  return bytesOf(...chunks);
}

function toldBy(headers: Headers): Record<string, string> {
  return Object.fromEntries(
    [...headers].filter(([name]) => /^(ce-|content-type$|webhook-(id|timestamp)$|millrace-|traceparent$)/.test(name)),
  );
}

/** CloudEvents in binary or structured mode; of others, what the body says of its type. */
function eventOf({ id, headers, body }: Webhook): ReceivedEvent {
  const contentType = headers['content-type'] ?? 'application/json';
  const json = /[/+]json/.test(contentType) ? parsed(new TextDecoder().decode(body)) : undefined;
  if (contentType.startsWith('application/cloudevents+json')) return json;
  const attributes = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith('ce-') ? [[name.slice(3), unescaped(value)]] : [],
  );
  const data = json === undefined ? { data_base64: toBase64(body) } : { data: json };
  return { id, source: '', type: String(json?.type ?? ''), ...Object.fromEntries(attributes), ...(body.length > 0 && data) };
}

function unescaped(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value; // a percent sign that stands for itself
  }
}

const textOf = ({ body, ...rest }: Webhook): string => JSON.stringify({ ...rest, body: toBase64(body) });
const webhookOf = (text: string): Webhook => {
  const { body, ...rest } = JSON.parse(text);
  return { ...rest, body: fromBase64(body) };
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

/** As long as anybody may send it again: the default schedule of a subscription takes three and a half days. */
const KEEP_MS = 604_800_000;

interface Seen {
  readonly untilMs: number;
  readonly isDone: boolean;
  readonly attempts: number;
  readonly kept?: string | undefined;
}

/** What a claim finds, and what is to be written where it holds. */
function claimed(seen: Seen | undefined, nowMs: number, untilMs: number, kept?: string): Seen | 'busy' | 'done' {
  if (seen?.isDone) return 'done';
  if (seen !== undefined && seen.untilMs > nowMs) return 'busy';
  return { untilMs, isDone: false, attempts: (seen?.attempts ?? 0) + 1, kept: seen?.kept ?? kept };
}

/** Of one process, and gone with it: for tests, and where twice does no harm. Beyond `maxIds` (10,000) the oldest that are done are forgotten. */
export function memoryStore({ maxIds = 10_000 }: { readonly maxIds?: number } = {}): SeenStore {
  const all = new Map<string, Seen>();
  return {
    async claim(id, nowMs, untilMs, kept) {
      const found = claimed(all.get(id), nowMs, untilMs, kept);
      if (typeof found === 'string') return found;
      for (const [old, { isDone }] of all) if (all.size >= maxIds && isDone) all.delete(old);
      if (all.size >= maxIds && !all.has(id))
        throw new GatewayError('store_full', `${maxIds} webhooks are at work`, { retryable: true });
      all.set(id, found);
      return 'claimed';
    },
    async done(id, nowMs) {
      all.delete(id); // to the end: it is the newest of those that are done
      all.set(id, { untilMs: nowMs, isDone: true, attempts: 0 });
    },
    async release(id, untilMs) {
      const seen = all.get(id);
      if (seen?.untilMs !== untilMs || seen.isDone) return;
      if (seen.kept === undefined) all.delete(id);
      else all.set(id, { ...seen, untilMs: 0 });
    },
    async next(nowMs, untilMs) {
      for (const [id, seen] of all) {
        if (seen.isDone || seen.kept === undefined || seen.untilMs > nowMs) continue;
        all.set(id, { ...seen, untilMs, attempts: seen.attempts + 1 });
        return { kept: seen.kept, attempts: seen.attempts + 1 };
      }
      return undefined;
    },
  };
}

/** `new DatabaseSync(path)` of node:sqlite, a better-sqlite3 or a bun:sqlite database. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): { all(...values: (string | number | null)[]): unknown[] };
}

export interface SqlOptions {
  /** Default 604,800,000: seven days. */
  readonly keepMs?: number;
}

/** In a table `millrace_seen`, which it makes. What is acked is as durable as the database is set to. */
export function sqliteStore(database: SqliteDatabase, options: SqlOptions = {}): SeenStore {
  for (const statement of SCHEMA) database.exec(statement);
  return sqlStore(async (sql, values) => database.prepare(sql).all(...values), options);
}

/** `pool.query` of the package pg, or whatever takes a statement with `$1` and its values and resolves with rows. */
export type PostgresQuery = (sql: string, values: (string | number | null)[]) => Promise<{ readonly rows: readonly unknown[] }>;

/** In a table `millrace_seen`, which it makes at the first claim. */
export function postgresStore(query: PostgresQuery, options: SqlOptions = {}): SeenStore {
  let made: Promise<unknown> | undefined;
  const make = async (): Promise<void> => {
    for (const statement of SCHEMA) await query(statement, []);
  };
  return sqlStore(async (sql, values) => {
    await (made ??= make().catch((error: unknown) => ((made = undefined), Promise.reject(error))));
    let at = 0;
    return (
      await query(
        sql.replace(/\?/g, () => `$${++at}`),
        values,
      )
    ).rows;
  }, options);
}

const SCHEMA = [
  'CREATE TABLE IF NOT EXISTS millrace_seen (id TEXT PRIMARY KEY, until_ms BIGINT NOT NULL, done INTEGER NOT NULL, attempts INTEGER NOT NULL, kept TEXT)',
  'CREATE INDEX IF NOT EXISTS millrace_seen_until ON millrace_seen (done, until_ms)',
];

/** Each statement returns rows: some drivers have one call for those that do, and another for those that don't. */
function sqlStore(
  run: (sql: string, values: (string | number | null)[]) => Promise<readonly unknown[]>,
  { keepMs = KEEP_MS }: SqlOptions,
): SeenStore {
  return {
    async claim(id, nowMs, untilMs, kept = null as never) {
      const rows = await run(
        'INSERT INTO millrace_seen AS seen (id, until_ms, done, attempts, kept) VALUES (?, ?, 0, 1, ?) ON CONFLICT (id) DO UPDATE ' +
          'SET until_ms = excluded.until_ms, attempts = seen.attempts + 1 WHERE seen.done = 0 AND seen.until_ms <= ? RETURNING id',
        [id, untilMs, kept, nowMs],
      );
      if (rows.length > 0) return 'claimed';
      return (await run('SELECT 1 FROM millrace_seen WHERE id = ? AND done = 1', [id])).length > 0 ? 'done' : 'busy';
    },
    async done(id, nowMs) {
      await run('UPDATE millrace_seen SET done = 1, until_ms = ?, kept = NULL WHERE id = ? RETURNING id', [nowMs, id]);
      await run('DELETE FROM millrace_seen WHERE done = 1 AND until_ms < ? RETURNING id', [nowMs - keepMs]);
      await run('DELETE FROM millrace_seen WHERE done = 0 AND until_ms < ? AND kept IS NULL RETURNING id', [nowMs - keepMs]);
    },
    async release(id, untilMs) {
      await run('UPDATE millrace_seen SET until_ms = 0 WHERE id = ? AND until_ms = ? AND done = 0 RETURNING id', [id, untilMs]);
    },
    async next(nowMs, untilMs) {
      // The last condition is for Postgres, where two may have chosen the same one.
      const rows = await run(
        'UPDATE millrace_seen SET until_ms = ?, attempts = attempts + 1 WHERE id = (SELECT id FROM millrace_seen WHERE done = 0 AND ' +
          'kept IS NOT NULL AND until_ms <= ? ORDER BY until_ms LIMIT 1) AND done = 0 AND until_ms <= ? RETURNING kept, attempts',
        [untilMs, nowMs, nowMs],
      );
      return rows[0] as { readonly kept: string; readonly attempts: number } | undefined;
    },
  };
}

/** The storage of a Durable Object: `ctx.storage`. */
export interface DurableStorage {
  transaction<T>(work: (storage: DurableStorage) => Promise<T>): Promise<T>;
  get<T>(key: string): Promise<T | undefined>;
  put<T>(key: string, value: T): Promise<void>;
  delete(key: string): Promise<boolean>;
  list<T>(options: { readonly prefix: string; readonly limit: number }): Promise<Map<string, T>>;
}

/** How many that are too old are forgotten with each that is done: more than come in. */
const FORGET_MAX = 4;

/** In a Durable Object, one for as many webhooks as share an id space. A value holds 128 KiB on the older backend: with `ack: 'first'` use the SQLite one. */
export function durableObjectStore(storage: DurableStorage, { keepMs = KEEP_MS }: SqlOptions = {}): SeenStore {
  const OPEN = 'kept:';
  return {
    claim: (id, nowMs, untilMs, kept) =>
      storage.transaction(async (inside) => {
        const found = claimed(await inside.get<Seen>(`seen:${id}`), nowMs, untilMs, kept);
        if (typeof found === 'string') return found;
        await inside.put(`seen:${id}`, found);
        if (kept !== undefined) await inside.put(OPEN + id, untilMs);
        return 'claimed';
      }),
    done: (id, nowMs) =>
      storage.transaction(async (inside) => {
        await inside.put<Seen>(`seen:${id}`, { untilMs: nowMs, isDone: true, attempts: 0 });
        await inside.delete(OPEN + id);
        await inside.put(`old:${String(nowMs).padStart(15, '0')}:${id}`, id);
        for (const [key, old] of await inside.list<string>({ prefix: 'old:', limit: FORGET_MAX })) {
          if (Number(key.slice(4, 19)) >= nowMs - keepMs) break;
          await inside.delete(key);
          if ((await inside.get<Seen>(`seen:${old}`))?.untilMs === Number(key.slice(4, 19))) await inside.delete(`seen:${old}`);
        }
      }),
    release: (id, untilMs) =>
      storage.transaction(async (inside) => {
        const seen = await inside.get<Seen>(`seen:${id}`);
        if (seen?.untilMs !== untilMs || seen.isDone) return;
        if (seen.kept === undefined) await inside.delete(`seen:${id}`);
        else await inside.put(`seen:${id}`, { ...seen, untilMs: 0 });
      }),
    next: (nowMs, untilMs) =>
      storage.transaction(async (inside) => {
        for (const key of (await inside.list({ prefix: OPEN, limit: 1_000 })).keys()) {
          const name = `seen:${key.slice(OPEN.length)}`;
          const seen = await inside.get<Seen>(name);
          if (seen?.kept === undefined || seen.isDone || seen.untilMs > nowMs) continue;
          await inside.put<Seen>(name, { ...seen, untilMs, attempts: seen.attempts + 1 });
          return { kept: seen.kept, attempts: seen.attempts + 1 };
        }
        return undefined;
      }),
  };
}
