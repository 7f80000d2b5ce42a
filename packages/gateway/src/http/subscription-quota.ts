/** The quota `subscriptions` of an app: what is configured, whoever makes it, and what its consumers have open on this node. */
import type { Created, Gateway, SubscriptionSpec } from '../api.ts';
import type { Quotas } from '../quotas/quotas.ts';
import type { Access, Caller } from './access.ts';

export interface SubscriptionQuota {
  /** Rejects with `quota_exceeded`, or with what the gateway says. */
  create(caller: Caller, id: string, spec: SubscriptionSpec): Promise<Created>;
  /** One that a consumer opens, for its own app, until what is returned is called. Throws `quota_exceeded`. */
  open(caller: Caller): () => void;
}

interface Needs {
  readonly gateway: Pick<Gateway, 'subscriptions'>;
  readonly access: Access;
  readonly quotas: Quotas;
}

export function createSubscriptionQuota({ gateway, access, quotas }: Needs): SubscriptionQuota {
  const open = (environment: string, app: string): (() => void) =>
    quotas.open({ environment, id: app }, 'subscriptions', () => access.subscriptionsOf(environment, app).length);

  return {
    async create({ environment }, id, spec) {
      // While it is made it counts beside those that are there.
      const close = open(environment, spec.app);
      try {
        return await gateway.subscriptions.create(environment, id, spec);
      } finally {
        close();
      }
    },
    open: ({ environment, app }) => open(environment, app),
  };
}
