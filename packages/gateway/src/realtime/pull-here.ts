/** What a pull comes to on this node: its group worked here, or an ephemeral sub. What it was handed is settled by later calls, at any node. */
import { Problem } from '@millrace/core/problem';
import type { Groups } from '../api.ts';
import { type Caller, maySeeTopic } from '../http/access.ts';
import type { Clock } from '../ports/clock.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import { asProblem, errorFrame, settledFrames, subedFrame, verdictOf } from './answers.ts';
import type { FeedGap, Feeds } from './feeds.ts';
import type { Gathering } from './gathering.ts';
import { type GroupSub, joinHere } from './member.ts';
import type { Messages } from './messages.ts';
import type { PullSettle, PullSub } from './pull-frames.ts';
import { wishOf } from './wishes.ts';

/** A part of an answer, and what becomes of what is handed over in it. */
export interface Part {
  readonly frames: readonly Buffer[];
  /** It never came to the client: it is given back unharmed, or, where some of it may have come, left behind. */
  lost(how: 'returned' | 'gone'): void;
}

export interface GroupCall {
  readonly subscription: Versioned<Subscription>;
  readonly settles: readonly PullSettle[];
  readonly sub?: PullSub;
}

interface Here {
  readonly groups: Groups;
  readonly messages: Messages;
  readonly caller: Caller;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** The lanes hand over at once what they have in memory; from the log it takes them some milliseconds. */
const LOOK_MS = 100;

/** Throws `Elsewhere` before anything is done. `gather`: where there is a sub. */
export async function pullGroup(
  { subscription, settles, sub }: GroupCall,
  { caller, clock, onError, ...here }: Here,
  gather?: () => Gathering,
): Promise<Part> {
  let refused: Problem | undefined;
  const member = joinHere(here, subscription, {
    sub: sub?.sub ?? 0,
    take(frame, topic = '') {
      if (!maySeeTopic(caller, topic)) refused ??= outOfSight();
      gathering?.add(frame);
      if (gathering?.hasRoom !== true) member.hold(true);
    },
    left() {
      refused = moved();
      gathering?.stop();
    },
  });
  const gathering = gather?.();
  // What is acked makes room in the group for what is asked for.
  const settled = Promise.all(settles.map((one) => settle(member, one, onError)));
  if (sub !== undefined && gathering !== undefined) {
    member.addCredit(sub.credit);
    clock.after(LOOK_MS, gathering.looked);
    await gathering.over;
  }
  // It is given nothing more, and is gone when what it has is settled.
  void member.drain().then(() => member.leave('returned'));
  const said = (await settled).flat().map(bytesOf);
  if (refused !== undefined) member.leave('returned');
  const frames = [...said, ...messagesOf(subscription, sub, refused, gathering)];
  // The group knows this consumer for as long as something is out with it.
  gathering?.clear();
  return { frames, lost: member.leave };
}

function messagesOf(
  subscription: Versioned<Subscription>,
  sub: PullSub | undefined,
  refused: Problem | undefined,
  gathering: Gathering | undefined,
): readonly Buffer[] {
  if (sub === undefined || gathering === undefined) return [];
  if (refused !== undefined) return [bytesOf(errorFrame(refused, { sub: sub.sub }))];
  return [bytesOf(subedFrame(sub, subscription)), ...gathering.frames];
}

/** Never rejects: what is handed over beside it is no worse for it. */
async function settle(member: GroupSub, frame: PullSettle, onError: Here['onError']): Promise<object[]> {
  const { op, ids } = frame;
  try {
    if (op === 'extend') return settledFrames('extended', aboutOf(frame), await member.extend(ids, frame.ms));
    return settledFrames(op === 'ack' ? 'acked' : 'nacked', aboutOf(frame), await member.settle({ ids }, verdictOf(frame)));
  } catch (error) {
    return [errorFrame(asProblem(error, onError), { ...aboutOf(frame), ids })];
  }
}

/** Ephemeral: from its cursors on, or what comes. */
export async function pullFeed(
  sub: PullSub,
  { feeds, messages, caller }: { readonly feeds: Feeds; readonly messages: Messages; readonly caller: Caller },
  gathering: Gathering,
): Promise<Part> {
  let { credit } = sub;
  const opened = await feeds.open(wishOf(sub, caller), {
    take(record) {
      if (credit === 0 || !gathering.hasRoom) return false;
      credit--;
      gathering.add(messages.msg(sub.sub, record, feeds.log).bytes);
      return true;
    },
    gap: (gap: FeedGap) => gathering.add(bytesOf({ op: 'gap', sub: sub.sub, gap })),
    caughtUp: gathering.looked,
  });
  const { feed, recovered, gap } = opened;
  try {
    // That is news, too.
    if (!recovered) gathering.stop();
    if (!gathering.isOver) opened.begin();
    await gathering.over;
    if (feed.isLooking()) throw notLooked();
    const cursors = feed.cursors();
    const subed = { op: 'subed', sub: sub.sub, cursors, recovered, ...(gap === undefined ? {} : { gap }) };
    return { frames: [bytesOf(subed), ...gathering.frames], lost: () => undefined };
  } finally {
    feed.close();
  }
}

export const bytesOf = (frame: object): Buffer => Buffer.from(JSON.stringify(frame));

export const aboutOf = ({ group, ref }: PullSettle): { readonly group: string; readonly ref?: string } => ({
  group,
  ...(ref === undefined ? {} : { ref }),
});

const outOfSight = (): Problem => new Problem('forbidden', 'the group has topics by now that this key or token is not for');

const moved = (): Problem =>
  new Problem('moving', 'the group is being moved to another node', { retryAfterMs: 1_000, advice: 'Pull again.' });

const notLooked = (): Problem =>
  new Problem('overloaded', 'the newest of each key were not found in time', { retryAfterMs: 1_000, advice: 'Pull again.' });
