import { Problem } from '@millrace/core/problem';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { Access, Caller } from './access.ts';

export interface SubscriptionQuery {
  readonly subscription?: string;
}

/** The subscription that `?subscription=` names: lists of what happened are always those of one. */
export async function subscriptionIn(
  access: Access,
  caller: Caller,
  { subscription }: SubscriptionQuery,
): Promise<Versioned<Subscription>> {
  if (subscription === undefined || subscription === '')
    throw new Problem('invalid_request', 'say whose: ?subscription=…', { pointer: '/query/subscription' });
  return access.subscription(caller, subscription);
}
