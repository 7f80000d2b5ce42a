/** `/v1/topics`, described. */
import { LIMIT_TABLE } from '../../limits.ts';
import { HTTP_BOUNDS } from '../bounds.ts';
import { DONE, durationIn, ETAG, LATER, LIST, NO_QUERY, PAGE, pageOf, POSITION, said, SHARD, time } from './shared.ts';
import type { Call } from './types.ts';

export const TOPIC_SETTINGS = {
  type: 'object',
  additionalProperties: false,
  properties: {
    owner: {
      type: 'string',
      minLength: 1,
      maxLength: HTTP_BOUNDS.textChars,
      description: 'Whom to ask: the id of an app, or for an admin key any text. Default: the app of the key.',
    },
    retention: {
      ...durationIn('How long its events are kept: a minute to ten years.', '30d'),
      default: '7d',
    },
    latency: {
      enum: ['interactive', 'standard', 'bulk'],
      default: 'standard',
      description:
        'Who goes first. While events of an `interactive` topic come in, all other work goes in short steps; where the process is full, `interactive` goes before `standard` before `bulk`.',
    },
    keyPath: {
      type: 'string',
      description:
        'Where in the data the key for `"ordering": "key"` stands, as a JSONPath of names and indexes; used for events without a `partitionkey`.',
      examples: ['$.customer.id'],
    },
    maxBytes: {
      type: 'integer',
      minimum: 1,
      maximum: LIMIT_TABLE.payloadBytes.max,
      default: LIMIT_TABLE.payloadBytes.value,
      description: 'The largest payload taken.',
    },
    schema: LATER,
    sensitive: LATER,
    rules: LATER,
  },
  examples: [{ retention: '30d', keyPath: '$.customer.id' }],
} as const;

export const TOPIC = {
  type: 'object',
  description: 'A declared type of event.',
  required: ['topic', 'owner', 'retention', 'latency', 'maxBytes', 'createdAt'],
  properties: {
    topic: { type: 'string', description: 'Its name: tokens of letters, digits, `_` and `-` with dots between them.' },
    owner: { type: 'string', description: 'Whom to ask.' },
    retention: { type: 'string', description: 'How long its events are kept.' },
    latency: { enum: ['interactive', 'standard', 'bulk'], description: 'Who goes first.' },
    keyPath: { type: 'string', description: 'Where in the data the key stands.' },
    maxBytes: { type: 'integer', description: 'The largest payload taken.' },
    createdAt: time('When it was declared.'),
  },
  examples: [
    {
      topic: 'orders.created',
      owner: 'shop',
      retention: '30d',
      latency: 'standard',
      keyPath: '$.customer.id',
      maxBytes: 524_288,
      createdAt: '2026-11-23T17:20:00.000Z',
    },
  ],
} as const;

export const REJECT = {
  type: 'object',
  description: 'What a client of the broker wrote to a topic, and can not be an event.',
  required: ['shard', 'position', 'appendedAt', 'code', 'detail', 'bytes'],
  properties: {
    shard: SHARD,
    position: POSITION,
    appendedAt: time('When the broker took it.'),
    code: { type: 'string', description: 'Why, as the code with which the gateway would have refused it.' },
    detail: { type: 'string', description: 'Why, for people.' },
    bytes: { type: 'integer', minimum: 0, description: 'Of its body.' },
    begins: {
      type: 'string',
      description: `The first ${HTTP_BOUNDS.rejectBytes} bytes as text. For admins and the owner of the topic.`,
    },
  },
  examples: [
    {
      shard: 'MILLRACE',
      position: '0000000000000042',
      appendedAt: '2026-11-23T17:20:00.000Z',
      code: 'invalid_json',
      detail: 'it says that its data is application/json, and it is no JSON in UTF-8',
      bytes: 7,
      begins: '{"id":1',
    },
  ],
} as const;

export const TOPIC_PATH = {
  topic: { type: 'string', description: 'The name of the topic.', examples: ['orders.created'] },
} as const;

const ofTopic = { tag: 'topics', path: TOPIC_PATH, querystring: NO_QUERY } as const;

export const TOPIC_CALLS = {
  list: {
    operationId: 'listTopics',
    tag: 'topics',
    summary: 'List topics',
    description: 'Of the environment of the key, by name.',
    querystring: LIST,
    response: { 200: said('A page of topics.', pageOf(TOPIC)) },
  },
  get: {
    operationId: 'getTopic',
    summary: 'Read a topic',
    ...ofTopic,
    response: { 200: said('The topic.', TOPIC, { ETag: ETAG }) },
  },
  rejects: {
    operationId: 'listRejects',
    tag: 'topics',
    summary: 'List what clients of the broker wrote and can not be an event',
    description:
      'Newest first. Clients of a broker write past the gateway: what says that it is an event and is none is delivered to nobody, and holds up nobody. It is read from the log, and is there as long as events of the topic are. One answer looks through so much of the log and may be empty with a `next`; everything from `through` on was looked through.',
    path: TOPIC_PATH,
    querystring: LIST,
    problems: ['invalid_topic', 'too_many_requests', 'log_unavailable'],
    response: {
      200: said('A page of rejects.', {
        type: 'object',
        required: ['data', 'next', 'through'],
        properties: {
          ...PAGE.properties,
          data: { type: 'array', items: REJECT, description: 'At most `limit` items; it may be empty though there are more.' },
          through: time('From then on the log was looked through.'),
        },
      }),
    },
  },
  put: {
    operationId: 'putTopic',
    summary: 'Declare or change a topic',
    description:
      'The body may be empty. What is left out has its default, also in a change; `owner` and `createdAt` stay. An app changes the topics it owns.',
    ...ofTopic,
    body: TOPIC_SETTINGS,
    matches: true,
    problems: ['invalid_topic', 'not_available_yet', 'already_exists'],
    response: {
      200: said('It was changed.', TOPIC, { ETag: ETAG }),
      201: said('It was declared.', TOPIC, { ETag: ETAG }),
    },
  },
  delete: {
    operationId: 'deleteTopic',
    summary: 'Delete a topic',
    description: 'Its events stay as long as they were to be kept; nothing new is taken.',
    ...ofTopic,
    matches: true,
    response: { 204: DONE },
  },
} as const satisfies Record<string, Call>;
