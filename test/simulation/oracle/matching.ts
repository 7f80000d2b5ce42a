/** A second opinion on what matches, for the few forms the workload uses; written without a look at the gateway's. */
import type { Subscription } from '@millrace/gateway/ports/directory';
import type { Intent } from './facts.ts';

/** `environment` is where the subscription lives. */
export function wants(subscription: Subscription, environment: string, event: Intent): boolean {
  return (
    event.environment === environment &&
    (event.audience === undefined || event.audience === subscription.app) &&
    subscription.topics.some((pattern) => topicFits(pattern, event.topic)) &&
    filterFits(subscription.filter, event)
  );
}

function topicFits(pattern: string, topic: string): boolean {
  const source = pattern.split('.').map((token) => (token === '*' ? '[^.]+' : token === '>' ? '.+' : token));
  return new RegExp(`^${source.join('\\.')}$`).test(topic);
}

/** What the workload writes: `{ data: { kind: [..] } }`, `{ data: { amount: [{ numeric: ['>', x] }] } }`, `{ type: [..] }`. */
export interface WorkloadFilter {
  readonly type?: readonly string[];
  readonly data?: {
    readonly kind?: readonly string[];
    readonly amount?: readonly [{ readonly numeric: readonly ['>', number] }];
  };
}

function filterFits(filter: unknown, event: Intent): boolean {
  if (filter === undefined || filter === null) return true;
  const { type, data } = filter as WorkloadFilter;
  return (
    (type === undefined || type.includes(event.topic)) &&
    (data?.kind === undefined || data.kind.includes(event.kind)) &&
    (data?.amount === undefined || event.amount > data.amount[0].numeric[1])
  );
}
