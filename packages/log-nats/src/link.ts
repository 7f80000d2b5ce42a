/**
 * Whether the log is there: in touch, away (the broker does not answer; it may come back), or lost (the stream is gone, or
 * another one; nothing brings that back). After every absence the stream is looked at before anything else is done with it:
 * one that was made anew begins at 1 again, and an old position would mean another event.
 */
import type { NatsConnection } from '@nats-io/transport-node';
import { Problem } from '@millrace/core/problem';
import { isStreamGone } from './problems.ts';
import type { Stream } from './stream.ts';
import { identityOf } from './stream.ts';

export interface Link {
  /** Throws `log_unavailable` where the log can't be used now. */
  mustWork(): void;
  readonly isUp: boolean;
  /** Does something with the broker once it is in touch. What is asked just as it goes away is never answered: that rejects at once. */
  ask<Result>(work: () => Promise<Result>): Promise<Result>;
  /** `listener` hears of every change, until the link is closed. */
  onChange(listener: (state: LinkState) => void): void;
  /** Something was odd: looks whether the stream is still the same. Resolves when that is known. */
  check(): Promise<void>;
  close(): void;
}

/** `up` after an absence, `away` when it begins, `gaveUp` when it has lasted too long for those who wait, `lost` for good. */
export type LinkState = 'up' | 'away' | 'gaveUp' | 'lost';

interface Needs {
  readonly nc: NatsConnection;
  readonly stream: Stream;
  /** The last sequence that is known to have been there. */
  readonly lastSeen: () => number;
  readonly onLost: (problem: Problem) => void;
}

/** A broker that restarts is back in a second or two: who publishes in between waits that long rather than fail. */
const AWAY_MS = 2_000;
const CHECK_AGAIN_MS = 250;

export function createLink({ nc, stream, lastSeen, onLost }: Needs): Link {
  const listeners: ((state: LinkState) => void)[] = [];
  let state: LinkState = 'up';
  let closed = false;
  let checking: Promise<void> | undefined;
  /** Counts absences: what was asked before one is not answered after it. */
  let absences = 0;
  let lost: Problem | undefined;
  let timer: NodeJS.Timeout | undefined;
  let changed = Promise.withResolvers<void>();
  const asking = new Set<(reason: unknown) => void>();

  function enter(next: LinkState): void {
    if (closed || state === 'lost' || state === next || (state === 'gaveUp' && next === 'away')) return;
    state = next;
    clearTimeout(timer);
    if (next === 'away') timer = setTimeout(() => enter('gaveUp'), AWAY_MS);
    if (next !== 'up') interrupt();
    changed.resolve();
    changed = Promise.withResolvers();
    for (const listener of listeners) listener(next);
  }

  function mustWork(): void {
    if (closed) throw new Problem('log_unavailable', 'The log is closed');
    if (lost !== undefined) throw lost;
    if (state === 'gaveUp') throw new Problem('log_unavailable', 'NATS does not answer', { retryAfterMs: 1_000 });
  }

  async function ask<Result>(work: () => Promise<Result>): Promise<Result> {
    while (state === 'away' && !closed) await changed.promise;
    mustWork();
    return new Promise<Result>((resolve, reject) => {
      asking.add(reject);
      work()
        .then(resolve, reject)
        .finally(() => asking.delete(reject));
    });
  }

  function interrupt(): void {
    const problem = lost ?? new Problem('log_unavailable', 'NATS went away', { retryAfterMs: 100 });
    for (const reject of asking) reject(problem);
    asking.clear();
  }

  function lose(message: string): void {
    if (closed || lost !== undefined) return;
    lost = new Problem('log_unavailable', message, { advice: 'Start the gateway again: it then works on what is there now.' });
    enter('lost');
    onLost(lost);
  }

  async function look(): Promise<boolean> {
    // Taken first: more may come while the answer is on its way.
    const seen = lastSeen();
    try {
      const info = await stream.refresh();
      if (identityOf(info) !== stream.identity) lose(`the stream ${stream.name} was made anew`);
      else if (info.state.last_seq < seen) lose(`the stream ${stream.name} has lost its newest events`);
      return true;
    } catch (error) {
      if (!isStreamGone(error)) return false;
      lose(`the stream ${stream.name} is gone`);
      return true;
    }
  }

  /** Until the broker has answered, or is away: the reconnect begins anew. */
  async function lookUntilKnown(): Promise<void> {
    const absence = absences;
    const isOver = () => closed || nc.isClosed() || absence !== absences;
    while (!isOver() && !(await look())) {
      if (isOver()) return;
      enter('away');
      await new Promise<void>((resolve) => setTimeout(resolve, CHECK_AGAIN_MS));
    }
    if (isOver()) return;
    checking = undefined;
    enter('up');
  }

  async function follow(): Promise<void> {
    for await (const { type } of nc.status()) {
      if (type === 'disconnect' || type === 'staleConnection') {
        absences++;
        checking = undefined;
        enter('away');
      }
      if (type === 'reconnect') void check();
    }
  }

  function check(): Promise<void> {
    return (checking ??= lookUntilKnown());
  }

  void follow();
  void nc.closed().then((error) => {
    if (error) lose(`the connection to NATS has ended: ${error.message}`);
  });
  // Nobody else tells that a stream was removed and made again while we were connected.
  nc.subscribe(`$JS.EVENT.ADVISORY.STREAM.*.${stream.name}`, { callback: (error) => void (error ?? check()) });

  return {
    get isUp() {
      return state === 'up';
    },
    mustWork,
    ask,
    onChange: (listener) => void listeners.push(listener),
    check,
    close() {
      closed = true;
      clearTimeout(timer);
      changed.resolve();
    },
  };
}
