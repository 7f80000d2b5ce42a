/** What may be set of an app, and what a change makes of it. */
import { checkOriginPattern } from '@millrace/core/origin';
import type { App, Quotas } from '../ports/directory.ts';
import { changedRule, type SdkChange } from './sdk-rule.ts';

/** Null gives a setting its default back (RFC 7396). */
export interface AppChange {
  readonly name?: string | null;
  readonly origins?: readonly string[] | null;
  readonly quotas?: { readonly [name in keyof Quotas]: Quotas[name] | null } | null;
  readonly sdk?: SdkChange | null;
  readonly telemetry?: { readonly sample: number } | null;
}

export function changedApp(before: App, { name, origins, quotas, sdk, telemetry }: AppChange, id = before.name): App {
  origins?.forEach((origin, at) => checkOriginPattern(origin, `/origins/${at}`));
  const now = {
    origins: origins === undefined ? (before.origins ?? []) : (origins ?? []),
    quotas: quotas === undefined ? (before.quotas ?? {}) : quotas === null ? {} : changedQuotas(before.quotas ?? {}, quotas),
    sdk: sdk === undefined ? (before.sdk ?? {}) : sdk === null ? {} : changedRule(before.sdk ?? {}, sdk),
    telemetry: telemetry === undefined ? before.telemetry : (telemetry ?? undefined),
  };
  return {
    name: name === null ? id : (name ?? before.name),
    createdMs: before.createdMs,
    ...(now.origins.length === 0 ? {} : { origins: now.origins }),
    ...(Object.keys(now.quotas).length === 0 ? {} : { quotas: now.quotas }),
    ...(Object.keys(now.sdk).length === 0 ? {} : { sdk: now.sdk }),
    ...((now.telemetry?.sample ?? 0) === 0 ? {} : { telemetry: { sample: now.telemetry?.sample ?? 0 } }),
  };
}

function changedQuotas(before: Quotas, change: NonNullable<AppChange['quotas']>): Quotas {
  return Object.fromEntries(Object.entries({ ...before, ...change }).filter(([, most]) => most !== null));
}
