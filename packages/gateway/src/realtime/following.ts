/** Ephemeral subs: a session's part of what the tails read, for as long as it has credit and its client reads. */
import type { Caller } from '../http/access.ts';
import type { FeedGap } from './feeds.ts';
import type { SubFrame } from './frames.ts';
import type { SessionNeeds } from './session-needs.ts';
import type { Sub } from './subs.ts';
import type { Talk } from './talk.ts';
import { wishOf } from './wishes.ts';

interface Needs extends Pick<SessionNeeds, 'connection' | 'feeds' | 'messages' | 'log'> {
  readonly talk: Talk;
}

export function createFollowing({ connection, feeds, messages, log, talk }: Needs) {
  const { say, hasRoom } = talk;

  return async (sub: Sub, frame: SubFrame, by: Caller): Promise<void> => {
    const { number } = sub;
    const opened = await feeds.open(wishOf(frame, by), {
      take(record) {
        if (sub.credit === 0 || !hasRoom()) return false;
        sub.credit--;
        const shared = messages.msg(number, record, log);
        connection.sendShared(shared);
        talk.gave(shared.bytes.length);
        return true;
      },
      gap: (gap: FeedGap) => say({ op: 'gap', sub: number, gap }),
    });
    if (sub.ended || talk.isOver()) return opened.feed.close();
    sub.feed = opened.feed;
    const { recovered, gap } = opened;
    say({ op: 'subed', sub: number, cursors: opened.feed.cursors(), recovered, ...(gap === undefined ? {} : { gap }) });
    opened.begin();
  };
}
