/**
 * What a person writes of a subscription. The shapes are checked here; values by the gateway (settings.ts), whose codes
 * are finer: what it takes stands under `means`, and a test holds the two together.
 */
import { DEFAULT_JITTER, DEFAULT_SCHEDULE, SCHEDULE_STEPS_MAX } from '@millrace/core/retry-schedule';
import {
  ACK_WAIT_MS,
  DEFAULT_BOUNDS,
  DEFAULT_BREAKER,
  DEFAULT_CONCURRENCY,
  DEFAULT_GROUP_CONCURRENCY,
  DEFAULT_TIMEOUT_MS,
  DISABLE_AFTER_MS,
} from '../../settings.ts';
import { formatDuration } from '@millrace/core/duration';
import { LATER, number, orNull, text } from './shared.ts';
import type { Schema } from './types.ts';

const SPAN_OR_NEVER = [{ type: ['string', 'number'] }, { const: false }] as const;

/** A number that the gateway checks. */
function whole(minimum: number, maximum: number, by: number, description: string): Schema {
  return { ...number, means: { type: 'integer', minimum, maximum, default: by }, description };
}

/** One of a few words, which the gateway checks. */
function word(words: readonly string[], description: string): Schema {
  return { ...text, means: { enum: words, default: words[0] }, description };
}

const WEBHOOK_SETTINGS = {
  url: {
    ...text,
    means: { type: 'string', format: 'uri', maxLength: 2_048 },
    description:
      'Where events are sent to by POST, an http or https address; a new one needs it. Private addresses are refused unless the gateway allows them.',
    examples: ['https://crm.example/hooks'],
  },
  signature: word(
    ['standard', 'simple'],
    '`standard`: Standard Webhooks, `webhook-signature`. `simple`: one `x-signature` over the body alone.',
  ),
  secret: {
    ...text,
    description:
      'Your own: `whsec_` and base64 of 24 to 64 bytes (or `whsk_`, Ed25519) for `standard`, 16 to 512 characters for `simple`. Default: one is made and shown once.',
    examples: ['whsec_dGhpcyBzZWNyZXQgaXMgYW4gZXhhbXBsZSE='],
  },
  timeoutMs: whole(1, 60_000, DEFAULT_TIMEOUT_MS, 'From the request to the last byte of its answer.'),
  body: word(['data', 'event'], '`data`: the payload, attributes in `ce-` headers. `event`: the CloudEvent as JSON.'),
  headers: {
    type: 'object',
    additionalProperties: text,
    means: { type: 'object', additionalProperties: text, maxProperties: 32, default: {} },
    description:
      'Sent with every delivery. At most 32; those that the gateway sets itself are refused. What lets somebody in (a name with `auth`, `cookie`, `key`, `password`, `secret` or `token` in it) is sealed and reads `***` from then on; written back, `***` keeps it.',
    examples: [{ 'x-team': 'crm' }],
  },
  json: {
    ...text,
    means: { enum: ['canonical', 'as-sent'] },
    description:
      'With `simple` alone. `canonical` (default): JSON as JSON.stringify writes it where that changes no value. `as-sent`: as it was published.',
  },
} as const;

const WEBHOOK = {
  type: 'object',
  additionalProperties: false,
  properties: orNull(WEBHOOK_SETTINGS, ['url']),
  examples: [{ url: 'https://crm.example/hooks' }],
} as const;

const DELIVER = {
  type: 'object',
  additionalProperties: false,
  description: 'How.',
  properties: {
    webhook: { ...WEBHOOK, description: 'By HTTP to an address; or else `stream`.' },
    stream: {
      type: 'object',
      additionalProperties: false,
      description: 'To consumers that are connected (spec/protocol.md): each delivery to one of them.',
      properties: orNull({
        ackWait: {
          type: ['string', 'number'],
          default: formatDuration(ACK_WAIT_MS),
          description: 'What is not acked within this comes again: 1 s to 12 h.',
          examples: ['2m'],
        },
      }),
      examples: [{ ackWait: '30s' }],
    },
    relay: LATER,
  },
  examples: [{ webhook: { url: 'https://crm.example/hooks' } }],
} as const;

const RETRY = {
  type: 'object',
  additionalProperties: false,
  description: 'When a failed delivery is tried again.',
  properties: orNull({
    schedule: {
      type: 'array',
      items: { type: ['string', 'number'] },
      means: { type: 'array', items: { type: ['string', 'number'] }, maxItems: SCHEDULE_STEPS_MAX, default: DEFAULT_SCHEDULE },
      description:
        'The pause before each further attempt: each at most 30 days, 90 days in all. An empty list: no further attempt.',
      examples: [['5s', '5m', '1h']],
    },
    jitter: {
      ...number,
      means: { type: 'number', minimum: 0, maximum: 1, default: DEFAULT_JITTER },
      description: 'By how much a pause is made longer or shorter at random, as a share of it.',
    },
  }),
  examples: [{ schedule: ['5s', '5m', '1h'] }],
} as const;

const BREAKER = {
  anyOf: [
    { const: false },
    {
      type: 'object',
      additionalProperties: false,
      properties: orNull({
        failures: whole(1, 1_000, 3, 'Failures to connect.'),
        events: whole(1, 1_000, 10, 'Different events in a row that failed for a reason of the endpoint.'),
      }),
    },
  ],
  description: 'When the endpoint is taken to be down, so that nothing but probes is sent; `false`: never.',
  examples: [DEFAULT_BREAKER],
} as const;

const BOUNDS = {
  type: 'object',
  additionalProperties: false,
  description: 'Where it stands still, rather than drop anything.',
  properties: orNull({
    parked: whole(1, DEFAULT_BOUNDS.parked, DEFAULT_BOUNDS.parked, 'Deliveries that wait for their next attempt.'),
    parkedBytes: whole(600_000, DEFAULT_BOUNDS.parkedBytes, DEFAULT_BOUNDS.parkedBytes, 'Bytes of these.'),
    held: whole(1, DEFAULT_BOUNDS.held, DEFAULT_BOUNDS.held, 'Deliveries that wait behind an earlier one of their key.'),
    deadLetters: whole(1, DEFAULT_BOUNDS.deadLetters, DEFAULT_BOUNDS.deadLetters, 'Dead letters nobody has decided on.'),
  }),
  examples: [{ parked: 1_000 }],
} as const;

const TOPICS = {
  type: 'array',
  items: text,
  means: { type: 'array', items: text, minItems: 1, maxItems: 64 },
  description: 'Patterns of the topics it gets: `*` is one token, `>` at the end all that follow.',
  examples: [['orders.*']],
} as const;

const ALL = {
  app: { ...text, description: 'Whose it is. Default: the app of the key. It can not be changed.', examples: ['crm'] },
  topics: TOPICS,
  filter: {
    means: { type: 'object' },
    description: 'Which events of these topics, see [Filters](#filters). Default: all.',
    examples: [{ data: { amount: [{ numeric: ['>', 100] }] } }],
  },
  deliver: DELIVER,
  retry: RETRY,
  ordering: word(['none', 'key'], '`key`: events of one key one at a time and in order. It can not be changed.'),
  onDead: word(
    ['release', 'hold'],
    'With `"ordering": "key"`, when an event is dead-lettered: `release` its key, or `hold` it until somebody has decided.',
  ),
  concurrency: whole(
    1,
    1_024,
    DEFAULT_CONCURRENCY,
    `Deliveries at once; of a stream over all of its consumers, default ${DEFAULT_GROUP_CONCURRENCY}.`,
  ),
  ratePerSecond: {
    ...number,
    means: { type: 'number', minimum: 0.001, maximum: 100_000 },
    description: 'Deliveries per second. Default: no limit.',
    examples: [100],
  },
  breaker: BREAKER,
  bounds: BOUNDS,
  from: {
    ...text,
    means: { type: 'string', default: 'latest' },
    description: 'Where a new one begins: `latest`, `earliest`, or a time (RFC 3339). One that is there goes on where it is.',
    examples: ['2026-11-23T17:20:00Z'],
  },
  transform: LATER,
  disableAfter: {
    anyOf: SPAN_OR_NEVER,
    means: { anyOf: SPAN_OR_NEVER, default: formatDuration(DISABLE_AFTER_MS) },
    description:
      'How long its endpoint may fail without one success before it is disabled: a minute to 365 days; `false`: for ever.',
    examples: ['5d'],
  },
  alerts: LATER,
} as const;

const NEEDED = ['topics', 'deliver'] as const;

export const SETTINGS = orNull(ALL, NEEDED);

const EXAMPLE = {
  topics: ['orders.*'],
  filter: { data: { amount: [{ numeric: ['>', 100] }] } },
  deliver: { webhook: { url: 'https://crm.example/hooks' } },
} as const;

export const PUT_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: SETTINGS,
  required: NEEDED,
  examples: [EXAMPLE],
} as const;

export const POST_SCHEMA = {
  ...PUT_SCHEMA,
  properties: {
    ...orNull({
      id: {
        ...text,
        means: { type: 'string', pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' },
        description: 'Default: one is made.',
        examples: ['crm-orders'],
      },
    }),
    ...SETTINGS,
  },
  examples: [{ id: 'crm-orders', ...EXAMPLE }],
} as const;

export const PATCH_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  properties: {
    ...(withoutDefaults(SETTINGS) as Readonly<Record<string, Schema>>),
    // Taken to be refused with a way out.
    from: { type: ['string', 'null'], means: false },
  },
  examples: [{ retry: { schedule: ['5s', '5m', '1h'] } }],
} as const;

/** In a change what is left out stays as it is. */
function withoutDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([name]) => name !== 'default');
  return Object.fromEntries(kept.map(([name, one]) => [name, name === 'examples' ? one : withoutDefaults(one)]));
}
