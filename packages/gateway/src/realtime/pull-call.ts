/** One call of `POST /v1/pull`: what it says to each group goes to whoever works it, its sub is waited for, and all come together in one answer. */
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '../api.ts';
import type { Limits } from '../limits.ts';
import { Elsewhere } from '../look-up.ts';
import type { Clock } from '../ports/clock.ts';
import { asProblem, errorFrame } from './answers.ts';
import { createGathering, type Gathering } from './gathering.ts';
import type { Messages } from './messages.ts';
import type { PullCall, PullSettle, PullSub } from './pull-frames.ts';
import { aboutOf, bytesOf, type GroupCall, type Part, pullFeed, pullGroup } from './pull-here.ts';
import { pullThere } from './pull-there.ts';
import type { Visit } from './pull-visit.ts';
import type { SessionNeeds } from './session-needs.ts';

export interface CallNeeds {
  readonly gateway: Gateway;
  readonly messages: Messages;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly groupOf: SessionNeeds['groupOf'];
  readonly count: SessionNeeds['count'];
  /** What says to another node that a node asks. */
  readonly proof: () => string;
  /** In a cluster: where the subscription with this uid is worked; undefined where nobody knows now. */
  readonly addressOf?: ((uid: string) => string | undefined) | undefined;
  /** Resolves when that may be another. */
  readonly changed?: (() => Promise<void>) | undefined;
  readonly onError: (error: unknown) => void;
}

/** Rejects with `moving` alone, and only to a node: it looks for another. */
export interface AnswerCall {
  (call: PullCall, visit: Visit): Promise<readonly Part[]>;
}

export function createPullCall(needs: CallNeeds): AnswerCall {
  const { gateway, messages, clock, limits, groupOf, count, proof, addressOf = () => undefined, changed, onError } = needs;
  function gather({ waitMs }: PullSub, { hold, ended }: Visit): Gathering {
    return createGathering({ clock, waitMs, maxBytes: limits.unsentBytes, hold, ended });
  }

  /** Here, or at the node that works it; a move is waited for. */
  async function atOwner(call: GroupCall, visit: Visit): Promise<Part> {
    const beganMs = clock.monotonic();
    for (;;) {
      // From before it is asked: what changes meanwhile is not missed.
      const next = changed?.();
      try {
        return await ask(shortened(call, clock.monotonic() - beganMs), visit);
      } catch (error) {
        const leftMs = beganMs + limits.movingMs - clock.monotonic();
        if ((error as Problem).code !== 'moving' || visit.isRelayed || next === undefined) throw error;
        if (leftMs <= 0 || !(await isBefore(next, leftMs, visit))) throw error;
      }
    }
  }

  async function ask(call: GroupCall, visit: Visit): Promise<Part> {
    const { sub, settles, subscription } = call;
    try {
      const from = { groups: gateway.groups, messages, caller: visit.caller, clock, onError };
      return await pullGroup(call, from, sub === undefined ? undefined : () => gather(sub, visit));
    } catch (error) {
      if (!(error instanceof Elsewhere)) throw error;
      const address = visit.isRelayed ? undefined : addressOf(subscription.value.uid);
      // No error of this kind gets to the door, which would ask the owner itself.
      if (address === undefined) throw new Problem('moving', error.message, { retryAfterMs: 1_000, advice: 'Pull again.' });
      const frames = sub === undefined ? settles : [...settles, asked(sub)];
      const { credentials, ended } = visit;
      return pullThere({ address, frames, waitMs: sub?.waitMs ?? 0, credentials, proof, ended, limits });
    }
  }

  async function isBefore(next: Promise<void>, delayMs: number, { ended }: Visit): Promise<boolean> {
    const over = Promise.withResolvers<false>();
    const giveUp = (): void => over.resolve(false);
    const timer = clock.after(delayMs, giveUp);
    ended.addEventListener('abort', giveUp);
    if (ended.aborted) giveUp();
    try {
      return await Promise.race([next.then(() => true), over.promise]);
    } finally {
      timer.cancel();
      ended.removeEventListener('abort', giveUp);
    }
  }

  async function ofGroup(group: string, settles: readonly PullSettle[], visit: Visit, sub?: PullSub): Promise<Part> {
    try {
      const wanted = sub ?? { op: 'sub', sub: 1, group, credit: 0, create: false };
      const subscription = await groupOf(visit.caller, wanted);
      return await atOwner({ subscription, settles, ...(sub === undefined ? {} : { sub }) }, visit);
    } catch (error) {
      const problem = asProblem(error, onError);
      if (visit.isRelayed && problem.code === 'moving') throw problem;
      const about = [
        ...settles.map((one) => ({ ...aboutOf(one), ids: one.ids })),
        ...(sub === undefined ? [] : [{ sub: sub.sub }]),
      ];
      return partOf(about.map((one) => errorFrame(problem, one)));
    }
  }

  async function ofFeed(sub: PullSub, visit: Visit): Promise<Part> {
    let uncount: (() => void) | undefined;
    try {
      uncount = count(visit.caller, 'subscriptions', visit.isRelayed);
      return await pullFeed(sub, { feeds: gateway.feeds, messages, caller: visit.caller }, gather(sub, visit));
    } catch (error) {
      return partOf([errorFrame(asProblem(error, onError), { sub: sub.sub })]);
    } finally {
      uncount?.();
    }
  }

  return async ({ settles, sub, unknown }, visit) => {
    const byGroup = Map.groupBy(settles, ({ group }) => group);
    const ofSub = byGroup.get(sub?.group ?? '') ?? [];
    byGroup.delete(sub?.group ?? '');
    const parts = [...byGroup].map(([group, all]) => ofGroup(group, all, visit));
    if (sub !== undefined) parts.push(sub.group === undefined ? ofFeed(sub, visit) : ofGroup(sub.group, ofSub, visit, sub));
    return [partOf(unknown.map((op) => errorFrame(noOpOfAPull(op)))), ...(await Promise.all(parts))];
  };
}

/** Of a call whose group was on its way for a while. */
function shortened(call: GroupCall, byMs: number): GroupCall {
  const { sub } = call;
  return sub === undefined ? call : { ...call, sub: { ...sub, waitMs: Math.max(0, sub.waitMs - Math.round(byMs)) } };
}

/** It is there by now; the owner says whether its topics are those. */
const asked = ({ sub, group, topics, credit, waitMs }: PullSub): PullSub => ({
  op: 'sub',
  sub,
  ...(group === undefined ? {} : { group }),
  ...(topics === undefined ? {} : { topics }),
  credit,
  waitMs,
  create: false,
});

const partOf = (frames: readonly object[]): Part => ({ frames: frames.map(bytesOf), lost: () => undefined });

const noOpOfAPull = (op: string): Problem =>
  new Problem('unsupported_op', `'${op.slice(0, 40)}' is no op of a pull: it has ack, nack, extend and sub`);
