/**
 * A session: one client's conversation in `millrace.v1` (spec/protocol.md), whatever carries it. Knows no transport: messages come in by
 * `receive`, go out by the connection it was given, and time is the clock's.
 *
 *   new ── hello ──► greeted ── bye, close, error that ends it ──► ended
 */
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Timer } from '../ports/clock.ts';
import { asProblem } from './answers.ts';
import { CLOSE, type CloseCode, closeCodeOf } from './close-codes.ts';
import { type ClientFrame, readFrames } from './frames.ts';
import { createOps } from './ops.ts';
import { createRight } from './right.ts';
import type { Admitted, SessionNeeds } from './session-needs.ts';
import { createSubs } from './subs.ts';
import { createTalk } from './talk.ts';

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
  caller(): Caller | undefined;
}

const VERSION = 1;
const MISSED_PONGS = 2;
const REASON_CHARS = 120;

export function createSession(needs: SessionNeeds): Session {
  const { connection, clock, limits, id, node, onError } = needs;
  let state: 'new' | 'greeting' | 'greeted' | 'ended' = 'new';
  /** Frames that came while it was found out who says hello. */
  let early: ClientFrame[] = [];
  let uncount = (): void => undefined;
  let missed = 0;
  const talk = createTalk({
    ...needs,
    onSlow: () => end(CLOSE.slowConsumer, 'what was sent is not read'),
    onRoom: () => subs.pump(),
  });
  const { say } = talk;
  const right = createRight({
    ...needs,
    talk,
    review: (by) => subs.review(by),
    onExpired: () => end(CLOSE.tokenExpired, 'the token has expired'),
  });
  const subs = createSubs({ ...needs, talk, right });
  const answer = createOps({ ...needs, talk, right, subs, end, endBy });

  let helloTimer: Timer | undefined = talk.after(limits.helloMs, () => end(CLOSE.noHello, 'no hello came'));

  function end(code: CloseCode, reason: string): void {
    if (state === 'ended') return;
    // Who is asked to go, or says bye, leaves nothing behind that failed.
    if (code === CLOSE.drain || code === CLOSE.done) subs.leave('returned');
    say({ op: 'bye', code, reason: reason.slice(0, REASON_CHARS) });
    // Else its answer to the close is not read.
    connection.hold?.(false);
    connection.close(code, reason.slice(0, REASON_CHARS));
    closed();
  }

  function endBy(error: unknown): void {
    const problem = asProblem(error, onError);
    if (state !== 'ended') talk.sayError(problem);
    end(closeCodeOf(problem), problem.code);
  }

  function closed(): void {
    if (state === 'ended') return;
    state = 'ended';
    talk.end();
    subs.leave('gone');
    early = [];
    uncount();
    needs.onEnd();
  }

  function hello({ v, token }: Extract<ClientFrame, { op: 'hello' }>): void {
    if (v !== VERSION) return end(CLOSE.otherVersion, `this server speaks version ${VERSION}`);
    state = 'greeting';
    const admitting = needs.admit(token);
    if (!(admitting instanceof Promise)) return greet(admitting);
    // What comes meanwhile waits in the network: nobody knows yet whose it is.
    connection.hold?.(true);
    admitting.then(greet).catch(endBy);
  }

  function greet(one: Admitted): void {
    if (state !== 'greeting') return;
    connection.hold?.(false);
    uncount = needs.count(one.caller, 'connections', one.isRelayed === true);
    talk.drop(helloTimer);
    helloTimer = undefined;
    state = 'greeted';
    needs.onGreeted();
    say({
      op: 'welcome',
      session: id,
      node,
      heartbeatMs: limits.heartbeatMs,
      ...right.lifeOf(one),
      nowMs: clock.now(),
      maxFrameBytes: limits.frameBytes,
      maxSubs: limits.sessionSubs,
    });
    right.begin(one);
    talk.after(limits.heartbeatMs, beat);
    const frames = early;
    early = [];
    for (const frame of frames) take(frame);
  }

  function beat(): void {
    if (missed >= MISSED_PONGS) return end(CLOSE.heartbeat, 'no pong came');
    missed++;
    const cursors = subs.cursors();
    say({ op: 'ping', t: clock.now(), ...(Object.keys(cursors).length === 0 ? {} : { cursors }) });
    talk.after(limits.heartbeatMs, beat);
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
    answer(frame, right.caller() as Caller);
  }

  return {
    id,
    receive(message) {
      if (state === 'ended') return;
      try {
        if (message.length > limits.frameBytes) throw tooBig(limits.frameBytes);
        for (const frame of readFrames(message)) take(frame);
      } catch (error) {
        endBy(error);
      }
    },
    drained() {
      talk.drained();
      subs.pump();
    },
    drain(withinMs) {
      if (state === 'greeted') say({ op: 'drain', withinMs, retryMs: [0, withinMs] });
    },
    refuse: endBy,
    end,
    closed,
    caller: right.caller,
  };
}

const tooBig = (most: number): Problem => new Problem('payload_too_large', `a message has at most ${most} bytes`);
