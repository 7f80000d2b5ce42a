/** Events as they come in and as they are read, described. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { LIMITS } from '../../limits.ts';
import { LIST_QUERY, NO_QUERY, POSITION, queryOf, said, SHARD, text, time, SPAN } from './shared.ts';
import { TOPIC_PATH } from './topics.ts';
import { PROBLEM } from './problem.ts';
import { EVENT, EVENT_FORMS, PLAIN_EVENT } from './event.ts';
import type { Call, Header, HeaderParameter } from './types.ts';

export const PUBLISHED = {
  type: 'object',
  description: 'An event that is stored.',
  required: ['id', 'status', 'shard', 'position'],
  properties: {
    id: { type: 'string', description: 'Of the event.' },
    status: { enum: ['appended', 'duplicate'], description: '`duplicate`: it was stored before; nothing was added.' },
    shard: SHARD,
    position: POSITION,
  },
  examples: [{ id: 'evt_2al2k5x7m3qzr4w6y2b3c5d7e2', status: 'appended', shard: '0', position: '0000000000000042' }],
} as const;

export const REFUSED = {
  type: 'object',
  description: 'An event that is not stored.',
  required: ['problem'],
  properties: { problem: PROBLEM },
  examples: [{ problem: PROBLEM.examples[0] }],
} as const;

export const PUBLISHED_BATCH = {
  type: 'object',
  description: 'What became of each event of a batch.',
  required: ['results'],
  properties: { results: { type: 'array', items: { anyOf: [PUBLISHED, REFUSED] }, description: 'In the order of the events.' } },
  examples: [{ results: [PUBLISHED.examples[0], REFUSED.examples[0]] }],
} as const;

const line = { type: 'integer', minimum: 1, description: 'The number of the line.' } as const;

export const PUBLISHED_LINE = {
  description: 'One line of the answer: what became of an event; the last line is the sum.',
  anyOf: [
    { type: 'object', required: ['line', ...PUBLISHED.required], properties: { line, ...PUBLISHED.properties } },
    { type: 'object', required: ['line', ...REFUSED.required], properties: { line, ...REFUSED.properties } },
    {
      type: 'object',
      required: ['done'],
      properties: {
        done: {
          type: 'object',
          required: ['lines', 'appended', 'duplicate', 'refused'],
          properties: Object.fromEntries(
            ['lines', 'appended', 'duplicate', 'refused'].map((name) => [name, { type: 'integer', minimum: 0 }]),
          ),
        },
      },
    },
  ],
  examples: [
    { line: 1, ...PUBLISHED.examples[0] },
    { line: 2, problem: PROBLEM.examples[0] },
    { done: { lines: 2, appended: 1, duplicate: 0, refused: 1 } },
  ],
} as const;

export const EVENT_PAGE = {
  type: 'object',
  description: 'Events of the log, in its order.',
  required: ['data', 'cursor', 'atEnd'],
  properties: {
    data: {
      type: 'array',
      description: 'In the order of the log.',
      items: {
        type: 'object',
        required: ['event', 'shard', 'position', 'appendedAt'],
        properties: { event: EVENT, shard: SHARD, position: POSITION, appendedAt: time('When it was stored.') },
      },
    },
    cursor: { type: 'string', description: 'For the next call.' },
    atEnd: { type: 'boolean', description: 'Nothing newer was there.' },
    gap: {
      type: 'object',
      description: 'Events between the cursor that was given and the first that is still there.',
      required: ['cause'],
      properties: {
        cause: { enum: ['expired', 'log_changed'], description: 'Retention took them, or it is another log.' },
        ...SPAN,
        count: { type: 'integer', minimum: 0, description: 'How many, where that is known.' },
      },
    },
  },
  examples: [
    {
      data: [
        {
          event: {
            specversion: '1.0',
            id: 'evt_2al2k5x7m3qzr4w6y2b3c5d7e2',
            source: '/apps/shop',
            type: 'orders.created',
            time: '2026-11-23T17:20:00.000Z',
            data: PLAIN_EVENT.data,
          },
          shard: '0',
          position: '0000000000000042',
          appendedAt: '2026-11-23T17:20:00.004Z',
        },
      ],
      cursor: 'WyJsb2ciLDEsIjBcdDQyIl0',
      atEnd: true,
    },
  ],
} as const;

const IDEMPOTENCY_KEY: HeaderParameter = {
  name: 'Idempotency-Key',
  description:
    'Of a single event: the same key again within 24 hours appends nothing. Without it, an `id` of your own does so together with `source`.',
  schema: { type: 'string', minLength: 1, maxLength: HTTP_BOUNDS.idempotencyKeyChars },
};

/** W3C Trace Context. */
const TRACE: readonly HeaderParameter[] = [
  {
    name: 'traceparent',
    description:
      'The trace of the call: an event that has none of its own carries it to whoever gets it, where it has room. What can not be read is no trace, and with a signature, which does not cover it, it does not count.',
    schema: { type: 'string' },
  },
  { name: 'tracestate', description: 'Goes along with it.', schema: { type: 'string' } },
];

/** Of Standard Webhooks. */
const SIGNATURE: readonly HeaderParameter[] = [
  {
    name: 'webhook-id',
    description: 'Of what is [signed](#signed-publishing): one for each event, the same when it is sent again.',
    schema: { type: 'string', minLength: 1, maxLength: 128 },
  },
  {
    name: 'webhook-timestamp',
    description: 'Of what is signed: when, in seconds since 1970.',
    schema: { type: 'string', pattern: '^[0-9]{1,12}$' },
  },
  {
    name: 'webhook-signature',
    description: 'Of what is signed: `v1,` and the base64 of the HMAC; of several with spaces between them one must be right.',
    schema: { type: 'string' },
  },
];

const EVENT_PROBLEMS = [
  'invalid_event',
  'invalid_topic',
  'unknown_topic',
  'idempotency_key_reused',
  'rate_limited',
  'quota_exceeded',
  // where the log forgets keys, and the store knows them
  'in_flight',
  'conflict',
  'ledger_unavailable',
  'ledger_full',
  'log_unsuitable',
  'log_unavailable',
  'log_full',
  'overloaded',
  'shutting_down',
] as const;

/** draft-ietf-httpapi-ratelimit-headers-10. */
const RATE_LIMITS: Readonly<Record<string, Header>> = {
  'RateLimit-Policy': {
    description: 'The quotas of the app, where it has some: `q` in `w` seconds each.',
    schema: { type: 'string', examples: ['"publishes";q=500;w=5, "day";q=1000000;w=86400'] },
  },
  RateLimit: {
    description: 'What is left of them: `r` now, and more in `t` seconds.',
    schema: { type: 'string', examples: ['"publishes";r=499;t=1, "day";r=12345;t=3600'] },
  },
};

export const EVENT_CALLS = {
  publish: {
    operationId: 'publishEvents',
    tag: 'events',
    summary: 'Publish',
    description: [
      'Answered when the events are on disk. A list is answered with one result per event, in order, and with 202 where at least one of them is stored (else with the status of the first problem).',
      `At most ${LIMITS.batchEvents.toLocaleString('en')} events and ${LIMITS.bodyBytes / 1024 / 1024} MB in one call, ${LIMITS.payloadBytes.toLocaleString('en')} bytes of payload and ${LIMITS.attributeBytes.toLocaleString('en')} of attributes in one event. As NDJSON there is no end: each line is answered by a line when its event is on disk.`,
      'A compressed body is refused.',
    ].join('\n\n'),
    querystring: NO_QUERY,
    takes: EVENT_FORMS,
    reads: [
      IDEMPOTENCY_KEY,
      { name: 'ce-specversion', description: 'Says that it is binary mode.', schema: { const: '1.0' } },
      { name: 'ce-type', description: 'In binary mode the topic.', schema: text },
      { name: 'ce-id', description: 'In binary mode the `id`.', schema: text },
      {
        name: 'ce-source',
        description: 'In binary mode the `source`. Further attributes are headers `ce-…` likewise, percent-encoded.',
        schema: text,
      },
      ...TRACE,
      ...SIGNATURE,
    ],
    problems: EVENT_PROBLEMS,
    refusedAs: { schema: PUBLISHED_BATCH },
    response: {
      200: {
        description: 'The answer to NDJSON, line by line.',
        content: { 'application/x-ndjson': { schema: PUBLISHED_LINE } },
      },
      202: said('Of one event its place; of a list one result per event.', { anyOf: [PUBLISHED, PUBLISHED_BATCH] }, RATE_LIMITS),
    },
  },
  publishTo: {
    operationId: 'publishToTopic',
    tag: 'events',
    summary: 'Publish bare data',
    description:
      'The body is the payload, of the content type it has; `id`, `source` and `time` are made. What is called JSON must be JSON.',
    path: TOPIC_PATH,
    querystring: NO_QUERY,
    takes: {
      'application/json': {
        schema: { description: 'Any JSON.' },
        examples: { data: { summary: 'JSON', value: { id: 43, amount: 150 } } },
      },
      '*/*': { schema: { description: 'Any bytes.' } },
    },
    reads: [IDEMPOTENCY_KEY, ...TRACE],
    problems: EVENT_PROBLEMS,
    response: { 202: said('It is stored.', PUBLISHED, RATE_LIMITS) },
  },
  read: {
    operationId: 'readEvents',
    tag: 'events',
    summary: 'Read events',
    description:
      'In the order of the log, in pages, or waiting for what comes: ask again with the `cursor` of the answer before. For tools and people; a steady consumer has a subscription.',
    querystring: queryOf({
      topics: {
        type: 'string',
        description: `Topic patterns with commas between them, at most ${HTTP_BOUNDS.readTopics}.`,
        default: '>',
      },
      from: {
        type: 'string',
        description: '`latest`, `earliest` or a time (RFC 3339); where there is no cursor.',
        default: 'latest',
        examples: ['earliest'],
      },
      cursor: { type: 'string', description: 'The `cursor` of the answer before.' },
      limit: LIST_QUERY.limit,
      waitMs: {
        type: 'string',
        means: { type: 'integer', minimum: 0, maximum: LIMITS.readWaitMs, default: 0 },
        description: 'How long to wait where there is nothing yet.',
      },
    }),
    problems: ['invalid_topic', 'too_many_requests', 'log_unavailable'],
    response: {
      200: said('Events after the cursor.', EVENT_PAGE),
    },
  },
} as const satisfies Record<string, Call>;
