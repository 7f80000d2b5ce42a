/**
 * A session: one client's conversation in `millrace.v1` (spec/protocol.md), whatever carries it. Knows no transport: messages come in by
 * `receive`, go out by the connection it was given, and time is the clock's.
 *
 *   new ── hello ──► greeted ── bye, close, error that ends it ──► ended
 */
import { Problem } from '@millrace/core/problem';
import type { Published } from '../api.ts';
import { type Caller, maySeeTopic } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import { type About, asProblem, errorFrame, settledFrames, verdictOf } from './answers.ts';
import { CLOSE, type CloseCode, closeCodeOf } from './close-codes.ts';
import type { Feed, FeedGap, Feeds } from './feeds.ts';
import { FRAME_BOUNDS } from './frame-reader.ts';
import { type ClientFrame, readFrames, type SubFrame } from './frames.ts';
import type { EnterGroup, GroupSub, Settled } from './member.ts';
import type { Messages, Shared } from './messages.ts';
import { maySubscribe, mustHave, wishOf } from './wishes.ts';

/** What carries a session. */
export interface Connection {
  send(text: string): void;
  sendShared(shared: Shared): void;
  /** Given to it and not taken by the network yet. */
  readonly unsentBytes: number;
  close(code: CloseCode, reason: string): void;
  /** Nothing more is read from the client, or is again. */
  hold?(isHeld: boolean): void;
}

export interface Session {
  readonly id: string;
  /** One message of the client. */
  receive(message: Uint8Array): void;
  /** The network has taken what was unsent. */
  drained(): void;
  /** The gateway is about to stop: the client is asked to come back elsewhere, within a span. */
  drain(withinMs: number): void;
  /** The right to be here is gone. */
  refuse(problem: Problem): void;
  end(code: CloseCode, reason: string): void;
  /** The connection is gone. */
  closed(): void;
  readonly caller: Caller | undefined;
}

export interface SessionNeeds {
  readonly connection: Connection;
  /** The caller behind a token or key; throws or rejects with a Problem. */
  readonly admit: (token: string | undefined) => Admitted | Promise<Admitted>;
  /** Counts one more that is open for the caller's app: throws `quota_exceeded`, or answers how to give it back. */
  readonly count: (caller: Caller, what: 'connections' | 'subscriptions', isRelayed: boolean) => () => void;
  readonly feeds: Feeds;
  readonly enterGroup: EnterGroup;
  /** The subscription that a group is, made where it is not there yet and may be made. */
  readonly groupOf: (caller: Caller, frame: SubFrame) => Promise<Versioned<Subscription>>;
  readonly publish: (caller: Caller, event: ClientEvent, idempotencyKey: string | undefined) => Promise<Published>;
  readonly messages: Messages;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly id: string;
  readonly node: string;
  /** Identity of the log. */
  readonly log: string;
  /** It is known who it is. */
  readonly onGreeted: () => void;
  readonly onEnd: () => void;
  readonly onError: (error: unknown) => void;
}

export type ClientEvent = Extract<ClientFrame, { op: 'pub' }>['event'];

export interface Admitted {
  readonly caller: Caller;
  /** As an Authorization header. */
  readonly credentials?: string | undefined;
  /** Another node speaks for the client. */
  readonly isRelayed?: boolean;
  /** When the right ends, wall time. */
  readonly expiresMs?: number;
}

interface Sub {
  readonly number: number;
  readonly kind: 'feed' | 'group';
  /** Of a group, those of the subscription. */
  topics: readonly string[];
  /** Of a group, what is not with it yet. */
  credit: number;
  /** While it is found out where the group is worked. */
  entering?: Promise<unknown>;
  feed?: Feed;
  /** Of the subscription. */
  id?: string;
  group?: GroupSub;
  ended: boolean;
  uncount?: () => void;
}

const VERSION = 1;
/** Of a token's life, until another one is asked for. */
const REFRESH_AT = 0.8;
const MISSED_PONGS = 2;
const REASON_CHARS = 120;

export function createSession(needs: SessionNeeds): Session {
  const { connection, clock, limits, feeds, messages, id, node, log, onError } = needs;
  const subs = new Map<number, Sub>();
  /** Numbers of subs rise, so that none is used twice. */
  let lastNumber = 0;
  let settling = 0;
  const timers = new Set<Timer>();
  let caller: Caller | undefined;
  /** What the client last came in with, for another node. */
  let credentials: string | undefined;
  let state: 'new' | 'greeting' | 'greeted' | 'ended' = 'new';
  /** Frames that came while it was found out who says hello. */
  let early: ClientFrame[] = [];
  let uncount = (): void => undefined;
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

  /** A client that reads no answers is not asked for more questions. */
  function say(frame: object): void {
    connection.send(JSON.stringify(frame));
    if (state !== 'ended' && !hasRoom()) connection.hold?.(true);
  }

  /** What is about one sub, publish or delivery does not end the connection. */
  function sayError(error: unknown, about: About = {}): void {
    say(errorFrame(asProblem(error, onError), about));
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const helloTimer = after(limits.helloMs, () => end(CLOSE.noHello, 'no hello came'));

  function end(code: CloseCode, reason: string): void {
    if (state === 'ended') return;
    // Who is asked to go, or says bye, leaves nothing behind that failed.
    if (code === CLOSE.drain || code === CLOSE.done) for (const sub of subs.values()) leave(sub, 'returned');
    say({ op: 'bye', code, reason: reason.slice(0, REASON_CHARS) });
    connection.close(code, reason.slice(0, REASON_CHARS));
    closed();
  }

  function endBy(error: unknown): void {
    const problem = asProblem(error, onError);
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
    early = [];
    uncount();
    needs.onEnd();
  }

  function admitted({ caller: now, credentials: own, expiresMs }: Admitted): void {
    caller = now;
    credentials = own;
    drop(refreshTimer);
    drop(expiryTimer);
    if (expiresMs === undefined) return;
    const leftMs = Math.max(0, expiresMs - clock.now());
    // Keys last longer than a timer; they are not renewed anyway.
    if (now.token !== undefined)
      refreshTimer = after(leftMs * REFRESH_AT, () => say({ op: 'refresh', withinMs: Math.round(leftMs * (1 - REFRESH_AT)) }));
    expireAt(expiresMs + limits.tokenGraceMs);
  }

  /** A timer lasts a day at most. */
  function expireAt(atMs: number): void {
    expiryTimer = after(Math.max(0, atMs - clock.now()), () => {
      if (clock.now() < atMs) return expireAt(atMs);
      end(CLOSE.tokenExpired, 'the token has expired');
    });
  }

  const lifeOf = ({ expiresMs }: Admitted): { readonly tokenMs?: number } =>
    expiresMs === undefined ? {} : { tokenMs: Math.max(0, expiresMs - clock.now()) };

  function hello({ v, token }: Extract<ClientFrame, { op: 'hello' }>): void {
    if (v !== VERSION) return end(CLOSE.otherVersion, `this server speaks version ${VERSION}`);
    state = 'greeting';
    const admitting = needs.admit(token);
    if (!(admitting instanceof Promise)) return greet(admitting);
    admitting.then(greet).catch(endBy);
  }

  function greet(one: Admitted): void {
    if (state !== 'greeting') return;
    uncount = needs.count(one.caller, 'connections', one.isRelayed === true);
    drop(helloTimer);
    state = 'greeted';
    needs.onGreeted();
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
    const frames = early;
    early = [];
    for (const frame of frames) take(frame);
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

  async function auth({ token }: Extract<ClientFrame, { op: 'auth' }>): Promise<void> {
    const before = caller as Caller;
    const one = await needs.admit(token);
    if (state === 'ended') return;
    if (one.caller.app !== before.app || one.caller.environment !== before.environment)
      throw new Problem('forbidden', 'a session stays with the app it began with');
    admitted(one);
    const dropped: Sub[] = [];
    // What is begun meanwhile is begun with the new token.
    for (const sub of Array.from(subs.values()))
      if (!(await maySee(one.caller, sub))) dropped.push(sub);
      else sub.group?.renew?.(credentials ?? '');
    for (const sub of dropped) takeOut(sub);
    say({ op: 'authed', ...lifeOf(one), dropped: dropped.map(({ number }) => number) });
  }

  // ── subs ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Of a group the topics may have changed since. */
  async function maySee(by: Caller, { kind, number, topics, id }: Sub): Promise<boolean> {
    if (kind === 'feed') return maySubscribe(by, topics);
    try {
      if (id !== undefined) await needs.groupOf(by, { op: 'sub', sub: number, group: id, credit: 0, create: false });
      return true;
    } catch {
      return false;
    }
  }

  function takeOut(sub: Sub): void {
    leave(sub, 'returned');
    subs.delete(sub.number);
  }

  async function subscribe(frame: SubFrame, by: Caller): Promise<void> {
    const { sub: number, topics = [], credit } = frame;
    if (number <= lastNumber) throw new Problem('bad_frame', 'each sub of a session has a higher number than those before it');
    lastNumber = number;
    if (subs.size >= limits.sessionSubs)
      throw new Problem('too_many_requests', `a session has at most ${limits.sessionSubs} subs`);
    mustHave(by, 'subscribe');
    const sub: Sub = { number, kind: frame.group === undefined ? 'feed' : 'group', topics, credit, ended: false };
    subs.set(number, sub);
    try {
      // What is configured counts by itself.
      if (sub.kind === 'feed') sub.uncount = needs.count(by, 'subscriptions', false);
      await (sub.kind === 'feed' ? follow(sub, frame, by) : join(sub, frame, by));
    } catch (error) {
      leave(sub);
      subs.delete(number);
      throw error;
    }
  }

  /** Ephemeral: fed from the tails. */
  async function follow(sub: Sub, frame: SubFrame, by: Caller): Promise<void> {
    const { number } = sub;
    const opened = await feeds.open(wishOf(frame, by), {
      take(record) {
        if (sub.credit === 0 || !hasRoom()) return false;
        sub.credit--;
        connection.sendShared(messages.msg(number, record, log));
        return true;
      },
      gap: (gap: FeedGap) => say({ op: 'gap', sub: number, gap }),
    });
    if (sub.ended || state === 'ended') return opened.feed.close();
    sub.feed = opened.feed;
    const { recovered, gap } = opened;
    say({ op: 'subed', sub: number, cursors: opened.feed.cursors, recovered, ...(gap === undefined ? {} : { gap }) });
    opened.begin();
  }

  /** Durable: one of the consumers of a group. */
  async function join(sub: Sub, frame: SubFrame, by: Caller): Promise<void> {
    const joining = needs.groupOf(by, frame).then(async (subscription) => {
      sub.id = subscription.id;
      sub.topics = subscription.value.topics;
      return { subscription, isIn: await enter(sub, subscription) };
    });
    sub.entering = joining.catch(() => undefined);
    const { subscription, isIn } = await joining;
    if (!isIn) return;
    const { ackWaitMs } = subscription.value.deliver.stream ?? {};
    say({ op: 'subed', sub: sub.number, group: subscription.id, recovered: true, ackWaitMs });
    giveCredit(sub);
  }

  /** False where it is wanted no more. When the group moves it is entered again where it went, with the credit that is left. */
  async function enter(sub: Sub, subscription: Versioned<Subscription>): Promise<boolean> {
    const consumer = {
      sub: sub.number,
      take(bytes: Buffer, topic?: string): void {
        if (topic !== undefined && !maySeeTopic(caller as Caller, topic)) return noMore(sub);
        connection.sendShared({ bytes });
        if (!hasRoom()) sub.group?.hold(true);
      },
      left(): void {
        if (sub.group === undefined || sub.ended) return;
        sub.credit = sub.group.credit;
        delete sub.group;
        const again = enterAgain(sub, subscription);
        sub.entering = again.catch(() => undefined);
        later(again, { sub: sub.number });
      },
    };
    const group = await needs.enterGroup(subscription, consumer, credentials);
    if (sub.ended || state === 'ended') {
      group.leave('returned');
      return false;
    }
    sub.group = group;
    return true;
  }

  async function enterAgain(sub: Sub, subscription: Versioned<Subscription>): Promise<void> {
    try {
      if (await enter(sub, subscription)) giveCredit(sub);
    } catch (error) {
      leave(sub);
      subs.delete(sub.number);
      throw error;
    }
  }

  function giveCredit(sub: Sub): void {
    const { credit } = sub;
    sub.credit = 0;
    sub.group?.addCredit(credit);
  }

  /** The group was given topics that this client may not see. In a turn of its own: whoever hands it over is in the middle of a lane. */
  function noMore(sub: Sub): void {
    after(0, () => {
      if (sub.ended) return;
      takeOut(sub);
      sayError(new Problem('forbidden', 'the group has topics by now that this key or token is not for'), { sub: sub.number });
    });
  }

  /** `returned`: what it has goes to others and the attempt does not count. */
  function leave(sub: Sub, how: 'gone' | 'returned' = 'gone'): void {
    if (!sub.ended) sub.uncount?.();
    sub.ended = true;
    sub.feed?.close();
    sub.group?.leave(how);
  }

  function subOf(number: number): Sub {
    const sub = subs.get(number);
    if (sub === undefined) throw new Problem('not_found', `there is no sub ${number} in this session`);
    return sub;
  }

  function addCredit({ sub: number, add }: { readonly sub: number; readonly add: number }): void {
    const sub = subOf(number);
    const now = sub.credit + (sub.group?.credit ?? 0);
    if (now + add > FRAME_BOUNDS.credit)
      throw new Problem('credit_overflow', `at most ${FRAME_BOUNDS.credit} messages are outstanding; this would be ${now + add}`);
    if (sub.group === undefined) sub.credit += add;
    sub.group?.addCredit(add);
    sub.feed?.pump();
  }

  // ── settling ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Credit that comes with it counts at once; the word that it counts comes when it is written down. */
  async function settle(frame: Extract<ClientFrame, { op: 'ack' | 'nack' }>): Promise<void> {
    const sub = subOf(frame.sub);
    if (settling >= limits.sessionSettles)
      throw new Problem('too_many_requests', `at most ${limits.sessionSettles} acks of a session are open at once`, {
        retryAfterMs: 100,
      });
    settling++;
    try {
      const settled = settledBy(sub, frame);
      if ((frame.credit ?? 0) > 0) addCredit({ sub: frame.sub, add: frame.credit ?? 0 });
      sayKnown(frame.op === 'ack' ? 'acked' : 'nacked', frame, await settled);
    } finally {
      settling--;
    }
  }

  async function settledBy(sub: Sub, frame: Extract<ClientFrame, { op: 'ack' | 'nack' }>): Promise<Settled> {
    if (sub.kind === 'feed') throw notOfAGroup(frame.op);
    const group = await groupIn(sub);
    const { ids, through } = frame;
    return group?.settle(ids === undefined ? { through: through ?? '' } : { ids }, verdictOf(frame)) ?? noneOf(frame);
  }

  /** Of one that moves, where it went; undefined where it is nowhere now. */
  async function groupIn(sub: Sub): Promise<GroupSub | undefined> {
    if (sub.group === undefined) await sub.entering;
    return sub.group;
  }

  async function extend(frame: Extract<ClientFrame, { op: 'extend' }>): Promise<void> {
    const sub = subOf(frame.sub);
    if (sub.kind === 'feed') throw notOfAGroup('extend');
    const group = await groupIn(sub);
    sayKnown('extended', frame, (await group?.extend(frame.ids, frame.ms)) ?? noneOf(frame));
  }

  const noneOf = ({ ids, through = '' }: { readonly ids?: readonly string[]; readonly through?: string }): Settled => ({
    known: [],
    unknown: ids ?? [through],
  });

  function sayKnown(
    op: 'acked' | 'nacked' | 'extended',
    { sub, ref }: { readonly sub: number; readonly ref?: string },
    settled: Settled,
  ): void {
    if (state === 'ended') return;
    for (const frame of settledFrames(op, { sub, ...(ref === undefined ? {} : { ref }) }, settled)) say(frame);
  }

  async function unsubscribe({ sub: number, drain = false }: Extract<ClientFrame, { op: 'unsub' }>): Promise<void> {
    const sub = subOf(number);
    if (drain) await sub.group?.drain();
    leave(sub, 'returned');
    subs.delete(number);
    if (state !== 'ended') say({ op: 'unsubed', sub: number });
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
        return later(unsubscribe(frame), { sub: frame.sub });
      case 'ack':
      case 'nack':
        return later(settle(frame), { sub: frame.sub, ...(frame.ids === undefined ? {} : { ids: frame.ids }) });
      case 'extend':
        return later(extend(frame), { sub: frame.sub, ids: frame.ids });
      case 'auth':
        return void auth(frame).catch(endBy);
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
    if (state === 'greeting') return void early.push(frame);
    if (state === 'new') {
      if (frame.op !== 'hello') throw new Problem('bad_frame', 'the first frame is hello');
      return hello(frame);
    }
    if (frame.op === 'hello') throw new Problem('bad_frame', 'there was a hello already');
    greeted(frame, caller as Caller);
  }

  return {
    id,
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
      connection.hold?.(false);
      for (const sub of subs.values()) {
        sub.group?.hold(false);
        sub.feed?.pump();
      }
    },
    drain(withinMs) {
      if (state === 'greeted') say({ op: 'drain', withinMs, retryMs: [0, withinMs] });
    },
    refuse: endBy,
    end,
    closed,
    get caller() {
      return caller;
    },
  };
}

const notOfAGroup = (op: string): Problem => new Problem('invalid_request', `${op} is for the deliveries of a group`);
