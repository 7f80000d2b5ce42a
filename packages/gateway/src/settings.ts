/** The settings of a subscription: what a person writes, checked and filled in, and changed later. */
import { parseDurationMs } from '@millrace/core/duration';
import { compileFilter } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import { compileSchedule } from '@millrace/core/retry-schedule';
import { parseSecret } from '@millrace/core/signatures';
import { checkPattern } from '@millrace/core/topic';
import type { SubscriptionSpec } from './api.ts';
import type { Deliver, Subscription, SubscriptionBounds, Webhook } from './ports/directory.ts';
import type { Vault } from './vault.ts';
import { checkHeaders, sealHeaders, showHeaders } from './webhook-headers.ts';

const MB = 1024 * 1024;
const HEADERS = '/deliver/webhook/headers';

export const DEFAULT_BOUNDS: SubscriptionBounds = {
  parked: 100_000,
  parkedBytes: 256 * MB,
  held: 100_000,
  deadLetters: 1_000_000,
};
export const DEFAULT_BREAKER = { failures: 3, events: 10 };
export const DEFAULT_CONCURRENCY = 16;
/** Of a group, whose consumers say by their credit how much they take: as much as the SDK's default. They may hold it for long, so no more. */
export const DEFAULT_GROUP_CONCURRENCY = 64;
export const DEFAULT_TIMEOUT_MS = 15_000;
const PARKED_BYTES_MIN = 600_000;
const TOPICS_MAX = 64;
export const CONCURRENCY_MAX = 1_024;
const RATE_MAX = 100_000;
const TIMEOUT_MS_MAX = 60_000;
export const ACK_WAIT_MS = 30_000;
const ACK_WAIT_MS_MIN = 1_000;
const ACK_WAIT_MS_MAX = 12 * 3_600_000;
const URL_CHARS_MAX = 2_048;
const SIMPLE_SECRET_CHARS_MIN = 16;
export const DISABLE_AFTER_MS = 5 * 86_400_000;
const DISABLE_AFTER_MS_MIN = 60_000;
const DISABLE_AFTER_MS_MAX = 365 * 86_400_000;

type Settings = Omit<Subscription, 'uid' | 'state' | 'disabled' | 'createdMs' | 'pass' | 'beginsMs' | 'beginsPass'>;

interface SettingsNeeds extends Pick<Webhook, 'secrets'> {
  /** The clear text of the newest one. */
  readonly secret: string;
  /** What it has by now, of one that is there. */
  readonly present?: Pick<Webhook, 'url' | 'headers' | 'sealedHeaders'>;
  readonly vault: Vault;
  readonly checkEndpoint: CheckEndpoint;
}

/** Checks what a person wrote and fills in what was left out. */
export function settingsOf(spec: SubscriptionSpec, needs: SettingsNeeds): Settings {
  refuseWhatIsNotThereYet(spec);
  const topics = topicsOf(spec.topics);
  if (spec.filter !== undefined) compileFilter(spec.filter);
  return {
    app: spec.app,
    topics,
    ...(spec.filter === undefined ? {} : { filter: spec.filter }),
    deliver: deliverOf(spec.deliver, needs),
    retry: compileSchedule(spec.retry ?? {}, '/retry'),
    ordering: oneOf(spec.ordering ?? 'none', ['none', 'key'], '/ordering'),
    onDead: oneOf(spec.onDead ?? 'release', ['release', 'hold'], '/onDead'),
    concurrency: inRange(spec.concurrency ?? defaultConcurrency(spec.deliver), {
      pointer: '/concurrency',
      min: 1,
      max: CONCURRENCY_MAX,
    }),
    ...(spec.ratePerSecond === undefined || spec.ratePerSecond === null
      ? {}
      : {
          ratePerSecond: inRange(spec.ratePerSecond, { pointer: '/ratePerSecond', min: 0.001, max: RATE_MAX, fractions: true }),
        }),
    breaker: breakerOf(spec.breaker),
    bounds: boundsOf(spec.bounds),
    ...disableAfterOf(spec.disableAfter),
  };
}

export const defaultConcurrency = ({ webhook }: SubscriptionSpec['deliver']): number =>
  webhook === undefined ? DEFAULT_GROUP_CONCURRENCY : DEFAULT_CONCURRENCY;

function deliverOf({ webhook, stream }: SubscriptionSpec['deliver'], needs: SettingsNeeds): Deliver {
  if (webhook === undefined) return { stream: { ackWaitMs: ackWaitOf(stream?.ackWait) } };
  const { secrets, secret, present, vault, checkEndpoint } = needs;
  const signature = webhook.signature ?? 'standard';
  checkSecret(signature, secret);
  const url = endpointOf(webhook.url, checkEndpoint, '/deliver/webhook/url');
  return {
    webhook: {
      url,
      signature,
      secrets,
      timeoutMs: inRange(webhook.timeoutMs ?? DEFAULT_TIMEOUT_MS, {
        pointer: '/deliver/webhook/timeoutMs',
        min: 1,
        max: TIMEOUT_MS_MAX,
      }),
      body: oneOf(webhook.body ?? 'data', ['data', 'event'], '/deliver/webhook/body'),
      ...(webhook.json === undefined ? {} : { json: jsonOf(webhook.json, signature) }),
      ...sealHeaders(checkHeaders(webhook.headers ?? {}, { pointer: HEADERS }), { url, vault, present, pointer: HEADERS }),
    },
  };
}

function ackWaitOf(ackWait: string | number = ACK_WAIT_MS): number {
  const pointer = '/deliver/stream/ackWait';
  const ms = parseDurationMs(ackWait, { maxMs: ACK_WAIT_MS_MAX, pointer });
  if (ms < ACK_WAIT_MS_MIN) throw new Problem('invalid_request', 'ackWait is a second or longer', { pointer });
  return ms;
}

function jsonOf(json: NonNullable<Webhook['json']>, signature: Webhook['signature']): NonNullable<Webhook['json']> {
  const pointer = '/deliver/webhook/json';
  if (signature !== 'simple')
    throw new Problem('invalid_request', "json is a setting of the signature 'simple': others send JSON as it came", { pointer });
  return oneOf(json, ['canonical', 'as-sent'], pointer);
}

function disableAfterOf(disableAfter: SubscriptionSpec['disableAfter'] = DISABLE_AFTER_MS): Pick<Subscription, 'disableAfterMs'> {
  if (disableAfter === false) return {};
  const pointer = '/disableAfter';
  const disableAfterMs = parseDurationMs(disableAfter, { maxMs: DISABLE_AFTER_MS_MAX, pointer });
  if (disableAfterMs < DISABLE_AFTER_MS_MIN)
    throw new Problem('invalid_request', 'disableAfter is a minute or longer, or false', { pointer });
  return { disableAfterMs };
}

/** A change is merged into what a person would have written for the present settings, then checked as a whole. */
export function changed(
  now: Subscription,
  change: Partial<SubscriptionSpec>,
  { vault, checkEndpoint }: { readonly vault: Vault; readonly checkEndpoint: CheckEndpoint },
): Subscription {
  if (change.ordering !== undefined) oneOf(change.ordering, ['none', 'key'], '/ordering');
  for (const fixed of ['app', 'ordering'] as const) {
    if (change[fixed] !== undefined && change[fixed] !== now[fixed]) {
      throw new Problem('invalid_request', `${fixed} can not be changed`, {
        pointer: `/${fixed}`,
        advice: 'Create another subscription.',
      });
    }
  }
  const secret = change.deliver?.webhook?.secret;
  const spec: SubscriptionSpec = {
    app: now.app,
    topics: change.topics ?? now.topics,
    ...(change.filter === null ? {} : { filter: change.filter ?? now.filter }),
    deliver: deliverSpecOf(now.deliver, change.deliver),
    retry: { schedule: change.retry?.schedule ?? now.retry.scheduleMs, jitter: change.retry?.jitter ?? now.retry.jitter },
    ordering: now.ordering,
    onDead: change.onDead ?? now.onDead,
    concurrency: change.concurrency ?? now.concurrency,
    ...rateOf(now, change),
    breaker: typeof change.breaker === 'object' ? { ...now.breaker, ...change.breaker } : (change.breaker ?? now.breaker),
    bounds: { ...now.bounds, ...change.bounds },
    disableAfter: change.disableAfter ?? now.disableAfterMs ?? false,
  };
  const { webhook } = now.deliver;
  const keys = secret === undefined ? (webhook?.secrets ?? []) : [{ sealed: vault.seal(secret) }];
  const { uid, state, disabled, createdMs, pass, beginsMs, beginsPass } = now;
  return {
    uid,
    state,
    ...(disabled === undefined ? {} : { disabled }),
    createdMs,
    pass,
    beginsMs,
    beginsPass,
    ...settingsOf(spec, {
      secrets: keys,
      secret: secret ?? (webhook === undefined ? '' : vault.open(keys[0]?.sealed ?? '')),
      ...(webhook === undefined ? {} : { present: webhook }),
      vault,
      // What is there already may stay: the allow-list may have become shorter since.
      checkEndpoint: change.deliver?.webhook?.url === undefined ? () => undefined : checkEndpoint,
    }),
  };
}

type WebhookSpec = NonNullable<SubscriptionSpec['deliver']['webhook']>;

function deliverSpecOf(
  { webhook, stream }: Deliver,
  change: Partial<SubscriptionSpec['deliver']> = {},
): SubscriptionSpec['deliver'] {
  const other = webhook === undefined ? 'webhook' : 'stream';
  if (change[other] !== undefined && change[other] !== null)
    throw new Problem(
      'invalid_request',
      'what a subscription delivers to can not be changed from a webhook to a stream, or back',
      {
        pointer: ['/deliver', other, ...Object.keys(change[other]).slice(0, 1)].join('/'),
        advice: 'Create another subscription.',
      },
    );
  if (webhook === undefined) return { stream: { ackWait: change.stream?.ackWait ?? stream.ackWaitMs } };
  const { secrets: _secrets, sealedHeaders: _sealed, ...rest } = webhook;
  return { ...change, webhook: webhookOf({ ...rest, headers: showHeaders(webhook) }, change.webhook) };
}

/** What belongs to `simple` goes with it. */
function webhookOf(
  { json, ...shown }: Omit<Webhook, 'secrets' | 'sealedHeaders'>,
  given: Partial<WebhookSpec> = {},
): WebhookSpec {
  const isSimple = (given.signature ?? shown.signature) === 'simple';
  return { ...shown, ...(isSimple && json !== undefined ? { json } : {}), ...given };
}

/** `null` takes the limit away. */
function rateOf(now: Subscription, { ratePerSecond = now.ratePerSecond }: Partial<SubscriptionSpec>): { ratePerSecond?: number } {
  return ratePerSecond === undefined || ratePerSecond === null ? {} : { ratePerSecond };
}

const LATER: readonly (readonly [member: string, of: (spec: SubscriptionSpec) => object | undefined])[] = [
  ['transform', (spec) => spec],
  ['relay', (spec) => spec.deliver],
];

function refuseWhatIsNotThereYet(spec: SubscriptionSpec): void {
  for (const [member, of] of LATER) {
    if (of(spec) !== undefined && member in (of(spec) as object))
      throw new Problem('not_available_yet', `'${member}' is planned and not available yet`, {
        pointer: of(spec) === spec ? `/${member}` : `/deliver/${member}`,
      });
  }
  mustDeliverToOne(spec.deliver);
  if ((spec.deliver.webhook?.signature as string | undefined) === 'jwt')
    throw new Problem('not_available_yet', "the signature 'jwt' is planned and not available yet", {
      pointer: '/deliver/webhook/signature',
    });
}

export function mustDeliverToOne(deliver: SubscriptionSpec['deliver'] | undefined): void {
  if ((deliver?.webhook === undefined) === (deliver?.stream === undefined))
    throw new Problem('invalid_request', 'a subscription delivers to a webhook or to a stream', {
      pointer: '/deliver',
      advice: 'Give one of both: {"webhook": {"url": "https://…"}}, or {"stream": {}} for consumers that connect.',
    });
}

function topicsOf(topics: unknown): readonly string[] {
  if (!Array.isArray(topics) || topics.length === 0 || topics.length > TOPICS_MAX) {
    throw new Problem('invalid_topic', `a subscription has 1 to ${TOPICS_MAX} topic patterns`, { pointer: '/topics' });
  }
  topics.forEach((topic: unknown, at) => checkPattern(topic, `/topics/${at}`));
  return [...new Set(topics as string[])];
}

export type CheckEndpoint = (url: URL) => string | undefined;

/** The address as it will be used. Throws `invalid_url`, also for one that nothing would be sent to. */
export function endpointOf(text: unknown, check: CheckEndpoint, pointer: string): string {
  const refused = (why: string): Problem => new Problem('invalid_url', why, { pointer });
  if (typeof text !== 'string' || text.length > URL_CHARS_MAX || !URL.canParse(text))
    throw refused(
      `the endpoint is an absolute address of at most ${URL_CHARS_MAX} characters, such as https://crm.example/hooks`,
    );
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused('the endpoint is an http or https address');
  if (url.username !== '' || url.password !== '') throw refused('an address must not hold a name or password: use a header');
  const objection = check(url);
  if (objection !== undefined) throw refused(objection);
  url.hash = '';
  return url.href;
}

export function checkSecret(signature: 'standard' | 'simple', secret: string, pointer = '/deliver/webhook/secret'): void {
  oneOf(signature, ['standard', 'simple'], '/deliver/webhook/signature');
  if (signature === 'standard') {
    if (parseSecret(secret, pointer).kind === 'public')
      throw new Problem('invalid_secret', 'a whpk_ key can only verify: give the whsk_ key', { pointer });
  } else if (typeof secret !== 'string' || secret.length < SIMPLE_SECRET_CHARS_MIN || secret.length > 512) {
    throw new Problem('invalid_secret', `the secret has ${SIMPLE_SECRET_CHARS_MIN} to 512 characters`, { pointer });
  }
}

function breakerOf(breaker: SubscriptionSpec['breaker'] = DEFAULT_BREAKER): Subscription['breaker'] {
  if (breaker === false) return false;
  return {
    failures: inRange(breaker.failures ?? DEFAULT_BREAKER.failures, { pointer: '/breaker/failures', min: 1, max: 1_000 }),
    events: inRange(breaker.events ?? DEFAULT_BREAKER.events, { pointer: '/breaker/events', min: 1, max: 1_000 }),
  };
}

function boundsOf(bounds: Partial<SubscriptionBounds> = {}): SubscriptionBounds {
  const { parked, parkedBytes, held, deadLetters } = { ...DEFAULT_BOUNDS, ...bounds };
  return {
    parked: inRange(parked, { pointer: '/bounds/parked', min: 1, max: DEFAULT_BOUNDS.parked }),
    // One event of the largest size (limits.payloadBytes and attributeBytes) must fit, or the lane could never move.
    parkedBytes: inRange(parkedBytes, { pointer: '/bounds/parkedBytes', min: PARKED_BYTES_MIN, max: DEFAULT_BOUNDS.parkedBytes }),
    held: inRange(held, { pointer: '/bounds/held', min: 1, max: DEFAULT_BOUNDS.held }),
    deadLetters: inRange(deadLetters, { pointer: '/bounds/deadLetters', min: 1, max: DEFAULT_BOUNDS.deadLetters }),
  };
}

function inRange(
  value: unknown,
  { pointer, min, max, fractions = false }: { pointer: string; min: number; max: number; fractions?: boolean },
): number {
  if (typeof value !== 'number' || !(value >= min && value <= max) || !(fractions || Number.isInteger(value))) {
    throw new Problem(
      'invalid_request',
      `${pointer.slice(1).replaceAll('/', '.')} is a ${fractions ? '' : 'whole '}number from ${min} to ${max}`,
      { pointer },
    );
  }
  return value;
}

function oneOf<T extends string>(value: T, allowed: readonly T[], pointer: string): T {
  if (!allowed.includes(value))
    throw new Problem('invalid_request', `${pointer.slice(1).replaceAll('/', '.')} is one of ${allowed.join(', ')}`, { pointer });
  return value;
}
