/** Subs of groups: a session's consumer goes where the group is worked, with the credit that is left, and leaves when it may not see it any more. */
import { Problem } from '@millrace/core/problem';
import { type Caller, maySeeTopic } from '../http/access.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import { subedFrame } from './answers.ts';
import type { SubFrame } from './frames.ts';
import type { Right } from './right.ts';
import type { SessionNeeds } from './session-needs.ts';
import type { Sub } from './subs.ts';
import type { Talk } from './talk.ts';

interface Needs extends Pick<SessionNeeds, 'connection' | 'enterGroup' | 'groupOf'> {
  readonly talk: Talk;
  readonly right: Right;
  /** It is no sub of the session any more. */
  readonly remove: (sub: Sub, how: 'gone' | 'returned') => void;
}

/** Durable: one of the consumers of a group. */
export function createJoining({ connection, enterGroup, groupOf, talk, right, remove }: Needs) {
  async function join(sub: Sub, frame: SubFrame, by: Caller): Promise<void> {
    const joining = groupOf(by, frame).then(async (subscription) => {
      sub.id = subscription.id;
      sub.topics = subscription.value.topics;
      return { subscription, isIn: await enter(sub, subscription) };
    });
    sub.entering = joining.catch(() => undefined);
    const { subscription, isIn } = await joining;
    if (!isIn) return;
    talk.say(subedFrame(frame, subscription));
    giveCredit(sub);
  }

  /** False where it is wanted no more. When the group moves it is entered again where it went, with the credit that is left. */
  async function enter(sub: Sub, subscription: Versioned<Subscription>): Promise<boolean> {
    const consumer = {
      sub: sub.number,
      take(bytes: Buffer, topic?: string): void {
        if (topic !== undefined && !maySeeTopic(right.caller() as Caller, topic)) return noMore(sub);
        connection.sendShared({ bytes });
        if (!talk.hasRoom()) sub.group?.hold(true);
      },
      left(): void {
        if (sub.group === undefined || sub.ended) return;
        sub.credit = sub.group.credit;
        delete sub.group;
        const again = enterAgain(sub, subscription);
        sub.entering = again.catch(() => undefined);
        talk.later(again, { sub: sub.number });
      },
    };
    const group = await enterGroup(subscription, consumer, right.credentials());
    if (sub.ended || talk.isOver()) {
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
      remove(sub, 'gone');
      throw error;
    }
  }

  /** The group was given topics that this client may not see. In a turn of its own: whoever hands it over is in the middle of a lane. */
  function noMore(sub: Sub): void {
    talk.after(0, () => {
      if (sub.ended) return;
      remove(sub, 'returned');
      const problem = new Problem('forbidden', 'the group has topics by now that this key or token is not for');
      talk.sayError(problem, { sub: sub.number });
    });
  }

  return join;
}

function giveCredit(sub: Sub): void {
  const { credit } = sub;
  sub.credit = 0;
  sub.group?.addCredit(credit);
}
