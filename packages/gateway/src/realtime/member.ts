/** A sub of a session that is a consumer of a group: deliveries go out as frames, acks come back and are confirmed when they are written down. */
import { Problem } from '@millrace/core/problem';
import type { Groups } from '../api.ts';
import { idOf, placeIn } from '../http/delivery-ids.ts';
import type { Handed, Member, Verdict } from '../lanes/group.ts';
import type { LanePosition } from '../ports/ledger.ts';
import { eventJson } from './messages.ts';

/** What settles: which, and what is said of them. */
export interface Settling {
  readonly ids?: readonly string[];
  readonly through?: string;
}

/** Which of them counted, by id, in the order in which they were asked for. */
export interface Settled {
  readonly known: readonly string[];
  readonly unknown: readonly string[];
}

export interface GroupSub {
  readonly member: Member;
  settle(which: Settling, verdict: Omit<Verdict, 'durationMs'>): Promise<Settled>;
  extend(ids: readonly string[], ms: number): Settled;
}

interface Needs {
  readonly groups: Groups;
  readonly member: Member;
  /** Of the subscription: an id of another one's delivery is none here. */
  readonly uid: string;
}

export function createGroupSub({ groups, member, uid }: Needs): GroupSub {
  const ours = (id: string): LanePosition | undefined => {
    const place = placeIn(id);
    return place?.lane.startsWith(`${uid}.`) === true ? place : undefined;
  };

  function placesOf({ ids, through }: Settling): Map<string, LanePosition | undefined> {
    if (ids !== undefined) return new Map(ids.map((id) => [id, ours(id)]));
    const last = ours(through ?? '');
    if (last === undefined) return new Map([[through ?? '', undefined]]);
    const all = member.upTo(last);
    return all.length === 0 ? new Map([[through ?? '', last]]) : new Map(all.map((place) => [idOf(place), place]));
  }

  function split(asked: ReadonlyMap<string, LanePosition | undefined>, known: ReadonlySet<string>): Settled {
    const all = [...asked.keys()];
    return { known: all.filter((id) => known.has(id)), unknown: all.filter((id) => !known.has(id)) };
  }

  const placesIn = (asked: ReadonlyMap<string, LanePosition | undefined>): LanePosition[] =>
    [...asked.values()].filter((place) => place !== undefined);

  return {
    member,
    async settle(which, verdict) {
      const asked = placesOf(which);
      const known = new Set(member.settle(placesIn(asked), verdict).map(idOf));
      await groups.settled();
      // What was acked before, here or by others, is acked.
      for (const [id, place] of asked)
        if (place !== undefined && !known.has(id) && verdict.kind === 'acked' && (await groups.isDelivered(place))) known.add(id);
      return split(asked, known);
    },
    extend(ids, ms) {
      const asked = placesOf({ ids });
      return split(asked, new Set(member.extend(placesIn(asked), ms).map(idOf)));
    },
  };
}

/** The `msg` of a delivery. */
export function deliveryFrame(sub: number, handed: Handed): Buffer {
  const { attempt, webhookId, record } = handed;
  const head = JSON.stringify({ op: 'msg', sub, id: idOf(handed), attempt, idempotencyKey: webhookId }).slice(0, -1);
  return Buffer.concat([Buffer.from(`${head},"event":`), eventJson(record), Buffer.from('}')]);
}

export const unknownDelivery = (): Problem =>
  new Problem(
    'unknown_delivery',
    'these are not out with a consumer of this group: their time was over, or they are none of its deliveries',
    {
      advice: 'What was not settled comes again.',
    },
  );
