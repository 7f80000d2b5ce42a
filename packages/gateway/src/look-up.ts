/** Subscriptions by the name a person uses: whoever is given one says the same of one that is not there. */
import { Problem } from '@millrace/core/problem';
import type { Lanes } from './lanes/lanes.ts';
import type { Subscriber } from './lanes/subscriber.ts';
import type { Registry } from './registry.ts';

const ID_CHARS_SHOWN = 80;
const MOVING_MS = 1_000;

export const noSubscription = (environment: string, id: string): Problem =>
  new Problem('not_found', `there is no subscription '${id.slice(0, ID_CHARS_SHOWN)}' in the environment '${environment}'`);

/** Not worked here: by whom, the door may know. */
export class Elsewhere extends Problem {
  readonly uid: string;

  constructor(id: string, uid: string) {
    super('moving', `the subscription '${id.slice(0, ID_CHARS_SHOWN)}' is not worked by this node now`, {
      retryAfterMs: MOVING_MS,
      advice: 'Ask again: it is being moved, or the node that works it could not be asked.',
    });
    this.uid = uid;
  }
}

/** Its lanes, as this process runs them. Throws `not_found`, or `moving` where another node works it. */
export interface LookUp {
  (environment: string, id: string): Subscriber;
}

interface Needs {
  readonly registry: Registry;
  readonly lanes: Lanes;
  /** Whether a subscription with this uid is worked here. */
  readonly isOurs: (uid: string) => boolean;
}

export function createLookUp({ registry, lanes, isOurs }: Needs): LookUp {
  return (environment, id) => {
    const uid = registry.subscription(environment, id)?.value.uid;
    const subscriber = uid === undefined ? undefined : lanes.subscriber(uid);
    if (uid !== undefined && subscriber === undefined && (!isOurs(uid) || lanes.isComing(uid))) throw new Elsewhere(id, uid);
    if (subscriber === undefined) throw noSubscription(environment, id);
    return subscriber;
  };
}
