/** The life of a subscription: created with its cursors fixed, changed, paused, resumed, deleted. */
import { randomBytes } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { parseDurationMs } from '@millrace/core/duration';
import { compileFilter } from '@millrace/core/filter';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import { compileSchedule } from '@millrace/core/retry-schedule';
import { newSecret, parseSecret } from '@millrace/core/signatures';
import { checkPattern, compileTopics, isPattern } from '@millrace/core/topic';
import type { From, Subscriptions, SubscriptionSpec } from './api.ts';
import type { Lanes } from './lanes/lanes.ts';
import { noSubscription } from './look-up.ts';
import { writePass } from './lanes/passes.ts';
import type { Deliver } from './flow/deliver.ts';
import type { Recorder } from './flow/record.ts';
import { bytesFrom, type Clock } from './ports/clock.ts';
import type { Directory, Subscription, SubscriptionBounds, Versioned, Webhook } from './ports/directory.ts';
import type { Cursor } from './ports/ledger.ts';
import type { Registry } from './registry.ts';
import type { Vault } from './vault.ts';
import { checkHeaders } from './webhook-headers.ts';

const MB = 1024 * 1024;

export const DEFAULT_BOUNDS: SubscriptionBounds = {
  parked: 100_000,
  parkedBytes: 256 * MB,
  held: 100_000,
  deadLetters: 1_000_000,
};
const DEFAULT_BREAKER = { failures: 3, events: 10 };
const PARKED_BYTES_MIN = 600_000;
const TOPICS_MAX = 64;
const CONCURRENCY_MAX = 1_024;
const RATE_MAX = 100_000;
const TIMEOUT_MS_MAX = 60_000;
const URL_CHARS_MAX = 2_048;
const SIMPLE_SECRET_CHARS_MIN = 16;
export const DISABLE_AFTER_MS = 5 * 86_400_000;
const DISABLE_AFTER_MS_MIN = 60_000;
const DISABLE_AFTER_MS_MAX = 365 * 86_400_000;
/** That count at once, as in Svix: each is one more signature in every delivery. */
const SECRETS_MAX = 10;
interface Needs {
  readonly directory: Directory;
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly lanes: Lanes;
  /** Whether the log keeps one order over all topics. */
  readonly isOneShard: boolean;
  readonly vault: Vault;
  readonly deliver: Deliver;
  readonly checkEndpoint: CheckEndpoint;
  readonly clock: Clock;
  /** Cursors of subscriptions that are being created, until the directory tells of them. */
  readonly opening: Map<string, ReadonlyMap<string, Cursor>>;
}

export function createSubscriptions({
  directory,
  registry,
  recorder,
  lanes,
  isOneShard,
  vault,
  deliver,
  checkEndpoint,
  clock,
  opening,
}: Needs): Subscriptions {
  async function known(environment: string, id: string): Promise<Versioned<Subscription>> {
    const found = await directory.get('subscription', environment, id);
    if (found === undefined) throw noSubscription(environment, id);
    return found;
  }

  async function store(
    environment: string,
    id: string,
    value: Subscription,
    expect: 'absent' | number,
  ): Promise<Versioned<Subscription>> {
    const now = await directory.put('subscription', environment, id, value, expect);
    registry.tell({ kind: 'subscription', environment, id, now });
    return now;
  }

  async function setState(environment: string, id: string, state: 'active' | 'paused'): Promise<Versioned<Subscription>> {
    const found = await known(environment, id);
    const { state: before, disabled: _disabled, ...value } = found.value;
    const endpoint = lanes.subscriber(value.uid)?.endpoint;
    // Whoever enables it again gives its endpoint a fresh span to fail in.
    if (before === 'disabled') endpoint?.failing.succeeded();
    if (before !== state) return store(environment, id, { ...value, state }, found.version);
    if (state === 'active') endpoint?.probeNow();
    return found;
  }

  /** Secrets that still count, with when they end at the latest. */
  function previous({ secrets }: Webhook, untilMs: number): Webhook['secrets'] {
    const nowMs = clock.now();
    return secrets
      .map(({ sealed, untilMs: endsMs = Infinity }) => ({ sealed, untilMs: Math.min(endsMs, untilMs) }))
      .filter((secret) => secret.untilMs > nowMs);
  }

  /** Where it begins is durable before it is: whatever is published after the answer reaches it. */
  async function begin(
    environment: string,
    id: string,
    settings: Omit<Subscription, 'beginsMs' | 'beginsPass'>,
    from: ReturnType<typeof beginning>,
  ): Promise<Versioned<Subscription>> {
    const ends = await lanes.cursorsAt('end');
    const cursors = from === 'end' ? ends : await lanes.cursorsAt(from);
    const value: Subscription = { ...settings, beginsMs: owedFrom(from, ends.values()), beginsPass: 0 };
    await writePass(recorder, value, cursors);
    opening.set(value.uid, cursors);
    try {
      return await store(environment, id, value, 'absent');
    } catch (error) {
      // Unless it was stored after all and only the answer was lost: then the rows are the cursors it starts from.
      const stored = await directory.get('subscription', environment, id).catch(() => undefined);
      if (stored?.value.uid !== value.uid && error instanceof Problem && error.code === 'already_exists')
        recorder.add({ dropSubscription: value.uid });
      throw error;
    } finally {
      opening.delete(value.uid);
    }
  }

  const warnings = ({ environment, value }: Versioned<Subscription>): string[] =>
    warningsOf(environment, value, { registry, isOneShard });

  return {
    async create(environment, id, spec) {
      checkId(id);
      const secret = spec.deliver?.webhook?.secret ?? newSecret((count) => randomBytes(count));
      const createdMs = clock.now();
      const base = { uid: base32(randomBytes(17), 26), state: 'active', createdMs, pass: 0 } as const;
      const settings = settingsOf(spec, { secrets: [{ sealed: vault.seal(secret) }], secret, checkEndpoint });
      if (registry.app(environment, spec.app) === undefined)
        throw new Problem('not_found', `there is no app '${spec.app}'`, { pointer: '/app' });
      if (registry.subscription(environment, id) !== undefined)
        throw new Problem('already_exists', `there is a subscription '${id}' already`);
      const from = beginning(spec.from);
      const subscription = await lanes.beginning(() => begin(environment, id, { ...base, ...settings }, from));
      return { subscription, secret, warnings: warnings(subscription) };
    },
    async update(environment, id, change, expect) {
      const found = await known(environment, id);
      checkVersion(found, expect);
      return store(environment, id, changed(found.value, change, { vault, checkEndpoint }), found.version);
    },
    warnings,
    async delete(environment, id) {
      const was = await directory.delete('subscription', environment, id);
      registry.tell({ kind: 'subscription', environment, id });
      return was;
    },
    async test(environment, id, { topic, data }) {
      const { value } = await known(environment, id);
      const subscriber = lanes.subscriber(value.uid);
      if (subscriber === undefined) throw noSubscription(environment, id);
      const nowMs = clock.now();
      const event = {
        id: newId('evt', nowMs, bytesFrom(clock)),
        source: '/millrace/test',
        type: topic,
        time: new Date(nowMs).toISOString(),
        datacontenttype: 'application/json',
        // A test stands nowhere in the log.
        extensions: { sequence: '0' },
        data,
      };
      const record = { shard: '', position: '', timeMs: nowMs, environment, app: value.app, event, size: data.length };
      const { webhookId, kind, status, cause, snippet, durationMs } = await deliver(subscriber.target, record);
      if (kind === 'delivered') subscriber.endpoint.probeNow();
      return { webhookId, delivered: kind === 'delivered', status, cause, snippet, durationMs };
    },
    async rotateSecret(environment, id, { secret: given, overlapMs }, expect) {
      const found = await known(environment, id);
      checkVersion(found, expect);
      const { webhook } = found.value.deliver;
      const secret = given ?? newSecret((count) => randomBytes(count));
      checkSecret(webhook.signature, secret, '/secret');
      if (secret === vault.open(webhook.secrets[0]?.sealed ?? ''))
        throw new Problem('invalid_secret', 'this is the present secret', { pointer: '/secret' });
      const previousUntilMs = clock.now() + overlapMs;
      const secrets = [{ sealed: vault.seal(secret) }, ...previous(webhook, previousUntilMs)];
      if (secrets.length > SECRETS_MAX)
        throw new Problem('conflict', `${SECRETS_MAX} secrets of this subscription count already`, {
          advice: 'Wait until the overlap of earlier rotations ends, or rotate with the overlap "0s" to end them now.',
        });
      const value = { ...found.value, deliver: { webhook: { ...webhook, secrets } } };
      const subscription = await store(environment, id, value, found.version);
      return { subscription, secret, previousUntilMs };
    },
    pause: (environment, id) => setState(environment, id, 'paused'),
    resume: (environment, id) => setState(environment, id, 'active'),
  };
}

export function beginning(from: From = 'latest'): number | 'end' | 'start' {
  if (from === 'latest') return 'end';
  if (from === 'earliest') return 'start';
  if (typeof from?.timeMs !== 'number' || !Number.isFinite(from.timeMs) || from.timeMs < 0) {
    throw new Problem('invalid_request', "from is 'latest', 'earliest' or a time", { pointer: '/from' });
  }
  return from.timeMs;
}

/** From when on a subscription is owed events, on the log's clock: by wall time, one set back would hide what comes later. */
export function owedFrom(from: number | 'end' | 'start', ends: Iterable<Cursor>): number {
  if (from === 'start') return 0;
  const timesMs = [...ends].map(({ timeMs }) => timeMs);
  // A time that is still to come means from now on.
  if (timesMs.length === 0) return 0;
  return from === 'end' ? Math.min(...timesMs) : Math.min(from, Math.max(...timesMs));
}

function checkVersion({ id, version }: Versioned<Subscription>, expect: number | undefined): void {
  if (expect !== undefined && expect !== version)
    throw new Problem('version_mismatch', `the subscription '${id}' has the version ${version}`);
}

function checkId(id: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id)) {
    throw new Problem(
      'invalid_request',
      'an id has 1 to 64 letters, digits, dots, dashes or underscores and starts with a letter or digit',
      { pointer: '/id' },
    );
  }
}

type Settings = Omit<Subscription, 'uid' | 'state' | 'disabled' | 'createdMs' | 'pass' | 'beginsMs' | 'beginsPass'>;

/** Checks what a person wrote and fills in what was left out. `secret` is the clear text of the newest one. */
function settingsOf(
  spec: SubscriptionSpec,
  { secrets, secret, checkEndpoint }: Pick<Webhook, 'secrets'> & { secret: string; checkEndpoint: CheckEndpoint },
): Settings {
  refuseWhatIsNotThereYet(spec);
  const { webhook } = spec.deliver;
  const topics = topicsOf(spec.topics);
  if (spec.filter !== undefined) compileFilter(spec.filter);
  const signature = webhook.signature ?? 'standard';
  checkSecret(signature, secret);
  return {
    app: spec.app,
    topics,
    ...(spec.filter === undefined ? {} : { filter: spec.filter }),
    deliver: {
      webhook: {
        url: endpointOf(webhook.url, checkEndpoint, '/deliver/webhook/url'),
        signature,
        secrets,
        timeoutMs: inRange(webhook.timeoutMs ?? 15_000, { pointer: '/deliver/webhook/timeoutMs', min: 1, max: TIMEOUT_MS_MAX }),
        body: oneOf(webhook.body ?? 'data', ['data', 'event'], '/deliver/webhook/body'),
        ...(webhook.json === undefined ? {} : { json: jsonOf(webhook.json, signature) }),
        headers: checkHeaders(webhook.headers ?? {}, { pointer: '/deliver/webhook/headers' }),
      },
    },
    retry: compileSchedule(spec.retry ?? {}, '/retry'),
    ordering: oneOf(spec.ordering ?? 'none', ['none', 'key'], '/ordering'),
    onDead: oneOf(spec.onDead ?? 'release', ['release', 'hold'], '/onDead'),
    concurrency: inRange(spec.concurrency ?? 16, { pointer: '/concurrency', min: 1, max: CONCURRENCY_MAX }),
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
function changed(
  now: Subscription,
  change: Partial<SubscriptionSpec>,
  { vault, checkEndpoint }: Pick<Needs, 'vault' | 'checkEndpoint'>,
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
  const { webhook } = now.deliver;
  const { secrets, ...shown } = webhook;
  const given = change.deliver?.webhook;
  const secret = given?.secret;
  const spec: SubscriptionSpec = {
    app: now.app,
    topics: change.topics ?? now.topics,
    ...(change.filter === null ? {} : { filter: change.filter ?? now.filter }),
    deliver: { ...change.deliver, webhook: webhookOf(shown, given) },
    retry: { schedule: change.retry?.schedule ?? now.retry.scheduleMs, jitter: change.retry?.jitter ?? now.retry.jitter },
    ordering: now.ordering,
    onDead: change.onDead ?? now.onDead,
    concurrency: change.concurrency ?? now.concurrency,
    ...rateOf(now, change),
    breaker: typeof change.breaker === 'object' ? { ...now.breaker, ...change.breaker } : (change.breaker ?? now.breaker),
    bounds: { ...now.bounds, ...change.bounds },
    disableAfter: change.disableAfter ?? now.disableAfterMs ?? false,
  };
  const keys = secret === undefined ? secrets : [{ sealed: vault.seal(secret) }];
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
      secret: secret ?? vault.open(keys[0]?.sealed ?? ''),
      // What is there already may stay: the allow-list may have become shorter since.
      checkEndpoint: given?.url === undefined ? () => undefined : checkEndpoint,
    }),
  };
}

/** What belongs to `simple` goes with it. */
function webhookOf(
  { json, ...shown }: Omit<Webhook, 'secrets'>,
  given: Partial<SubscriptionSpec['deliver']['webhook']> = {},
): SubscriptionSpec['deliver']['webhook'] {
  const isSimple = (given.signature ?? shown.signature) === 'simple';
  return { ...shown, ...(isSimple && json !== undefined ? { json } : {}), ...given };
}

/** `null` takes the limit away. */
function rateOf(now: Subscription, { ratePerSecond = now.ratePerSecond }: Partial<SubscriptionSpec>): { ratePerSecond?: number } {
  return ratePerSecond === undefined || ratePerSecond === null ? {} : { ratePerSecond };
}

const LATER: readonly (readonly [member: string, of: (spec: SubscriptionSpec) => object | undefined])[] = [
  ['transform', (spec) => spec],
  ['stream', (spec) => spec.deliver],
  ['relay', (spec) => spec.deliver],
];

function refuseWhatIsNotThereYet(spec: SubscriptionSpec): void {
  for (const [member, of] of LATER) {
    if (of(spec) !== undefined && member in (of(spec) as object))
      throw new Problem('not_available_yet', `'${member}' is planned and not available yet`, {
        pointer: of(spec) === spec ? `/${member}` : `/deliver/${member}`,
      });
  }
  if (spec.deliver?.webhook === undefined)
    throw new Problem('invalid_request', 'a subscription delivers to a webhook', { pointer: '/deliver/webhook' });
  if ((spec.deliver.webhook.signature as string) === 'jwt')
    throw new Problem('not_available_yet', "the signature 'jwt' is planned and not available yet", {
      pointer: '/deliver/webhook/signature',
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

function checkSecret(signature: 'standard' | 'simple', secret: string, pointer = '/deliver/webhook/secret'): void {
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

/** What a person should know before it happens: promise 2 about retention, promise 4 about order across topics. */
function warningsOf(
  environment: string,
  subscription: Subscription,
  { registry, isOneShard }: Pick<Needs, 'registry' | 'isOneShard'>,
): string[] {
  const { topics, retry, ordering } = subscription;
  const matches = compileTopics(topics);
  const scheduleMs = Math.max(
    retry.scheduleMs.reduce((sum, ms) => sum + ms, 0),
    subscription.disableAfterMs ?? 0,
  );
  const warnings: string[] = [];
  for (const { environment: of, id, value } of registry.topics()) {
    if (of !== environment || !matches(id) || value.retentionMs >= scheduleMs) continue;
    warnings.push(
      `the retry schedule, or disableAfter, is longer than the topic '${id}' keeps its events: a long outage ends in dead letters for ranges`,
    );
  }
  if (ordering === 'key' && !isOneShard && (topics.length > 1 || topics.some(isPattern))) {
    warnings.push('on this log events of one key are in order within a topic, not across topics');
  }
  return warnings;
}
