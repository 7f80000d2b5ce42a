/** `/v1/deliveries`, described. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { LIST_QUERY, NO_QUERY, pageOf, POSITION, queryOf, said, SHARD, time } from './shared.ts';
import type { Call } from './types.ts';

export const EVENT_NAME = {
  type: 'object',
  description: 'The event.',
  required: ['id', 'type'],
  properties: {
    id: { type: 'string', description: 'Its id.' },
    type: { type: 'string', description: 'Its topic.' },
  },
} as const;

const DELIVERY_ID = 'sub_2al2k5x7m3qzr4w6y2b3c5d7e2.p0~0~0000000000000042';

const OUTCOME = { enum: ['delivered', 'retry', 'dead'] } as const;

export const ATTEMPT = {
  type: 'object',
  description: 'One try of a delivery.',
  required: ['n', 'startedAt', 'durationMs', 'outcome', 'cause', 'status'],
  properties: {
    n: {
      type: 'integer',
      minimum: 1,
      description: 'Counts on after a redrive. A second one of the same number is what its receiver reported later.',
    },
    startedAt: time('When it began.'),
    durationMs: { type: 'number', description: 'From the request to the end of the answer.' },
    outcome: { ...OUTCOME, description: 'What came of it.' },
    cause: { type: 'string', description: 'Why, see [Causes](#causes); empty when delivered.' },
    status: { type: 'integer', description: 'What the endpoint answered; 0 without an answer.' },
    snippet: { type: 'string', description: 'How its answer begins. For admin keys.' },
  },
} as const;

export const DELIVERY = {
  type: 'object',
  description: 'One event for one subscription.',
  required: ['id', 'subscription', 'event', 'shard', 'position', 'outcome', 'attempts'],
  properties: {
    id: { type: 'string', description: 'Opaque.' },
    subscription: { type: 'string', description: 'For whom.' },
    webhookId: { type: 'string', description: 'What receivers know it by. Absent once retention took the event.' },
    operation: { type: 'string', description: 'The replay it belongs to, if any.' },
    event: EVENT_NAME,
    shard: SHARD,
    position: POSITION,
    outcome: {
      ...OUTCOME,
      description: 'Of the last attempt: `delivered`, `retry` (there will be another), `dead` (it was given up).',
    },
    attempts: { type: 'array', items: ATTEMPT, description: 'The first one first; those of the last seven days.' },
    nextAttemptAt: time('When the next attempt is due, while it waits. (In a list only where the outcome is `retry`.)'),
  },
  examples: [
    {
      id: DELIVERY_ID,
      subscription: 'crm-orders',
      webhookId: 'msg_k2m4qx7zr3a5c6d2e4f7g3h5i6',
      event: { id: 'evt_2al2k5x7m3qzr4w6y2b3c5d7e2', type: 'orders.created' },
      shard: '0',
      position: '0000000000000042',
      outcome: 'retry',
      attempts: [
        { n: 1, startedAt: '2026-11-23T17:20:00.000Z', durationMs: 12.4, outcome: 'retry', cause: 'http_500', status: 500 },
      ],
      nextAttemptAt: '2026-11-23T17:20:05.000Z',
    },
  ],
} as const;

export const FAILED = {
  type: 'object',
  additionalProperties: false,
  required: ['reason'],
  properties: {
    reason: {
      type: 'string',
      minLength: 1,
      maxLength: HTTP_BOUNDS.reasonChars,
      description: 'Why, for whoever looks into it.',
      examples: ['the mail server refused it'],
    },
    dead: { type: 'boolean', description: 'It can never succeed: a dead letter, at once.' },
    delayMs: {
      type: 'integer',
      minimum: 0,
      maximum: HTTP_BOUNDS.failedDelayMs,
      description: 'Until the next attempt, as long as the schedule has one left. Default: as the schedule says.',
    },
  },
  examples: [{ reason: 'the mail server refused it' }],
} as const;

const SETTLED = {
  type: 'object',
  description: 'What became of the delivery.',
  required: ['id', 'outcome'],
  properties: {
    id: { type: 'string', description: 'Of the delivery.' },
    outcome: { enum: ['retry', 'dead'], description: '`retry`: it is tried again. `dead`: it is a dead letter.' },
    nextAttemptAt: time('When it is tried again; absent while it is.'),
  },
  examples: [{ id: DELIVERY_ID, outcome: 'retry', nextAttemptAt: '2026-11-23T17:20:05.000Z' }],
} as const;

/** Lists of what happened are always those of one subscription. */
export const OF_SUBSCRIPTION = {
  type: 'string',
  description: 'Whose: the id of a subscription.',
  examples: ['crm-orders'],
} as const;

const ofOne = {
  tag: 'deliveries',
  querystring: NO_QUERY,
  path: {
    id: { type: 'string', description: 'The id of the delivery.', examples: [DELIVERY_ID] },
  },
} as const;

export const DELIVERY_CALLS = {
  list: {
    operationId: 'listDeliveries',
    tag: 'deliveries',
    summary: 'List the deliveries of a subscription',
    description:
      'Those that were tried at least once, the one tried last first. Attempts are kept for seven days. Those of topics that the key is not for are left out. Then, and with `event`, `webhookId` or `outcome`, a page may be short, and even empty, while `next` leads on: one call looks through a bounded number of attempts.',
    querystring: queryOf(
      {
        subscription: OF_SUBSCRIPTION,
        event: { type: 'string', description: 'Only those of the event with this id (`ce-id`).' },
        webhookId: {
          type: 'string',
          description:
            'Only those that receivers know by this `webhook-id`; a replay keeps it. Not once retention took the event.',
        },
        outcome: { ...OUTCOME, description: 'Only those whose last attempt came to this.' },
        ...LIST_QUERY,
      },
      ['subscription'],
    ),
    problems: ['not_found', 'log_unavailable'],
    response: { 200: said('A page of deliveries.', pageOf(DELIVERY)) },
  },
  get: {
    operationId: 'getDelivery',
    summary: 'Read a delivery',
    ...ofOne,
    problems: ['log_unavailable'],
    response: { 200: said('The delivery.', DELIVERY) },
  },
  retry: {
    operationId: 'retryDelivery',
    summary: 'Try a delivery again now',
    description:
      'One that waits is tried before it is due; one that is dead or delivered is sent once more, with a fresh schedule and the same id. `conflict`: it waits behind an earlier event of its key. `not_redrivable`: retention took its event.',
    ...ofOne,
    problems: ['conflict', 'not_redrivable', 'overloaded', 'log_unavailable'],
    response: { 202: said('It is being tried.', DELIVERY) },
  },
  failed: {
    operationId: 'reportFailed',
    summary: 'Report that a delivery failed after all',
    description:
      'For a receiver that acknowledges first and works later. The address, and the token for `Authorization: Bearer`, are the two words of the header `millrace-failed` that came with the delivery; no key is needed. It is tried again as the next attempt, or a dead letter (cause `reported_failed`) where it says `dead` or its schedule is over. Once for each attempt: said again it is as it is. `in_flight`: its answer is not written down yet, ask again. `conflict`: it was sent again since, or is decided otherwise. The token counts for seven days.',
    ...ofOne,
    body: FAILED,
    reads: [
      {
        name: 'Authorization',
        description: '`Bearer` and the token.',
        schema: { type: 'string' },
      },
    ],
    problems: [
      'unauthorized',
      'token_expired',
      'in_flight',
      'conflict',
      'not_redrivable',
      'too_many_requests',
      'moving',
      'log_unavailable',
      'ledger_unavailable',
      'ledger_full',
    ],
    response: { 202: said('It is parked, or dead.', SETTLED) },
  },
} as const satisfies Record<string, Call>;
