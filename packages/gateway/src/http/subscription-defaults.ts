/**
 * What a setting of a subscription is where nobody has chosen: it was left out, or is null. In a change, null gives the
 * setting its default back (RFC 7396).
 */
import { DEFAULT_JITTER, DEFAULT_SCHEDULE } from '@millrace/core/retry-schedule';
import type { SubscriptionSpec } from '../api.ts';
import type { Subscription } from '../ports/directory.ts';
import {
  ACK_WAIT_MS,
  DEFAULT_BOUNDS,
  DEFAULT_BREAKER,
  DEFAULT_TIMEOUT_MS,
  defaultConcurrency,
  DISABLE_AFTER_MS,
} from '../settings.ts';

type Members = Readonly<Record<string, unknown>>;

/** Settings that have settings of their own. In a filter, or among headers, null is none of ours. */
const PARTS: ReadonlySet<string> = new Set(['deliver', 'webhook', 'stream', 'retry', 'breaker', 'bounds']);

/** Of a new one: null is as if it had been left out. */
export function withoutNulls<T extends object>(body: T): T {
  const chosen = Object.entries(body).filter(([, value]) => value !== null);
  return Object.fromEntries(chosen.map(([name, value]) => [name, isPart(name, value) ? withoutNulls(value) : value])) as T;
}

/** What takes the place of a whole subscription: members that were left out get their defaults back. */
export function replacementOf(spec: SubscriptionSpec): Partial<SubscriptionSpec> {
  return filledIn(spec as unknown as Members, defaultsFor(spec.deliver));
}

/** A change of some members. `now`: what it has by now. */
export function changeOf(body: object, now: Subscription['deliver']): Partial<SubscriptionSpec> {
  const { deliver } = body as { readonly deliver?: Partial<SubscriptionSpec['deliver']> };
  const signature = deliver?.webhook?.signature ?? now.webhook?.signature;
  // It can not be changed either: null is the right thing for those that are not ordered.
  const kept = now.webhook === undefined ? { stream: {} } : { webhook: { signature } };
  return nullsFilledIn(body as Members, { ...defaultsFor(kept as SubscriptionSpec['deliver']), ordering: 'none' });
}

function defaultsFor(deliver: SubscriptionSpec['deliver']): Members {
  const { webhook, stream } = deliver;
  return {
    filter: null,
    retry: { schedule: DEFAULT_SCHEDULE, jitter: DEFAULT_JITTER },
    onDead: 'release',
    concurrency: defaultConcurrency(deliver),
    ratePerSecond: null,
    breaker: DEFAULT_BREAKER,
    bounds: DEFAULT_BOUNDS,
    disableAfter: DISABLE_AFTER_MS,
    deliver:
      stream === undefined
        ? {
            webhook: {
              signature: 'standard',
              timeoutMs: DEFAULT_TIMEOUT_MS,
              body: 'data',
              headers: {},
              json: webhook?.signature === 'simple' ? 'canonical' : undefined,
            },
          }
        : { stream: { ackWait: ACK_WAIT_MS } },
  };
}

function filledIn(given: Members, defaults: Members): Members {
  const whole = { ...defaults, ...given };
  return Object.fromEntries(
    Object.entries(whole).map(([name, value]) => [
      name,
      isPart(name, value) ? filledIn(value, (defaults[name] ?? {}) as Members) : value,
    ]),
  );
}

function nullsFilledIn(given: Members, defaults: Members): Members {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      if (isPart(name, value)) return [name, nullsFilledIn(value, (defaults[name] ?? {}) as Members)];
      return [name, value === null && Object.hasOwn(defaults, name) ? defaults[name] : value];
    }),
  );
}

function isPart(name: string, value: unknown): value is Members {
  return PARTS.has(name) && typeof value === 'object' && value !== null;
}
