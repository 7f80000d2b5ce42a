/**
 * A session: one client's conversation in `millrace.v1` (spec/protocol.md), whatever carries it. Knows no transport: messages come in by
 * `receive`, go out by the connection it was given, and time is the clock's.
 *
 *   new ── hello ──► greeted ── bye, close, error that ends it ──► ended
 */
import { compileFilter } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import type { Published } from '../api.ts';
import { type Caller, mayUseTopics } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { CLOSE, type CloseCode, closeCodeOf } from './close-codes.ts';
import { cursorText, partOf } from './cursors.ts';
import type { Feed, FeedGap, Feeds } from './feeds.ts';
import { type ClientFrame, FRAME_BOUNDS, readFrames, type SubFrame } from './frames.ts';
import type { Messages, Shared } from './messages.ts';

/** What carries a session. */
export interface Connection {
  send(text: string): void;
  sendShared(shared: Shared): void;
  /** Given to it and not taken by the network yet. */
  readonly unsentBytes: number;
  close(code: CloseCode, reason: string): void;
}

export interface Session {
  /** One message of the client. */
  receive(message: Uint8Array): void;
  /** The network has taken what was unsent. */
  drained(): void;
  /** The gateway is about to stop: the client is asked to come back elsewhere, within a span. */
  drain(withinMs: number): void;
  /** The right to be here is gone: `unauthorized`. */
  revoked(): void;
  end(code: CloseCode, reason: string): void;
  /** The connection is gone. */
  closed(): void;
  readonly caller: Caller | undefined;
}

export interface SessionNeeds {
  readonly connection: Connection;
  /** The caller behind a token or key; throws a Problem. */
  readonly admit: (token: string | undefined) => Admitted;
  readonly feeds: Feeds;
  readonly publish: (caller: Caller, event: ClientEvent, idempotencyKey: string | undefined) => Promise<Published>;
  readonly messages: Messages;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly id: string;
  readonly node: string;
  /** Identity of the log. */
  readonly log: string;
  readonly onEnd: () => void;
  readonly onError: (error: unknown) => void;
}

export type ClientEvent = Extract<ClientFrame, { op: 'pub' }>['event'];

export interface Admitted {
  readonly caller: Caller;
  /** When the right ends, wall time. */
  readonly expiresMs?: number;
}

interface Sub {
  readonly number: number;
  readonly topics: readonly string[];
  credit: number;
  feed?: Feed;
  /** It was told that something is missing, and is owed more. */
  ended: boolean;
}

const VERSION = 1;
/** Of a token's life, until another one is asked for. */
const REFRESH_AT = 0.8;
const MISSED_PONGS = 2;
const REASON_CHARS = 120;

export function createSession(needs: SessionNeeds): Session {
  const { connection, clock, limits, feeds, messages, id, node, log, onError } = needs;
  const subs = new Map<number, Sub>();
  const usedNumbers = new Set<number>();
  const timers = new Set<Timer>();
  let caller: Caller | undefined;
  let state: 'new' | 'greeted' | 'ended' = 'new';
  let missed = 0;
  let publishing = 0;
  let slowSince: Timer | undefined;
  let refreshTimer: Timer | undefined;
  let expiryTimer: Timer | undefined;

  function after(delayMs: number, work: () => void): Timer {
    const timer = clock.after(delayMs, () => {
      timers.delete(timer);
      if (state !== 'ended') work();
    });
    timers.add(timer);
    return timer;
  }

  function drop(timer: Timer | undefined): void {
    if (timer === undefined) return;
    timer.cancel();
    timers.delete(timer);
  }

  const say = (frame: Readonly<Record<string, unknown>>): void => connection.send(JSON.stringify(frame));

  /** What is about one sub, publish or delivery does not end the connection. */
  function sayError(error: unknown, about: Readonly<Record<string, unknown>> = {}): void {
    const problem = asProblem(error);
    const { retryAfterMs, status } = problem;
    const retryable = status === 429 || status >= 500;
    say({ op: 'error', ...problem.toJSON(), retryable, ...(retryAfterMs === undefined ? {} : { retryAfterMs }), ...about });
  }

  function asProblem(error: unknown): Problem {
    if (error instanceof Problem) return error;
    onError(error);
    return new Problem('internal_error', 'something unexpected happened; it was logged');
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const helloTimer = after(limits.helloMs, () => end(CLOSE.noHello, 'no hello came'));

  function end(code: CloseCode, reason: string): void {
    if (state === 'ended') return;
    say({ op: 'bye', code, reason: reason.slice(0, REASON_CHARS) });
    connection.close(code, reason.slice(0, REASON_CHARS));
    closed();
  }

  function endBy(error: unknown): void {
    const problem = asProblem(error);
    if (state !== 'ended') sayError(problem);
    end(closeCodeOf(problem), problem.code);
  }

  function closed(): void {
    if (state === 'ended') return;
    state = 'ended';
    for (const timer of timers) timer.cancel();
    timers.clear();
    for (const sub of subs.values()) leave(sub);
    subs.clear();
    needs.onEnd();
  }

  function admitted({ caller: now, expiresMs }: Admitted): void {
    caller = now;
    drop(refreshTimer);
    drop(expiryTimer);
    if (expiresMs === undefined) return;
    const leftMs = Math.max(0, expiresMs - clock.now());
    refreshTimer = after(leftMs * REFRESH_AT, () => say({ op: 'refresh', withinMs: Math.round(leftMs * (1 - REFRESH_AT)) }));
    expiryTimer = after(leftMs + limits.tokenGraceMs, () => end(CLOSE.tokenExpired, 'the token has expired'));
  }

  const lifeOf = ({ expiresMs }: Admitted): { readonly tokenMs?: number } =>
    expiresMs === undefined ? {} : { tokenMs: Math.max(0, expiresMs - clock.now()) };

  function hello({ v, token }: Extract<ClientFrame, { op: 'hello' }>): void {
    if (v !== VERSION) return end(CLOSE.otherVersion, `this server speaks version ${VERSION}`);
    const one = needs.admit(token);
    drop(helloTimer);
    state = 'greeted';
    say({
      op: 'welcome',
      session: id,
      node,
      heartbeatMs: limits.heartbeatMs,
      ...lifeOf(one),
      nowMs: clock.now(),
      maxFrameBytes: limits.frameBytes,
      maxSubs: limits.sessionSubs,
    });
    admitted(one);
    after(limits.heartbeatMs, beat);
  }

  function beat(): void {
    if (missed >= MISSED_PONGS) return end(CLOSE.heartbeat, 'no pong came');
    missed++;
    const cursors = Object.fromEntries(
      [...subs.values()].flatMap(({ number, feed }) => (feed === undefined ? [] : [[number, feed.cursors]])),
    );
    say({ op: 'ping', t: clock.now(), ...(Object.keys(cursors).length === 0 ? {} : { cursors }) });
    after(limits.heartbeatMs, beat);
  }

  function auth({ token }: Extract<ClientFrame, { op: 'auth' }>): void {
    const before = caller as Caller;
    const one = needs.admit(token);
    if (one.caller.app !== before.app || one.caller.environment !== before.environment)
      throw new Problem('forbidden', 'a session stays with the app it began with');
    admitted(one);
    const dropped = [...subs.values()].filter((sub) => !maySubscribe(one.caller, sub.topics));
    for (const sub of dropped) {
      leave(sub);
      subs.delete(sub.number);
    }
    say({ op: 'authed', ...lifeOf(one), dropped: dropped.map(({ number }) => number) });
  }

  // ── subs ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async function subscribe(frame: SubFrame, by: Caller): Promise<void> {
    const { sub: number, topics = [], credit } = frame;
    if (usedNumbers.has(number)) throw new Problem('bad_frame', 'the number of a sub is used once in a session');
    if (subs.size >= limits.sessionSubs)
      throw new Problem('too_many_requests', `a session has at most ${limits.sessionSubs} subs`);
    usedNumbers.add(number);
    mustSubscribe(by, topics);
    const from = frame.from ?? 'latest';
    if (from === 'earliest' || (typeof from === 'object' && from.cursors === undefined))
      throw new Problem('invalid_request', 'a sub without a group begins at latest, last, or cursors', {
        advice: 'What must not miss anything is a group: it keeps its place here.',
      });
    const sub: Sub = { number, topics, credit, ended: false };
    subs.set(number, sub);
    const wish = {
      environment: by.environment,
      app: by.app,
      topics,
      from: typeof from === 'object' ? { cursors: from.cursors ?? [] } : from,
    };
    const filter = frame.filter === undefined ? {} : { filter: compileFilter(frame.filter) };
    try {
      const opened = await feeds.open(
        { ...wish, ...filter },
        {
          take: (record) => {
            if (sub.credit === 0 || !hasRoom()) return false;
            sub.credit--;
            connection.sendShared(messages.msg(number, record, cursorText(partOf(log, record.shard), record)));
            return true;
          },
          gap: (gap: FeedGap) => say({ op: 'gap', sub: number, gap }),
        },
      );
      if (sub.ended || state === 'ended') return opened.feed.close();
      sub.feed = opened.feed;
      const { recovered, gap } = opened;
      say({ op: 'subed', sub: number, cursors: opened.feed.cursors, recovered, ...(gap === undefined ? {} : { gap }) });
      opened.begin();
    } catch (error) {
      subs.delete(number);
      throw error;
    }
  }

  function leave(sub: Sub): void {
    sub.ended = true;
    sub.feed?.close();
  }

  function subOf(number: number): Sub {
    const sub = subs.get(number);
    if (sub === undefined) throw new Problem('not_found', `there is no sub ${number} in this session`);
    return sub;
  }

  function addCredit({ sub: number, add }: { readonly sub: number; readonly add: number }): void {
    const sub = subOf(number);
    if (sub.credit + add > FRAME_BOUNDS.credit)
      throw new Problem(
        'credit_overflow',
        `at most ${FRAME_BOUNDS.credit} messages are outstanding; this would be ${sub.credit + add}`,
      );
    sub.credit += add;
    sub.feed?.pump();
  }

  /** While it is too much, nothing more is sent; while it lasts too long, the client is let go. */
  function hasRoom(): boolean {
    if (connection.unsentBytes <= limits.unsentBytes) return true;
    slowSince ??= after(limits.slowMs, () => end(CLOSE.slowConsumer, 'what was sent is not read'));
    return false;
  }

  // ── publishing ─────────────────────────────────────────────────────────────────────────────────────────────────

  async function publish({ ref, event, idempotencyKey }: Extract<ClientFrame, { op: 'pub' }>, by: Caller): Promise<void> {
    if (publishing >= limits.sessionPublishes)
      throw new Problem('too_many_requests', `at most ${limits.sessionPublishes} publishes of a session are open at once`, {
        retryAfterMs: 100,
      });
    publishing++;
    try {
      mustHave(by, 'publish');
      const published = await needs.publish(by, event, idempotencyKey);
      if (state === 'ended') return;
      if (published.status === 'refused') throw published.problem;
      say({ op: 'pubed', ref, id: published.id, status: published.status });
    } finally {
      publishing--;
    }
  }

  // ── frames ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Where an answer takes time the conversation goes on meanwhile. */
  function later(work: Promise<void>, about: Readonly<Record<string, unknown>>): void {
    work.catch((error: unknown) => void (state === 'ended' || sayError(error, about)));
  }

  function greeted(frame: Exclude<ClientFrame, { op: 'hello' }>, by: Caller): void {
    switch (frame.op) {
      case 'sub':
        return later(subscribe(frame, by), { sub: frame.sub });
      case 'pub':
        return later(publish(frame, by), { ref: frame.ref });
      case 'credit':
        return about({ sub: frame.sub }, () => addCredit(frame));
      case 'unsub':
        return about({ sub: frame.sub }, () => {
          leave(subOf(frame.sub));
          subs.delete(frame.sub);
          say({ op: 'unsubed', sub: frame.sub });
        });
      case 'ack':
      case 'nack':
      case 'extend':
        return about({ sub: frame.sub }, () => {
          subOf(frame.sub);
          if (frame.op !== 'extend' && (frame.credit ?? 0) > 0) addCredit({ sub: frame.sub, add: frame.credit ?? 0 });
          if (frame.op !== 'ack') throw new Problem('invalid_request', `${frame.op} is for the deliveries of a group`);
          say({ op: 'acked', sub: frame.sub, ...(frame.ids === undefined ? { through: frame.through } : { ids: frame.ids }) });
        });
      case 'auth':
        return auth(frame);
      case 'ping':
        return say({ op: 'pong', ...(frame.t === undefined ? {} : { t: frame.t }) });
      case 'pong':
        return void (missed = 0);
      case 'bye':
        return end(CLOSE.done, 'bye');
      case 'unknown':
        return frame.name.startsWith('x-')
          ? undefined
          : sayError(new Problem('unsupported_op', `this server knows no op '${frame.name.slice(0, 40)}'`));
    }
  }

  function about(what: Readonly<Record<string, unknown>>, work: () => void): void {
    try {
      work();
    } catch (error) {
      sayError(error, what);
    }
  }

  function take(frame: ClientFrame): void {
    if (state === 'ended') return;
    missed = 0;
    if (state === 'new') {
      if (frame.op !== 'hello') throw new Problem('bad_frame', 'the first frame is hello');
      return hello(frame);
    }
    if (frame.op === 'hello') throw new Problem('bad_frame', 'there was a hello already');
    greeted(frame, caller as Caller);
  }

  return {
    receive(message) {
      if (state === 'ended') return;
      try {
        for (const frame of readFrames(message)) take(frame);
      } catch (error) {
        endBy(error);
      }
    },
    drained() {
      drop(slowSince);
      slowSince = undefined;
      for (const sub of subs.values()) sub.feed?.pump();
    },
    drain(withinMs) {
      if (state === 'greeted') say({ op: 'drain', withinMs, retryMs: [0, withinMs] });
    },
    revoked: () => endBy(new Problem('unauthorized', 'the token was revoked')),
    end,
    closed,
    get caller() {
      return caller;
    },
  };
}

function mustHave({ admin, scopes }: Caller, scope: 'publish' | 'subscribe'): void {
  if (!admin && !scopes.includes(scope)) throw new Problem('forbidden', `this needs the scope ${scope}`);
}

function mustSubscribe(caller: Caller, topics: readonly string[]): void {
  mustHave(caller, 'subscribe');
  if (topics.length === 0) throw new Problem('invalid_request', 'a sub has topics, or a group');
  for (const [at, topic] of topics.entries()) checkPattern(topic, `/topics/${at}`);
  mayUseTopics(caller, topics, '/topics');
}

function maySubscribe(caller: Caller, topics: readonly string[]): boolean {
  try {
    mustSubscribe(caller, topics);
    return true;
  } catch {
    return false;
  }
}
