/** What a session says of deliveries: ack, nack, extend, each confirmed when it counts. */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import { type About, settledFrames, verdictOf } from './answers.ts';
import { given } from './frame-reader.ts';
import type { ClientFrame } from './frames.ts';
import type { GroupSub, Settled } from './member.ts';
import type { Sub, Subs } from './subs.ts';
import type { Talk } from './talk.ts';

interface Naming {
  readonly ids?: readonly string[];
  readonly through?: string;
}

type Settle = Extract<ClientFrame, { op: 'ack' | 'nack' }>;

interface Needs {
  readonly subs: Subs;
  readonly talk: Talk;
  readonly limits: Limits;
}

/** Both reject with what is to be said of it. */
export function createSettling({ subs, talk, limits }: Needs) {
  let settling = 0;
  let extending = 0;

  /** Credit that comes with it counts at once; the word that it counts comes when it is written down. */
  async function settle(frame: Settle): Promise<void> {
    const sub = subs.of(frame.sub);
    if (settling >= limits.sessionSettles) throw tooMany('acks', limits.sessionSettles);
    settling++;
    try {
      const settled = settledBy(sub, frame);
      // What may be said of it is said by itself: nobody would wait for the acks otherwise, and they count.
      talk.about({ sub: frame.sub }, () => subs.addCredit({ sub: frame.sub, add: frame.credit ?? 0 }));
      sayKnown(frame.op === 'ack' ? 'acked' : 'nacked', frame, await settled);
    } finally {
      settling--;
    }
  }

  async function settledBy(sub: Sub, frame: Settle): Promise<Settled> {
    if (sub.kind === 'feed') throw notOfAGroup(frame.op);
    const group = await groupIn(sub);
    const { ids, through } = frame;
    return group?.settle(ids === undefined ? { through: through ?? '' } : { ids }, verdictOf(frame)) ?? noneOf(frame);
  }

  async function extend(frame: Extract<ClientFrame, { op: 'extend' }>): Promise<void> {
    const sub = subs.of(frame.sub);
    if (sub.kind === 'feed') throw notOfAGroup('extend');
    // Where another node works the group, it may take its time to answer.
    if (extending >= limits.sessionSettles) throw tooMany('extends', limits.sessionSettles);
    extending++;
    try {
      const group = await groupIn(sub);
      sayKnown('extended', frame, (await group?.extend(frame.ids, frame.ms)) ?? noneOf(frame));
    } finally {
      extending--;
    }
  }

  function sayKnown(
    op: 'acked' | 'nacked' | 'extended',
    { sub, ref }: { readonly sub: number; readonly ref?: string },
    settled: Settled,
  ): void {
    if (talk.isOver()) return;
    for (const frame of settledFrames(op, { sub, ...given('ref', ref) }, settled)) talk.say(frame);
  }

  return { settle, extend };
}

/** With `ids`, an error says nothing about the sub itself. */
export function aboutSettling({ sub, ids, through = '', ref }: Naming & { readonly sub: number; readonly ref?: string }): About {
  return { sub, ids: ids ?? [through], ...given('ref', ref) };
}

/** Of one that moves, where it went; undefined where it is nowhere now. */
async function groupIn(sub: Sub): Promise<GroupSub | undefined> {
  if (sub.group === undefined) await sub.entering;
  return sub.group;
}

const noneOf = ({ ids, through = '' }: Naming): Settled => ({
  known: [],
  unknown: ids ?? [through],
});

const tooMany = (what: string, most: number): Problem =>
  new Problem('too_many_requests', `at most ${most} ${what} of a session are open at once`, { retryAfterMs: 100 });

const notOfAGroup = (op: string): Problem => new Problem('invalid_request', `${op} is for the deliveries of a group`);
