/** A sub of a session that is a consumer of a group, wherever the group is worked: here (below), or by another node (relay.ts). */
import { Problem } from '@millrace/core/problem';
import type { Groups } from '../api.ts';
import { idOf, placeIn } from '../http/delivery-ids.ts';
import type { Handed, Verdict } from '../lanes/group.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { LanePosition } from '../ports/ledger.ts';
import type { Messages } from './messages.ts';

/** What settles: which, and what is said of them. */
export interface Settling {
  readonly ids?: readonly string[];
  readonly through?: string;
}

export type Said = Omit<Verdict, 'durationMs'>;

/** Which of them counted, by id, in the order in which they were asked for. */
export interface Settled {
  readonly known: readonly string[];
  readonly unknown: readonly string[];
}

export interface GroupSub {
  /** What may still be given to it. */
  readonly credit: number;
  addCredit(count: number): void;
  /** While it is held nothing is given to it: its connection has too much to send. */
  hold(isHeld: boolean): void;
  /** Resolves when what counted is written down. */
  settle(which: Settling, said: Said): Promise<Settled>;
  extend(ids: readonly string[], ms: number): Promise<Settled>;
  /** Nothing more comes; resolves when what is out is settled. */
  drain(): Promise<void>;
  leave(how: 'gone' | 'returned'): void;
  /** Its client has another token: whoever speaks for it elsewhere must, too. */
  renew?(credentials: string): void;
}

export interface GroupConsumer {
  /** The number of its sub. */
  readonly sub: number;
  /** A `msg` frame. `topic`: of its event, where nobody has looked yet whether the client may see it. */
  take(frame: Buffer, topic?: string): void;
  /** It is no consumer any more: the group is worked elsewhere by now. */
  left(): void;
}

export interface EnterGroup {
  /** Throws `moving` where nobody works it now. `credentials`: an Authorization header, for another node. */
  (subscription: Versioned<Subscription>, consumer: GroupConsumer, credentials: string | undefined): GroupSub | Promise<GroupSub>;
}

/** Reads of the ledger for one ack, of what is not out with anybody. */
const LOOKS_MAX = 64;

/** Throws what `Groups.join` does. */
export function joinHere(
  { groups, messages }: { readonly groups: Groups; readonly messages: Messages },
  { environment, id, value: { uid } }: Versioned<Subscription>,
  consumer: GroupConsumer,
): GroupSub {
  let hasLeft = false;
  const member = groups.join(environment, id, {
    take: (handed) =>
      consumer.take(deliveryFrame(consumer.sub, handed, messages.event(handed.record).bytes), handed.record.event.type),
    left() {
      hasLeft = true;
      consumer.left();
    },
  });
  /** An id of another one's delivery is none here. */
  const ours = (delivery: string): LanePosition | undefined => {
    const place = placeIn(delivery);
    return place?.lane.startsWith(`${uid}.`) === true ? place : undefined;
  };

  function placesOf({ ids, through }: Settling): Map<string, LanePosition | undefined> {
    if (ids !== undefined) return new Map(ids.map((one) => [one, ours(one)]));
    const last = ours(through ?? '');
    if (last === undefined) return new Map([[through ?? '', undefined]]);
    const all = member.upTo(last);
    return all.length === 0 ? new Map([[through ?? '', last]]) : new Map(all.map((place) => [idOf(place), place]));
  }

  function split(asked: ReadonlyMap<string, LanePosition | undefined>, known: ReadonlySet<string>): Settled {
    const all = [...asked.keys()];
    return { known: all.filter((one) => known.has(one)), unknown: all.filter((one) => !known.has(one)) };
  }

  const placesIn = (asked: ReadonlyMap<string, LanePosition | undefined>): LanePosition[] =>
    [...asked.values()].filter((place) => place !== undefined);

  /** What was acked before, here or by others, is acked. Each look is a read: a client that makes ids up gets few. */
  async function lookForDelivered(asked: ReadonlyMap<string, LanePosition | undefined>, known: Set<string>): Promise<void> {
    let looks = 0;
    for (const [one, place] of asked) {
      if (place === undefined || known.has(one)) continue;
      if (++looks > LOOKS_MAX) return;
      if (await groups.isDelivered(place)) known.add(one);
    }
  }

  return {
    get credit() {
      return member.credit;
    },
    addCredit: member.addCredit,
    hold: member.hold,
    drain: member.drain,
    leave: member.leave,
    async settle(which, said) {
      const asked = placesOf(which);
      const known = new Set(member.settle(placesIn(asked), said).map(idOf));
      await groups.settled();
      // What was on its way when the slot was lost may have been left out: then only the ledger tells.
      if (hasLeft) known.clear();
      if (said.kind === 'acked') await lookForDelivered(asked, known);
      return split(asked, known);
    },
    async extend(ids, ms) {
      const asked = placesOf({ ids });
      return split(asked, new Set(member.extend(placesIn(asked), ms).map(idOf)));
    },
  };
}

/** The `msg` of a delivery. What other nodes rely on (relay.ts): it begins with op and sub. */
function deliveryFrame(sub: number, handed: Handed, event: Buffer): Buffer {
  const { attempt, webhookId } = handed;
  const head = JSON.stringify({ op: 'msg', sub, id: idOf(handed), attempt, idempotencyKey: webhookId }).slice(0, -1);
  return Buffer.concat([Buffer.from(`${head},"event":`), event, Buffer.from('}')]);
}

export const unknownDelivery = (): Problem =>
  new Problem(
    'unknown_delivery',
    'these are not out with a consumer of this group: their time was over, or they are none of its deliveries',
    { advice: 'What was not settled comes again.' },
  );
