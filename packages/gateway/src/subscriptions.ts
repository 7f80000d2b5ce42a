/** The life of a subscription: created with its cursors fixed, changed, paused, resumed, deleted. */
import { randomBytes } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import { newSecret } from '@millrace/core/signatures';
import { compileTopics, isPattern } from '@millrace/core/topic';
import type { From, Subscriptions } from './api.ts';
import type { Lanes } from './lanes/lanes.ts';
import { Elsewhere, type LookUp, noSubscription } from './look-up.ts';
import { writePass } from './lanes/passes.ts';
import type { Subscriber } from './lanes/subscriber.ts';
import type { Deliver } from './flow/deliver.ts';
import type { Recorder } from './flow/record.ts';
import { bytesFrom, type Clock } from './ports/clock.ts';
import type { Directory, Subscription, Versioned, Webhook } from './ports/directory.ts';
import type { Cursor } from './ports/ledger.ts';
import type { Registry } from './registry.ts';
import { filterWarnings } from './filter-warnings.ts';
import { changed, type CheckEndpoint, checkSecret, settingsOf } from './settings.ts';
import type { Vault } from './vault.ts';

/** Until a test may find a place: deliveries end every moment. */
const PLACE_MS = 1_000;
/** That count at once, as in Svix: each is one more signature in every delivery. */
const SECRETS_MAX = 10;
/** With one slot of 128, all of these miss it once in a million times. */
const UID_TRIES = 1_800;

interface Needs {
  readonly directory: Directory;
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly lanes: Lanes;
  readonly lookUp: LookUp;
  /** Whether the log keeps one order over all topics. */
  readonly isOneShard: boolean;
  readonly vault: Vault;
  readonly deliver: Deliver;
  readonly checkEndpoint: CheckEndpoint;
  readonly clock: Clock;
  /** Whether a subscription with this uid is worked here. */
  readonly isOurs: (uid: string) => boolean;
  /** Under what its slot is held; another one where it was lost meanwhile. */
  readonly tenureOf: (uid: string) => object | undefined;
  /** Cursors of subscriptions that are being created, until the directory tells of them. */
  readonly opening: Map<string, ReadonlyMap<string, Cursor>>;
}

export function createSubscriptions({
  directory,
  registry,
  recorder,
  lanes,
  lookUp,
  isOneShard,
  vault,
  deliver,
  checkEndpoint,
  clock,
  isOurs,
  tenureOf,
  opening,
}: Needs): Subscriptions {
  /** Subscriptions (uid) with a test under way. */
  const testing = new Set<string>();

  /**
   * A test has a place among the deliveries, or a loop of them would flood the endpoint, and take connections and memory that no
   * bound knows of. It is refused rather than kept waiting: a person may ask again. What is returned gives the place back.
   */
  function beginTest({ uid, endpoint, share }: Subscriber, bytes: number): () => void {
    const refused = (why: string, retryAfterMs = PLACE_MS): Problem => new Problem('too_many_requests', why, { retryAfterMs });
    if (testing.has(uid)) throw refused('a test of this subscription is under way');
    const waitMs = endpoint.testWaitMs();
    if (waitMs > 0) throw refused('the subscription has as much under way as its concurrency and rate allow', waitMs);
    if (!share.take('standard', bytes)) throw refused('the process has as many deliveries under way as it may');
    testing.add(uid);
    endpoint.testStarted();
    return () => {
      testing.delete(uid);
      endpoint.testEnded();
      share.giveBack(bytes);
    };
  }

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
    const tenure = tenureOf(settings.uid);
    const ends = await lanes.cursorsAt('end');
    const cursors = from === 'end' ? ends : await lanes.cursorsAt(from);
    const value: Subscription = { ...settings, beginsMs: owedFrom(from, ends.values()), beginsPass: 0 };
    await writePass(recorder, value, cursors);
    // What was on its way for a slot that is lost is not written: whoever has it now would begin by the time alone.
    if (tenure === undefined || tenureOf(value.uid) !== tenure) throw new Elsewhere(id, value.uid);
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

  /** One that is worked here: whichever node is asked, its lanes begin where the cursors were fixed. */
  function newUid(id: string): string {
    let uid = '';
    for (let tries = UID_TRIES; tries > 0; tries--) {
      uid = base32(randomBytes(17), 26);
      if (isOurs(uid)) return uid;
    }
    // A node that has only just joined: another makes it.
    throw new Elsewhere(id, uid);
  }

  const warnings = ({ environment, value }: Versioned<Subscription>): string[] =>
    warningsOf(environment, value, { registry, isOneShard });

  return {
    async create(environment, id, spec) {
      checkId(id);
      const isStream = spec.deliver?.stream !== undefined;
      const secret = spec.deliver?.webhook?.secret ?? (isStream ? '' : newSecret((count) => randomBytes(count)));
      const createdMs = clock.now();
      const base = { uid: newUid(id), state: 'active', createdMs, pass: 0 } as const;
      const settings = settingsOf(spec, {
        secrets: isStream ? [] : [{ sealed: vault.seal(secret) }],
        secret,
        vault,
        checkEndpoint,
      });
      if (registry.app(environment, spec.app) === undefined)
        throw new Problem('not_found', `there is no app '${spec.app}'`, {
          pointer: '/app',
          advice: 'Make the app first, or name one that is there.',
        });
      if (registry.subscription(environment, id) !== undefined)
        throw new Problem('already_exists', `there is a subscription '${id}' already`);
      const from = beginning(spec.from);
      const subscription = await lanes.beginning(() => begin(environment, id, { ...base, ...settings }, from));
      return { subscription, ...(isStream ? {} : { secret }), warnings: warnings(subscription) };
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
      mustBeWebhook(value, 'a test goes to a webhook', 'Publish an event of one of its topics, and see what a consumer gets.');
      const subscriber = lookUp(environment, id);
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
      const ended = beginTest(subscriber, data.length);
      const outcome = await deliver(subscriber.target, record).finally(ended);
      const { webhookId, kind, status, cause, snippet, durationMs } = outcome;
      if (kind === 'delivered') subscriber.endpoint.probeNow();
      return { webhookId, delivered: kind === 'delivered', status, cause, snippet, durationMs };
    },
    async rotateSecret(environment, id, { secret: given, overlapMs }, expect) {
      const found = await known(environment, id);
      checkVersion(found, expect);
      const webhook = mustBeWebhook(
        found.value,
        'a secret signs what goes to a webhook',
        'Its consumers come with keys or tokens: change those.',
      );
      const secret = given ?? newSecret((count) => randomBytes(count));
      checkSecret(webhook.signature, secret, '/secret');
      if (secret === vault.open(webhook.secrets[0]?.sealed ?? ''))
        throw new Problem('invalid_secret', 'this is the present secret', {
          pointer: '/secret',
          advice: 'Bring another one, or leave it out to be given one.',
        });
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

function mustBeWebhook({ deliver: { webhook } }: Subscription, why: string, advice: string): Webhook {
  if (webhook !== undefined) return webhook;
  throw new Problem('conflict', `the subscription delivers to a stream: ${why}`, { advice });
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
  const warnings: string[] = filterWarnings(subscription.filter);
  const isAwaited = [...registry.topics()].some(({ environment: of, id }) => of === environment && matches(id));
  if (!isAwaited) warnings.push(`no declared topic matches ${topics.join(', ')}: it gets nothing until there is one`);
  for (const { environment: of, id, value } of registry.topics()) {
    if (of !== environment || !matches(id) || value.retentionMs >= scheduleMs) continue;
    warnings.push(
      `the retry schedule, or disableAfter, is longer than the topic '${id}' keeps its events: a long outage ends in dead letters for ranges`,
    );
  }
  if (subscription.onDead === 'hold' && ordering !== 'key')
    warnings.push("onDead 'hold' holds the events of a key, and without the ordering 'key' there are none: it does nothing here");
  if (ordering === 'key' && !isOneShard && (topics.length > 1 || topics.some(isPattern))) {
    warnings.push('on this log events of one key are in order within a topic, not across topics');
  }
  return warnings;
}
