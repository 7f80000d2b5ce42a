/** Subscriptions by the name a person uses: whoever is given one says the same of one that is not there. */
import { Problem } from '@millrace/core/problem';
import type { Lanes } from './lanes/lanes.ts';
import type { Subscriber } from './lanes/subscriber.ts';
import type { Registry } from './registry.ts';

const ID_CHARS_SHOWN = 80;

export const noSubscription = (environment: string, id: string): Problem =>
  new Problem('not_found', `there is no subscription '${id.slice(0, ID_CHARS_SHOWN)}' in the environment '${environment}'`);

/** Its lanes, as this process runs them. Throws `not_found`. */
export interface LookUp {
  (environment: string, id: string): Subscriber;
}

export function createLookUp({ registry, lanes }: { registry: Registry; lanes: Lanes }): LookUp {
  return (environment, id) => {
    const uid = registry.subscription(environment, id)?.value.uid;
    const subscriber = uid === undefined ? undefined : lanes.subscriber(uid);
    if (subscriber === undefined) throw noSubscription(environment, id);
    return subscriber;
  };
}
