/** What each op of a client leads to, once it is known who it is. */
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import { CLOSE, type CloseCode } from './close-codes.ts';
import type { ClientFrame } from './frames.ts';
import { createPublishing } from './publishing.ts';
import type { Right } from './right.ts';
import type { SessionNeeds } from './session-needs.ts';
import { aboutSettling, createSettling } from './settling.ts';
import type { Subs } from './subs.ts';
import type { Talk } from './talk.ts';

interface Needs extends Pick<SessionNeeds, 'publish'> {
  readonly talk: Talk;
  readonly right: Right;
  readonly subs: Subs;
  readonly limits: Limits;
  readonly end: (code: CloseCode, reason: string) => void;
  readonly endBy: (error: unknown) => void;
}

export function createOps(needs: Needs): (frame: Exclude<ClientFrame, { op: 'hello' }>, by: Caller) => void {
  const { talk, right, subs, end, endBy } = needs;
  const { settle, extend } = createSettling(needs);
  const publish = createPublishing(needs);

  return (frame, by) => {
    switch (frame.op) {
      case 'sub':
        return talk.later(subs.subscribe(frame, by), { sub: frame.sub });
      case 'pub':
        return talk.later(publish(frame, by), { ref: frame.ref });
      case 'credit':
        return talk.about({ sub: frame.sub }, () => subs.addCredit(frame));
      case 'unsub':
        return talk.later(subs.unsubscribe(frame), { sub: frame.sub });
      case 'ack':
      case 'nack':
        return talk.later(settle(frame), aboutSettling(frame));
      case 'extend':
        return talk.later(extend(frame), aboutSettling(frame));
      case 'auth':
        return void right.renew(frame).catch(endBy);
      case 'ping':
        return talk.say({ op: 'pong', ...(frame.t === undefined ? {} : { t: frame.t }) });
      case 'pong':
        // That something came is noted already.
        return undefined;
      case 'bye':
        return end(CLOSE.done, 'bye');
      case 'unknown':
        return frame.name.startsWith('x-') ? undefined : talk.sayError(unsupported(frame.name));
    }
  };
}

const unsupported = (op: string): Problem => new Problem('unsupported_op', `this server knows no op '${op.slice(0, 40)}'`);
