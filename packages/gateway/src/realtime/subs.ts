/** The subs of one session: ephemeral ones follow the tails (following.ts), those of groups join them (joining.ts). */
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Feed } from './feeds.ts';
import { createFollowing } from './following.ts';
import { FRAME_BOUNDS } from './frame-reader.ts';
import type { ClientFrame, SubFrame } from './frames.ts';
import { createJoining } from './joining.ts';
import type { GroupSub } from './member.ts';
import type { Right } from './right.ts';
import type { SessionNeeds } from './session-needs.ts';
import type { Talk } from './talk.ts';
import { maySubscribe, mustHave } from './wishes.ts';

export interface Sub {
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
  isDraining: boolean;
  uncount?: () => void;
}

export interface Subs {
  subscribe(frame: SubFrame, by: Caller): Promise<void>;
  unsubscribe(frame: Extract<ClientFrame, { op: 'unsub' }>): Promise<void>;
  /** Throws `credit_overflow`, and adds nothing. */
  addCredit(frame: { readonly sub: number; readonly add: number }): void;
  /** Throws `not_found`. */
  of(number: number): Sub;
  /** By number, where each ephemeral one stands. */
  cursors(): Readonly<Record<string, readonly string[]>>;
  /** Drops those that this caller may not see, and answers their numbers. */
  review(by: Caller): Promise<readonly number[]>;
  /** There is room again for what was held up. */
  pump(): void;
  /** `returned`: what they have goes to others and the attempt does not count. */
  leave(how: 'gone' | 'returned'): void;
}

interface Needs extends Pick<SessionNeeds, 'connection' | 'count' | 'feeds' | 'enterGroup' | 'groupOf' | 'messages' | 'log'> {
  readonly talk: Talk;
  readonly right: Right;
  readonly limits: Limits;
}

export function createSubs(needs: Needs): Subs {
  const { count, groupOf, talk, right, limits } = needs;
  const subs = new Map<number, Sub>();
  /** Numbers of subs rise, so that none is used twice. */
  let lastNumber = 0;
  /** Those that are no more may still be under way. */
  let beginning = 0;
  const follow = createFollowing(needs);
  const join = createJoining({ ...needs, remove });

  function of(number: number): Sub {
    const sub = subs.get(number);
    if (sub === undefined) throw new Problem('not_found', `there is no sub ${number} in this session`);
    return sub;
  }

  function remove(sub: Sub, how: 'gone' | 'returned'): void {
    if (!sub.ended) sub.uncount?.();
    sub.ended = true;
    sub.feed?.close();
    sub.group?.leave(how);
    subs.delete(sub.number);
  }

  /** Of a group the topics may have changed since. */
  async function maySee(by: Caller, { kind, number, topics, id }: Sub): Promise<boolean> {
    if (kind === 'feed') return maySubscribe(by, topics);
    try {
      if (id !== undefined) await groupOf(by, { op: 'sub', sub: number, group: id, credit: 0, create: false });
      return true;
    } catch {
      return false;
    }
  }

  return {
    of,
    async subscribe(frame, by) {
      const { sub: number, topics = [], credit } = frame;
      if (number <= lastNumber) throw new Problem('bad_frame', 'each sub of a session has a higher number than those before it');
      lastNumber = number;
      if (subs.size >= limits.sessionSubs || beginning >= limits.sessionSubs)
        throw new Problem('too_many_requests', `a session has at most ${limits.sessionSubs} subs`);
      mustHave(by, 'subscribe');
      const sub: Sub = {
        number,
        kind: frame.group === undefined ? 'feed' : 'group',
        topics,
        credit,
        ended: false,
        isDraining: false,
      };
      subs.set(number, sub);
      beginning++;
      try {
        // What is configured counts by itself.
        if (sub.kind === 'feed') sub.uncount = count(by, 'subscriptions', false);
        await (sub.kind === 'feed' ? follow(sub, frame, by) : join(sub, frame, by));
      } catch (error) {
        remove(sub, 'gone');
        throw error;
      } finally {
        beginning--;
      }
    },
    async unsubscribe({ sub: number, drain = false }) {
      const sub = of(number);
      if (drain && sub.isDraining) return;
      sub.isDraining = true;
      if (drain) await sub.group?.drain();
      // Meanwhile it was not to be waited for any more.
      if (sub.ended) return;
      remove(sub, 'returned');
      if (!talk.isOver()) talk.say({ op: 'unsubed', sub: number });
    },
    addCredit({ sub: number, add }) {
      const sub = of(number);
      const now = sub.credit + (sub.group?.credit ?? 0);
      if (now + add > FRAME_BOUNDS.credit)
        throw new Problem(
          'credit_overflow',
          `at most ${FRAME_BOUNDS.credit} messages are outstanding; this would be ${now + add}`,
        );
      if (sub.group === undefined) sub.credit += add;
      sub.group?.addCredit(add);
      sub.feed?.pump();
    },
    cursors() {
      return Object.fromEntries(
        [...subs.values()].flatMap(({ number, feed }) => (feed === undefined ? [] : [[number, feed.cursors()]])),
      );
    },
    async review(by) {
      const dropped: Sub[] = [];
      // What is begun meanwhile is begun with the new token.
      for (const sub of Array.from(subs.values()))
        if (!(await maySee(by, sub))) dropped.push(sub);
        else sub.group?.renew?.(right.credentials() ?? '');
      for (const sub of dropped) remove(sub, 'returned');
      return dropped.map(({ number }) => number);
    },
    pump() {
      for (const sub of subs.values()) {
        sub.group?.hold(false);
        sub.feed?.pump();
      }
    },
    leave(how) {
      for (const sub of subs.values()) remove(sub, how);
    },
  };
}
