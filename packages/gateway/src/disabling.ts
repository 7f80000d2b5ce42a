/** Subscriptions that the gateway disables by itself: their endpoint is gone, or has failed for days. Their cursors stay. */
import { allOf } from './all-of.ts';
import { Problem } from '@millrace/core/problem';
import type { Notice } from './api.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { Clock } from './ports/clock.ts';
import type { Directory, DisabledCause, Failing, Subscription, Versioned } from './ports/directory.ts';
import type { Registry } from './registry.ts';

export interface Disabling {
  /** Gives the endpoints what was known of their failing before the restart. To be called when the lanes are there. */
  restore(isOurs: (uid: string) => boolean): Promise<void>;
  keepFailing(subscription: Versioned<Subscription>, kept: Failing | undefined): void;
  disable(subscription: Versioned<Subscription>, cause: DisabledCause): void;
}

interface Needs {
  readonly directory: Directory;
  readonly registry: Registry;
  readonly lanes: () => Lanes;
  readonly clock: Clock;
  readonly onNotice: (notice: Notice) => void;
  readonly onTrouble: (error: unknown) => void;
}

export function createDisabling({ directory, registry, lanes, clock, onNotice, onTrouble }: Needs): Disabling {
  /** Subscriptions (uid) being disabled: each failure in flight would ask for it again. */
  const disabling = new Set<string>();

  async function store({ environment, id, value: { uid } }: Versioned<Subscription>, cause: DisabledCause): Promise<void> {
    const found = await directory.get('subscription', environment, id);
    if (found?.value.uid !== uid || found.value.state !== 'active') return;
    const value: Subscription = { ...found.value, state: 'disabled', disabled: { cause, atMs: clock.now() } };
    const now = await directory.put('subscription', environment, id, value, found.version);
    registry.tell({ kind: 'subscription', environment, id, now });
    onNotice({ kind: 'disabled', environment, subscription: id, cause });
  }

  return {
    async restore(isOurs) {
      for await (const { environment, id, value } of allOf(directory, 'failing')) {
        if (!isOurs(id)) continue;
        const subscriber = lanes().subscriber(id);
        // Of a subscription that is no more.
        if (subscriber === undefined) await directory.delete('failing', environment, id);
        else subscriber.endpoint.failing.restore(value);
      }
    },
    // Without waiting: should it get lost, the next hour tells it again.
    keepFailing({ environment, value: { uid } }, kept) {
      const told =
        kept === undefined ? directory.delete('failing', environment, uid) : directory.put('failing', environment, uid, kept);
      void told.catch(onTrouble);
    },
    disable(subscription, cause) {
      const { uid } = subscription.value;
      if (disabling.has(uid)) return;
      disabling.add(uid);
      void store(subscription, cause)
        // Somebody changed it just now: the next failure asks again.
        .catch((error: unknown) => (error instanceof Problem && error.code === 'version_mismatch' ? undefined : onTrouble(error)))
        .finally(() => disabling.delete(uid));
    },
  };
}
