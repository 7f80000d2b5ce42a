/**
 * What a setting of a subscription is where nobody has chosen: it was left out, or is null. In a change, null gives the
 * setting its default back (RFC 7396).
 */
import { DEFAULT_JITTER, DEFAULT_SCHEDULE } from '@millrace/core/retry-schedule';
import type { SubscriptionSpec } from '../api.ts';
import { DEFAULT_BOUNDS, DEFAULT_BREAKER, DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT_MS, DISABLE_AFTER_MS } from '../settings.ts';

type Members = Readonly<Record<string, unknown>>;

/** Settings that have settings of their own. In a filter, or among headers, null is none of ours. */
const PARTS: ReadonlySet<string> = new Set(['deliver', 'webhook', 'retry', 'breaker', 'bounds']);

/** Of a new one: null is as if it had been left out. */
export function withoutNulls<T extends object>(body: T): T {
  const chosen = Object.entries(body).filter(([, value]) => value !== null);
  return Object.fromEntries(chosen.map(([name, value]) => [name, isPart(name, value) ? withoutNulls(value) : value])) as T;
}

/** What takes the place of a whole subscription: members that were left out get their defaults back. */
export function replacementOf(spec: SubscriptionSpec): Partial<SubscriptionSpec> {
  return filledIn(spec as unknown as Members, defaultsFor(spec.deliver.webhook.signature));
}

/** A change of some members. `signature`: the one it has by now. */
export function changeOf(body: object, signature: 'standard' | 'simple'): Partial<SubscriptionSpec> {
  const { deliver } = body as { readonly deliver?: Partial<SubscriptionSpec['deliver']> };
  const { signature: next = signature } = deliver?.webhook ?? {};
  // It can not be changed either: null is the right thing for those that are not ordered.
  return nullsFilledIn(body as Members, { ...defaultsFor(next), ordering: 'none' });
}

function defaultsFor(signature: 'standard' | 'simple' | undefined): Members {
  return {
    filter: null,
    retry: { schedule: DEFAULT_SCHEDULE, jitter: DEFAULT_JITTER },
    onDead: 'release',
    concurrency: DEFAULT_CONCURRENCY,
    ratePerSecond: null,
    breaker: DEFAULT_BREAKER,
    bounds: DEFAULT_BOUNDS,
    disableAfter: DISABLE_AFTER_MS,
    deliver: {
      webhook: {
        signature: 'standard',
        timeoutMs: DEFAULT_TIMEOUT_MS,
        body: 'data',
        headers: {},
        json: signature === 'simple' ? 'canonical' : undefined,
      },
    },
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
