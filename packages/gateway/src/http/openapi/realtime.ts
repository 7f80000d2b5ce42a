/** Sessions of `millrace.v1` over plain HTTP, described; what is spoken in them is in spec/protocol.md. */
import { NO_QUERY, queryOf, said } from './shared.ts';
import type { Call } from './types.ts';

const FRAMES = {
  'application/json': {
    schema: { type: 'array', items: { type: 'object', required: ['op'], properties: { op: { type: 'string' } } } },
    examples: {
      sub: {
        summary: 'Subscribe',
        value: [
          { op: 'hello', v: 1 },
          { op: 'sub', sub: 1, topics: ['orders.*'], credit: 64 },
        ],
      },
    },
  },
} as const;

const PULL = {
  'application/json': {
    schema: FRAMES['application/json'].schema,
    examples: {
      group: {
        summary: 'Ack what came last, and wait for more',
        value: [
          { op: 'ack', group: 'mailer', ids: ['sub_2al2k5x7m3qzr4w6y2b3c5d7e2.p0~main~0000000000000042'] },
          { op: 'sub', group: 'mailer', credit: 16, waitMs: 0 },
        ],
      },
      topics: { summary: 'What is new', value: [{ op: 'sub', topics: ['orders.*'], credit: 64, waitMs: 0 }] },
    },
  },
} as const;

const STREAM = {
  description: 'A stream of events (`text/event-stream`) that ends with the connection.',
  content: { 'text/event-stream': { schema: { type: 'string' } } },
} as const;

export const REALTIME_CALLS = {
  open: {
    operationId: 'openSession',
    tag: 'realtime',
    summary: 'Open a session over server-sent events',
    description:
      'The body is frames of [millrace.v1](../spec/protocol.md), `hello` first; each event of the answer is a frame. Further frames go to `POST /v1/sse/{session}`. Over WebSocket it is `GET /v1/stream` with the subprotocol `millrace.v1`.',
    querystring: NO_QUERY,
    takes: FRAMES,
    problems: ['overloaded'],
    response: { 200: STREAM },
  },
  say: {
    operationId: 'sayFrames',
    tag: 'realtime',
    summary: 'Say more in a session',
    description: 'What comes of them comes on its stream.',
    path: {
      session: { type: 'string', description: 'As `welcome` named it.', examples: ['ses_2al2k5x7m3qzr4w6y2b3c5d7e2'] },
    },
    querystring: NO_QUERY,
    takes: FRAMES,
    problems: ['not_found', 'too_many_requests'],
    response: { 202: said('They were read.', { type: 'object', examples: [{}] }) },
  },
  pull: {
    operationId: 'pull',
    tag: 'realtime',
    summary: 'Pull events, and say what came of those before',
    description:
      'The long poll of [millrace.v1](../spec/protocol.md#4-long-poll): the body is frames `ack`, `nack` and `extend` (with `group`), and at most one `sub` with `waitMs`; the answer is frames, too. Deliveries of a group stay with whoever pulled them until they are acked or their time is over.',
    querystring: NO_QUERY,
    takes: PULL,
    problems: ['bad_frame', 'too_many_requests', 'overloaded', 'quota_exceeded', 'moving'],
    response: {
      200: said('What came of it: `acked`, `nacked`, `extended` and `error` first, then `subed` and the messages.', {
        type: 'array',
        items: {
          type: 'object',
          required: ['op'],
          properties: { op: { type: 'string' } },
          additionalProperties: true,
        },
      }),
    },
  },
  follow: {
    operationId: 'followTopics',
    tag: 'realtime',
    summary: 'Follow topics',
    description:
      'Events as they come, one JSON CloudEvent each: `curl -N`. Its `id` is where it stands: with the header `Last-Event-ID` it goes on from there; what is missing then is an event of the type `gap`.',
    querystring: queryOf({
      topics: { type: 'string', description: 'Topic patterns with commas between them.', examples: ['orders.*'] },
      from: {
        type: 'string',
        description: '`latest`; or `last`: the newest event of each key first.',
        default: 'latest',
      },
    }),
    reads: [{ name: 'Last-Event-ID', description: 'The `id` of the last event that came.', schema: { type: 'string' } }],
    problems: ['invalid_topic', 'overloaded', 'log_unavailable', 'quota_exceeded'],
    response: { 200: STREAM },
  },
} as const satisfies Record<string, Call>;
