/** What the server answers to a frame, whatever carries it. */
import { Problem } from '@millrace/core/problem';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { Said, Settled } from './member.ts';
import { unknownDelivery } from './member.ts';

/** What an answer is about: a sub or a group, ids, a text of the client's. */
export type About = Readonly<Record<string, unknown>>;

export function errorFrame(problem: Problem, about: About = {}): object {
  const { retryAfterMs, status } = problem;
  const retryable = status === 429 || status >= 500;
  return { op: 'error', ...problem.toJSON(), retryable, ...(retryAfterMs === undefined ? {} : { retryAfterMs }), ...about };
}

/** A consumer is in its group. `topics`: the group's own, where the consumer asked for others, which it does not get. */
export function subedFrame(
  { sub, topics: asked }: { readonly sub: number; readonly topics?: readonly string[] },
  { id, value }: Versioned<Subscription>,
): object {
  const { topics, deliver } = value;
  const isOther = asked !== undefined && new Set(asked).symmetricDifference(new Set(topics)).size > 0;
  const { ackWaitMs } = deliver.stream ?? {};
  return { op: 'subed', sub, group: id, recovered: true, ackWaitMs, ...(isOther ? { topics } : {}) };
}

/** Those that counted, then the others; either may be none. */
export function settledFrames(op: 'acked' | 'nacked' | 'extended', about: About, { known, unknown }: Settled): object[] {
  return [
    ...(known.length > 0 || unknown.length === 0 ? [{ op, ...about, ids: known }] : []),
    ...(unknown.length > 0 ? [errorFrame(unknownDelivery(), { ...about, ids: unknown })] : []),
  ];
}

/** What an ack or nack says of a delivery. */
export function verdictOf(
  frame:
    | { readonly op: 'ack' }
    | { readonly op: 'nack'; readonly delayMs?: number; readonly reason?: string; readonly dead?: boolean },
): Said {
  if (frame.op === 'ack') return { kind: 'acked' };
  const { dead = false, delayMs, reason } = frame;
  return {
    kind: dead ? 'dead' : 'nacked',
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** What nobody expected is told to the operator, and not to the client. */
export function asProblem(error: unknown, onError: (error: unknown) => void): Problem {
  if (error instanceof Problem) return error;
  onError(error);
  return new Problem('internal_error', 'something unexpected happened; it was logged');
}
