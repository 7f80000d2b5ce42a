/** A delivery as it is answered: where it is listed or read, and where one is tried again. */
import type { AttemptRow, DeadLetter, LanePosition } from '../ports/ledger.ts';
import { type Caller, causeFor } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { idOf } from './delivery-ids.ts';

/** Of an event for a subscription. */
interface Tried {
  readonly subscription: string;
  /** Its last attempt; of one whose attempts are forgotten, what its dead letter says. */
  readonly last: LanePosition & Pick<AttemptRow, 'eventId' | 'topic' | 'outcome'>;
  readonly attempts: readonly AttemptRow[];
}

export interface DeliveryAnswers {
  /** Of many: only of one whose last attempt failed it is asked when it is tried next. */
  listed(caller: Caller, tried: Tried): Promise<object>;
  /** There is at least one attempt. */
  detailOf(
    caller: Caller,
    delivery: { readonly subscription: string; readonly attempts: readonly AttemptRow[] },
  ): Promise<object>;
  /** The delivery that a dead letter became again. */
  redriven(caller: Caller, subscription: string, letter: DeadLetter): Promise<object>;
}

export function createDeliveryAnswers({ gateway, ledger }: Pick<RouteNeeds, 'gateway' | 'ledger'>): DeliveryAnswers {
  async function show(caller: Caller, { subscription, last, attempts }: Tried): Promise<object> {
    const { environment, admin } = caller;
    const webhookId = await gateway.deliveries.webhookIdOf(environment, last, last.eventId);
    const run = last.lane.slice(last.lane.indexOf('.') + 1);
    return {
      id: idOf(last),
      subscription,
      ...(webhookId === undefined ? {} : { webhookId }),
      ...(run.startsWith('run_') ? { operation: run } : {}),
      event: { id: last.eventId, type: last.topic },
      shard: last.shard,
      position: last.position,
      outcome: last.outcome,
      attempts: attempts.map(({ n, startedMs, durationMs, outcome, cause, status, snippet }) => ({
        n,
        startedAt: timeOf(startedMs),
        durationMs,
        outcome,
        cause: causeFor(caller, cause),
        status,
        // What an endpoint answers, and where its name leads, is for operators: who sets endpoints could read inside networks by it.
        ...(admin ? { snippet } : {}),
      })),
    };
  }

  /** With when it is tried next. */
  async function whole(caller: Caller, tried: Tried): Promise<object> {
    const { lane, shard, position } = tried.last;
    const parked = await ledger.parked(lane, shard, position);
    const waiting = parked?.state === 'parked' ? { nextAttemptAt: timeOf(parked.dueMs) } : {};
    return { ...(await show(caller, tried)), ...waiting };
  }

  return {
    listed: (caller, tried) => (tried.last.outcome === 'retry' ? whole : show)(caller, tried),
    detailOf: (caller, { subscription, attempts }) =>
      whole(caller, { subscription, last: attempts.at(-1) as AttemptRow, attempts }),
    async redriven(caller, subscription, letter) {
      const attempts = await ledger.attemptsOf(letter.lane, letter.shard, letter.position);
      return whole(caller, { subscription, last: attempts.at(-1) ?? { ...letter, outcome: 'retry' }, attempts });
    },
  };
}
