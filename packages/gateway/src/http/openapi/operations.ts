/** `/v1/operations`, described. */
import { LIST, NO_QUERY, pageOf, said, time } from './shared.ts';
import type { Call } from './types.ts';

const begun = {
  id: { type: 'string', description: 'Its id.' },
  subscription: { type: 'string', description: 'Whose.' },
  state: { enum: ['running', 'done', 'cancelled'], description: 'What has become of it.' },
  createdAt: time('When it began.'),
  endedAt: time('When it ended.'),
} as const;

export const REPLAY = {
  type: 'object',
  description: 'A replay.',
  required: ['id', 'kind', 'subscription', 'state', 'asNew', 'createdAt'],
  properties: {
    ...begun,
    kind: { const: 'replay', description: 'What it is.' },
    progress: {
      type: 'object',
      description: 'While it runs.',
      required: ['percent', 'at'],
      properties: {
        percent: { type: 'integer', minimum: 0, maximum: 100, description: 'Of the span of time it goes over.' },
        at: time('When the last event it has sent was stored.'),
      },
    },
    asNew: { type: 'boolean', description: 'Whether its deliveries have ids of their own.' },
    to: {
      type: 'object',
      description: 'The other endpoint it sends to, if any.',
      required: ['url'],
      properties: { url: { type: 'string', description: 'Its address.' } },
    },
  },
  examples: [
    {
      id: 'run_2al2k5x7m3qzr4w6y2b3c5d7e2',
      kind: 'replay',
      subscription: 'crm-orders',
      state: 'running',
      asNew: false,
      createdAt: '2026-11-23T17:20:00.000Z',
    },
  ],
} as const;

export const JOB = {
  type: 'object',
  description: 'Dead letters redriven or discarded many at a time.',
  required: ['id', 'kind', 'subscription', 'state', 'progress', 'createdAt'],
  properties: {
    ...begun,
    kind: { enum: ['redrive', 'discard'], description: 'What it is.' },
    progress: {
      type: 'object',
      description: 'How far it is.',
      required: ['done', 'refused', 'total'],
      properties: {
        done: { type: 'integer', minimum: 0, description: 'Letters it is through with.' },
        refused: { type: 'integer', minimum: 0, description: 'Letters that can not be redriven.' },
        total: { type: 'integer', minimum: 0, description: 'Letters there were when it began.' },
      },
    },
  },
  examples: [
    {
      id: 'job_2al2k5x7m3qzr4w6y2b3c5d7e2',
      kind: 'redrive',
      subscription: 'crm-orders',
      state: 'running',
      progress: { done: 40, refused: 0, total: 1204 },
      createdAt: '2026-11-23T17:20:00.000Z',
    },
  ],
} as const;

export const OPERATION = {
  oneOf: [REPLAY, JOB],
  description: 'What takes longer than an answer. Ended ones are shown for about seven days.',
} as const;

const ofOne = {
  tag: 'operations',
  querystring: NO_QUERY,
  path: {
    id: { type: 'string', description: 'The id of the operation.', examples: ['run_2al2k5x7m3qzr4w6y2b3c5d7e2'] },
  },
} as const;

export const OPERATION_CALLS = {
  list: {
    operationId: 'listOperations',
    tag: 'operations',
    summary: 'List operations',
    description: 'Jobs on dead letters first, then replays, each by the time they began.',
    querystring: LIST,
    response: { 200: said('A page of operations.', pageOf(OPERATION)) },
  },
  get: {
    operationId: 'getOperation',
    summary: 'Read an operation',
    ...ofOne,
    response: { 200: said('The operation.', OPERATION) },
  },
  cancel: {
    operationId: 'cancelOperation',
    summary: 'Cancel an operation',
    description: 'What it has done by then stays done. One that has ended is answered as it is.',
    ...ofOne,
    response: { 200: said('The operation as it is now.', OPERATION) },
  },
} as const satisfies Record<string, Call>;
