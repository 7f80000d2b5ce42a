/** Subscriptions as they are answered. */
import { POSITION, time } from './shared.ts';

const OUTAGE = {
  type: 'object',
  description: 'While the breaker is open.',
  required: ['cause', 'since'],
  properties: {
    cause: { type: 'string', description: 'Of the last failure, see [Causes](#causes).' },
    since: time('When it opened.'),
    nextProbeAt: time('When the next probe goes out; absent while one is under way.'),
  },
} as const;

const whole = (description: string) => ({ type: 'integer', minimum: 0, description }) as const;

export const HEALTH = {
  type: 'object',
  description: 'How the deliveries of a subscription go at this moment.',
  required: [
    'breaker',
    'failingMs',
    'parked',
    'parkedBytes',
    'held',
    'deadLetters',
    'inFlight',
    'allowed',
    'behindMs',
    'cursors',
  ],
  properties: {
    breaker: {
      enum: ['closed', 'open'],
      description: '`open`: the endpoint is taken to be down; only probes are sent. Of a stream it is always `closed`.',
    },
    outage: OUTAGE,
    failingMs: whole('From the first failure to the last one, without a success in between (of a stream: without an ack).'),
    stoppedBy: {
      enum: ['parked', 'parkedBytes', 'held', 'deadLetters'],
      description: 'The bound at which it stands still. Absent while it moves.',
    },
    parked: whole('Deliveries that wait for their next attempt.'),
    parkedBytes: whole('Bytes of these.'),
    held: whole('Deliveries that wait behind an earlier one of their key.'),
    deadLetters: whole('Dead letters nobody has decided on.'),
    inFlight: whole('Requests under way; of a stream, deliveries that are out with its consumers.'),
    allowed: whole('Deliveries allowed at once by now: `concurrency`, less what failures took from it.'),
    behindMs: whole(
      'How long the oldest event has waited that is neither delivered, parked nor held; 0 where there is none. What to alert on: a pause, an endpoint that is down or slow, a stream without consumers, and a bound all show here.',
    ),
    cursors: { type: 'object', additionalProperties: POSITION, description: 'By shard: how far it has read.' },
  },
  examples: [
    {
      breaker: 'closed',
      failingMs: 0,
      parked: 0,
      parkedBytes: 0,
      held: 0,
      deadLetters: 0,
      inFlight: 1,
      allowed: 16,
      behindMs: 12,
      cursors: { '0': '0000000000000042' },
    },
  ],
} as const;

const WEBHOOK = {
  type: 'object',
  description: 'By HTTP.',
  required: ['url', 'signature', 'timeoutMs', 'body', 'headers'],
  properties: {
    url: { type: 'string', description: 'Where events are sent to.' },
    signature: { enum: ['standard', 'simple'], description: 'How deliveries are signed.' },
    timeoutMs: whole('From the request to the last byte of its answer.'),
    body: { enum: ['data', 'event'], description: 'What is sent: the payload or the whole event.' },
    json: { enum: ['canonical', 'as-sent'], description: 'With `simple`: how JSON is written.' },
    headers: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Sent with every delivery; names in lower case, credentials as `***`.',
    },
  },
} as const;

export const SUBSCRIPTION = {
  type: 'object',
  description: 'Who gets which events, and how. Never with its secret.',
  required: [
    'id',
    'app',
    'topics',
    'deliver',
    'retry',
    'ordering',
    'onDead',
    'concurrency',
    'breaker',
    'state',
    'bounds',
    'disableAfter',
    'createdAt',
  ],
  properties: {
    id: { type: 'string', description: 'Its id; every delivery names it in the header `millrace-subscription`.' },
    app: { type: 'string', description: 'Whose it is.' },
    topics: { type: 'array', items: { type: 'string' }, description: 'Patterns of the topics it gets.' },
    filter: { type: 'object', description: 'Which events of these.' },
    deliver: {
      type: 'object',
      description: 'How: one of them.',
      properties: {
        webhook: WEBHOOK,
        stream: {
          type: 'object',
          description: 'To consumers that are connected.',
          required: ['ackWait'],
          properties: { ackWait: { type: 'string', description: 'What is not acked within this comes again.' } },
        },
      },
    },
    retry: {
      type: 'object',
      description: 'When a failed delivery is tried again.',
      required: ['schedule', 'jitter'],
      properties: {
        schedule: { type: 'array', items: { type: 'string' }, description: 'The pause before each further attempt.' },
        jitter: { type: 'number', description: 'By how much a pause varies, as a share of it.' },
      },
    },
    ordering: { enum: ['none', 'key'], description: '`key`: events of one key one at a time and in order.' },
    onDead: { enum: ['release', 'hold'], description: 'What a dead letter does to its key.' },
    concurrency: whole('Deliveries at once.'),
    ratePerSecond: { type: 'number', description: 'Deliveries per second; no limit without it.' },
    breaker: {
      anyOf: [
        { const: false },
        {
          type: 'object',
          required: ['failures', 'events'],
          properties: {
            failures: whole('Failures to connect.'),
            events: whole('Different events in a row that failed for a reason of the endpoint.'),
          },
        },
      ],
      description: 'When the endpoint is taken to be down.',
    },
    state: {
      enum: ['active', 'paused', 'disabled'],
      description: '`disabled`: by the gateway, see `disabled`; `resume` starts it again.',
    },
    disabled: {
      type: 'object',
      description: 'Why and when the gateway disabled it.',
      required: ['cause', 'at'],
      properties: {
        cause: {
          enum: ['gone', 'failing'],
          description:
            '`gone`: the endpoint answered 410. `failing`: nothing but failures for as long as `disableAfter`, of a stream: no ack.',
        },
        at: time('When.'),
      },
    },
    bounds: {
      type: 'object',
      description: 'Where it stands still.',
      required: ['parked', 'parkedBytes', 'held', 'deadLetters'],
      properties: {
        parked: whole('Deliveries that wait for their next attempt.'),
        parkedBytes: whole('Bytes of these.'),
        held: whole('Deliveries that wait behind an earlier one of their key.'),
        deadLetters: whole('Dead letters nobody has decided on.'),
      },
    },
    disableAfter: {
      anyOf: [{ type: 'string' }, { const: false }],
      description: 'How long its endpoint may fail; `false`: for ever.',
    },
    createdAt: time('When it was made.'),
  },
  examples: [
    {
      id: 'crm-orders',
      app: 'crm',
      topics: ['orders.*'],
      filter: { data: { amount: [{ numeric: ['>', 100] }] } },
      deliver: {
        webhook: { url: 'https://crm.example/hooks', signature: 'standard', timeoutMs: 15_000, body: 'data', headers: {} },
      },
      retry: { schedule: ['5s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '1d'], jitter: 0.2 },
      ordering: 'none',
      onDead: 'release',
      concurrency: 16,
      breaker: { failures: 3, events: 10 },
      state: 'active',
      bounds: { parked: 100_000, parkedBytes: 268_435_456, held: 100_000, deadLetters: 1_000_000 },
      disableAfter: '5d',
      createdAt: '2026-11-23T17:20:00.000Z',
    },
  ],
} as const;

const [EXAMPLE] = SUBSCRIPTION.examples;

export const SUBSCRIPTION_WITH_HEALTH = {
  ...SUBSCRIPTION,
  description: 'A subscription, and how its deliveries go.',
  required: [...SUBSCRIPTION.required, 'health'],
  properties: { ...SUBSCRIPTION.properties, health: HEALTH },
  examples: [{ ...EXAMPLE, health: HEALTH.examples[0] }],
} as const;

const { breaker, outage, failingMs, stoppedBy, parked, held, deadLetters, inFlight } = HEALTH.properties;

/** What the process has in memory: a list reads nothing for it. */
export const SHORT_HEALTH = {
  type: 'object',
  description: 'In short how the deliveries of a subscription go at this moment.',
  required: ['breaker', 'failingMs', 'parked', 'held', 'deadLetters', 'inFlight'],
  properties: { breaker, outage, failingMs, stoppedBy, parked, held, deadLetters, inFlight },
  examples: [{ breaker: 'closed', failingMs: 0, parked: 0, held: 0, deadLetters: 0, inFlight: 1 }],
} as const;

export const LISTED_SUBSCRIPTION = {
  ...SUBSCRIPTION,
  description: 'A subscription, and in short how its deliveries go. (`health` is absent where it was made a moment ago.)',
  properties: { ...SUBSCRIPTION.properties, health: SHORT_HEALTH },
  examples: [{ ...EXAMPLE, health: SHORT_HEALTH.examples[0] }],
} as const;

const WARNINGS = {
  type: 'array',
  items: { type: 'string' },
  description: 'What one should know before it happens, for people.',
} as const;

export const CHANGED_SUBSCRIPTION = {
  ...SUBSCRIPTION,
  description: 'A subscription after a change.',
  required: [...SUBSCRIPTION.required, 'warnings'],
  properties: { ...SUBSCRIPTION.properties, warnings: WARNINGS },
  examples: [{ ...EXAMPLE, warnings: [] }],
} as const;

export const NEW_SUBSCRIPTION = {
  ...SUBSCRIPTION,
  description: 'A subscription as it is shown this once.',
  required: [...SUBSCRIPTION.required, 'warnings'],
  properties: {
    ...SUBSCRIPTION.properties,
    secret: { type: 'string', description: 'What its deliveries are signed with; of a webhook.' },
    warnings: WARNINGS,
  },
  examples: [{ ...EXAMPLE, secret: 'whsec_dGhpcyBzZWNyZXQgaXMgYW4gZXhhbXBsZSE=', warnings: [] }],
} as const;

export const ROTATED_SUBSCRIPTION = {
  ...SUBSCRIPTION,
  description: 'A subscription with its new secret, shown this once.',
  required: [...SUBSCRIPTION.required, 'secret', 'previousUntil'],
  properties: {
    ...SUBSCRIPTION.properties,
    secret: { type: 'string', description: 'What its deliveries are signed with from now on.' },
    previousUntil: time('Until when the secrets before still count.'),
  },
  examples: [{ ...EXAMPLE, secret: 'whsec_dGhpcyBzZWNyZXQgaXMgYW4gZXhhbXBsZSE=', previousUntil: '2026-11-23T18:20:00.000Z' }],
} as const;

export const TEST_RESULT = {
  type: 'object',
  description: 'What came of a test request. Nothing of it is recorded.',
  required: ['webhookId', 'delivered', 'status', 'cause', 'durationMs'],
  properties: {
    webhookId: { type: 'string', description: 'As the endpoint got it.' },
    delivered: { type: 'boolean', description: 'Whether the endpoint answered 2xx.' },
    status: { type: 'integer', description: 'What it answered; 0 without an answer.' },
    cause: { type: 'string', description: 'Why not, see [Causes](#causes); empty when delivered.' },
    snippet: { type: 'string', description: 'How its answer begins. For admin keys.' },
    durationMs: { type: 'number', description: 'From the request to the end of the answer.' },
  },
  examples: [{ webhookId: 'msg_k2m4qx7zr3a5c6d2e4f7g3h5i6', delivered: false, status: 500, cause: 'http_500', durationMs: 12.4 }],
} as const;
