/**
 * The Directory: what is configured. Resources by kind, environment and id, each with a version that grows by one with
 * every change; a driver stores them as JSON and need not know their members. Passes storeConformance().
 */
export interface Directory {
  get<K extends Kind>(kind: K, environment: string, id: string): Promise<Versioned<Kinds[K]> | undefined>;
  /** Ordered by environment, then id. Without `environment` of all; `after` is the last one seen. `limit` 1 to 1,000. */
  list<K extends Kind>(
    kind: K,
    query: { readonly environment?: string; readonly after?: { environment: string; id: string }; readonly limit: number },
  ): Promise<readonly Versioned<Kinds[K]>[]>;
  /**
   * Creates or replaces. `expect: 'absent'` rejects with `already_exists` where there is one; a number rejects with
   * `version_mismatch` unless it is the present version; without it the last writer wins. Durable when resolved.
   */
  put<K extends Kind>(
    kind: K,
    environment: string,
    id: string,
    value: Kinds[K],
    expect?: 'absent' | number,
  ): Promise<Versioned<Kinds[K]>>;
  /** Resolves to false when there was none. A version that is no longer the present one rejects with `version_mismatch`. */
  delete(kind: Kind, environment: string, id: string, expect?: number): Promise<boolean>;
  /** Calls `listener` after every change, by whichever node, in the order of changes of one resource; until the returned function is called. */
  watch(listener: (change: Change) => void): () => void;
}

export interface Versioned<V> {
  readonly environment: string;
  readonly id: string;
  readonly version: number;
  readonly value: V;
}

export type Change = {
  [K in Kind]: { readonly kind: K; readonly environment: string; readonly id: string; readonly now?: Versioned<Kinds[K]> };
}[Kind];

export interface Kinds {
  app: App;
  key: Key;
  topic: Topic;
  subscription: Subscription;
  run: Run;
  failing: Failing;
  job: Job;
  answer: Answer;
  keyring: Keyring;
  revocation: Revocation;
  usage: Usage;
  sdk: Sdk;
}
export type Kind = keyof Kinds;

export interface App {
  readonly name: string;
  readonly createdMs: number;
  /** Whose web pages may call with its tokens (core/origin.ts); nobody's without it. */
  readonly origins?: readonly string[];
  readonly quotas?: Quotas;
  /** Which version of the SDK its pages get; the latest without it. */
  readonly sdk?: SdkRule;
  /** Which part of its clients reports how it goes, above 0 and up to 1; none without it. */
  readonly telemetry?: { readonly sample: number };
}

/** One of `pin`, `follow: patch` with `from`, `follow: latest`; and of the clients `percent` get another one. */
export interface SdkRule {
  readonly pin?: string;
  readonly follow?: 'patch' | 'latest';
  readonly from?: string;
  readonly rollout?: { readonly version: string; readonly percent: number };
}

/** A version of the JavaScript SDK as it was once served; its id is the version, and it never changes. */
export interface Sdk {
  readonly code: string;
  /** Base64, of the bytes of the code. */
  readonly sha384: string;
  readonly bytes: number;
  readonly gzipBytes: number;
  readonly createdMs: number;
}

/** What an app may use; what is not named has no bound of its own. Whole numbers from 1. */
export interface Quotas {
  readonly publishesPerSecond?: number;
  /** Of bodies. */
  readonly bytesPerSecond?: number;
  /** Open ones of realtime consumers. */
  readonly connections?: number;
  /** Configured ones, and those that realtime consumers have open. */
  readonly subscriptions?: number;
  readonly deliveriesInFlight?: number;
  /** Of UTC. */
  readonly eventsPerDay?: number;
  readonly eventsPerMonth?: number;
}

/** What an app has used, by all nodes together; its id is the app's. */
export interface Usage {
  /** Since it was first counted; never set back. Asked to be published, the bytes of that, and stored. */
  readonly publishes: number;
  readonly bytes: number;
  readonly events: number;
  /** UTC, `2026-11-28`, and how many events were stored on it. */
  readonly day: string;
  readonly dayEvents: number;
  /** UTC, `2026-11`. */
  readonly month: string;
  readonly monthEvents: number;
  /** The process that wrote it last. */
  readonly by: string;
}

/** The keys that sign tokens, of the whole gateway; one resource, so that a rotation is one change. */
export interface Keyring {
  /** `iss` and the default `aud` of tokens: made once, the same for all nodes. */
  readonly issuer: string;
  /** Newest first. */
  readonly keys: readonly TokenKey[];
  readonly createdMs: number;
}

export interface TokenKey {
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  /** The public part: `x` of the JWK (Ed25519). */
  readonly x: string;
  /** The private part: `d` of the JWK, sealed (see vault.ts). Gone where it could not be opened any more: then it only verifies. */
  readonly sealed?: string;
  readonly createdMs: number;
  /** Published before it signs: whoever caches the keys has it by then. */
  readonly signsFromMs: number;
  /** Until when it verifies, once another one signs. */
  readonly untilMs?: number;
}

/** One token of an app, or all that it had made before a time. */
export interface Revocation {
  readonly app: string;
  readonly jti?: string;
  readonly beforeMs?: number;
  /** By then every token that it is about has expired. */
  readonly untilMs: number;
}

/** A credential of an app. The secret part is never kept, only its hash; but of a key that signs, which is no proof without it. */
export interface Key {
  readonly app: string;
  /** Lower-case hex SHA-256 of the whole key. */
  readonly hash: string;
  /** First characters, to recognise it by. */
  readonly prefix: string;
  /** Of a key that signs, and is never sent: all of it, sealed (see vault.ts). */
  readonly sealed?: string;
  readonly scopes: readonly Scope[];
  /** Patterns of the topics it is for; all without them. */
  readonly topics?: readonly string[];
  readonly createdMs: number;
  readonly expiresMs?: number;
  /** About: written down at most once an hour. */
  readonly usedMs?: number;
}
export type Scope = 'admin' | 'publish' | 'subscribe' | 'manage';

/** What a POST with an idempotency key was answered, for whoever sends it again. */
export interface Answer {
  /** Of the request's body. */
  readonly digest: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body, sealed (see vault.ts). */
  readonly sealed: string;
  readonly createdMs: number;
}

/** Dead letters of one subscription, redriven or discarded. */
export interface Job {
  readonly kind: 'redrive' | 'discard';
  readonly subscription: string;
  readonly subscriptionUid: string;
  readonly filter: {
    /** One, or any of several. */
    readonly cause?: string | readonly string[];
    readonly topic?: string;
    /** Patterns of the topics it may touch, those of the key that began it; all without them. A range has no topic. */
    readonly topics?: readonly string[];
    /** When they died, both inclusive. */
    readonly sinceMs?: number;
    readonly untilMs?: number;
  };
  readonly state: 'running' | 'done' | 'cancelled';
  /** When it began. */
  readonly total: number;
  readonly done: number;
  readonly refused: number;
  readonly createdMs: number;
  readonly endedMs?: number;
}

/** How long a subscription's endpoint has failed by now, written down about once an hour; its id is the subscription's uid. */
export interface Failing {
  readonly spanMs: number;
  /** Of the last failure, wall time. */
  readonly lastMs: number;
}

/** How long a batch may wait and who goes first when a process is full. */
export type LatencyClass = 'interactive' | 'standard' | 'bulk';

export interface Topic {
  /** App id or a person's address: whom to ask. */
  readonly owner: string;
  readonly retentionMs: number;
  readonly latency: LatencyClass;
  /** Where in the data the key stands, `$.customer.id`; used when the publisher sets no `partitionkey`. */
  readonly keyPath?: string;
  /** Of the payload. */
  readonly maxBytes: number;
  readonly createdMs: number;
}

export interface Subscription {
  /** Internal, never reused: a deleted and recreated subscription of one id is another one. 26 base32 characters. */
  readonly uid: string;
  readonly app: string;
  readonly topics: readonly string[];
  readonly filter?: unknown;
  readonly deliver: Deliver;
  readonly retry: { readonly scheduleMs: readonly number[]; readonly jitter: number };
  readonly ordering: 'none' | 'key';
  /** With `ordering: key`: whether a dead letter lets its key go on or holds it until a person has decided. */
  readonly onDead: 'release' | 'hold';
  readonly concurrency: number;
  readonly ratePerSecond?: number;
  readonly breaker: { readonly failures: number; readonly events: number } | false;
  /** `disabled`: by the gateway, for `disabled.cause`; otherwise as paused. */
  readonly state: 'active' | 'paused' | 'disabled';
  /** `gone`: the endpoint answered 410. `failing`: nothing was delivered for `disableAfterMs`. */
  readonly disabled?: { readonly cause: DisabledCause; readonly atMs: number };
  /** A span of failure that disables it; never without it. */
  readonly disableAfterMs?: number;
  readonly createdMs: number;
  /** Counts how often it began anew: the live lane's name is made from it (see lanes/passes.ts). */
  readonly pass: number;
  /** The pass that was last told where to begin, by creation or rewind; later ones went on when the log changed. */
  readonly beginsPass: number;
  /**
   * From when on that pass is owed events, on the log's clock (append times), which never runs backwards: what a lane goes
   * by when the ledger knows nothing of it (a new shard, an older backup).
   */
  readonly beginsMs: number;
  readonly bounds: SubscriptionBounds;
}

export type DisabledCause = 'gone' | 'failing';

/** Where a subscription's lanes stop. Nothing is dropped to stay inside a bound. */
export interface SubscriptionBounds {
  readonly parked: number;
  readonly parkedBytes: number;
  readonly held: number;
  readonly deadLetters: number;
}

/** Where its deliveries go: to one address, or to whoever is connected. */
export type Deliver =
  | { readonly webhook: Webhook; readonly stream?: undefined }
  | { readonly stream: Stream; readonly webhook?: undefined };

/** Consumers over connections of their own (spec/protocol.md): each delivery goes to one of them. */
export interface Stream {
  /** What is not acked within this comes again. */
  readonly ackWaitMs: number;
}

export interface Webhook {
  readonly url: string;
  readonly signature: 'standard' | 'simple';
  /** Newest first, sealed (see vault.ts); an older one stays until its `untilMs`. */
  readonly secrets: readonly { readonly sealed: string; readonly untilMs?: number }[];
  readonly timeoutMs: number;
  /** `data`: the payload as it is, attributes in ce- headers. `event`: the CloudEvent as JSON. */
  readonly body: 'data' | 'event';
  /** Of `simple`: JSON as JSON.stringify writes it (default), or as it was sent. */
  readonly json?: 'canonical' | 'as-sent';
  readonly headers: Readonly<Record<string, string>>;
  /** Values of headers that carry credentials, sealed as secrets are, by name: `headers` has those that anybody may read. */
  readonly sealedHeaders?: Readonly<Record<string, string>>;
}

/** A replay: a bounded run beside the live lane. */
export interface Run {
  readonly subscription: string;
  readonly subscriptionUid: string;
  /** `identity` of the log the spans are of: in another log they mean nothing. */
  readonly log: string;
  /** Per shard: from (exclusive) and until (inclusive). */
  readonly spans: Readonly<Record<string, { readonly after: string; readonly until: string }>>;
  /** Append times where it begins and ends: what its progress is told by. */
  readonly fromMs?: number;
  readonly throughMs?: number;
  /** `same` keeps webhook ids (fills holes), `as-new` makes new ones, once per run. */
  readonly ids: 'same' | 'as-new';
  /** Another endpoint to send to; without it, the subscription's own. */
  readonly to?: { readonly url: string };
  readonly state: 'running' | 'done' | 'cancelled';
  readonly createdMs: number;
  readonly endedMs?: number;
}
