/** `/v1/dead-letters`, described. */
import { DELIVERY, EVENT_NAME, OF_SUBSCRIPTION } from './deliveries.ts';
import { JOB } from './operations.ts';
import {
  COUNT,
  DONE,
  LIST_QUERY,
  LOCATION,
  NO_QUERY,
  pageOf,
  POSITION,
  queryOf,
  said,
  SHARD,
  text,
  time,
  timeIn,
  SPAN,
} from './shared.ts';
import type { Call } from './types.ts';

export const DEAD_LETTER = {
  type: 'object',
  description: 'A delivery that was given up, or a range of events that was lost to a subscription; with why.',
  required: ['id', 'subscription', 'cause', 'attempts', 'shard', 'position', 'appendedAt', 'diedAt', 'redrivable'],
  properties: {
    id: { type: 'string', description: 'Its id.' },
    subscription: { type: 'string', description: 'For whom.' },
    cause: { type: 'string', description: 'Why, see [Causes](#causes).' },
    detail: { type: 'string', description: 'Of an event: how the endpoint answered, for admin keys. Of a range: what happened.' },
    attempts: { type: 'integer', minimum: 0, description: 'How often it was tried.' },
    event: { ...EVENT_NAME, description: 'The event. Absent where it stands for a range.' },
    range: {
      type: 'object',
      description: 'Where it stands for many: every matching event after `after`, up to `through`.',
      required: ['after', 'through', 'throughAt'],
      properties: {
        ...SPAN,
        throughAt: time('When the last of them was stored.'),
        count: { type: 'integer', minimum: 0, description: 'How many, where that is known.' },
      },
    },
    shard: SHARD,
    position: POSITION,
    appendedAt: time('When the event was stored.'),
    diedAt: time('When it was given up.'),
    redrivable: { type: 'boolean', description: 'Whether the event is still there to be sent.' },
    holdsKey: {
      type: 'string',
      description: 'The key whose later events wait until this is redriven or discarded (`"onDead": "hold"`).',
    },
  },
  examples: [
    {
      id: 'dl_k2m4qx7zr3a5c6d2e4f7g3h5i6',
      subscription: 'crm-orders',
      cause: 'http_500',
      attempts: 10,
      event: { id: 'evt_2al2k5x7m3qzr4w6y2b3c5d7e2', type: 'orders.created' },
      shard: '0',
      position: '0000000000000042',
      appendedAt: '2026-11-23T17:20:00.000Z',
      diedAt: '2026-11-26T20:31:07.000Z',
      redrivable: true,
    },
  ],
} as const;

/** Which letters of a subscription; all without further members. */
export const MANY = {
  type: 'object',
  additionalProperties: false,
  required: ['subscription'],
  properties: {
    subscription: { ...text, ...OF_SUBSCRIPTION },
    cause: {
      ...text,
      description: 'Only those that died of this, see [Causes](#causes); one that there is not is refused.',
      examples: ['http_500'],
    },
    topic: { ...text, description: 'Only those of this topic.', examples: ['orders.created'] },
    since: timeIn('Only those that died at this time or later.'),
    until: timeIn('Only those that died at this time or earlier.'),
    dryRun: { type: 'boolean', default: false, description: 'Only counts them.' },
  },
  examples: [{ subscription: 'crm-orders', cause: 'http_500', dryRun: true }],
} as const;

const ofOne = {
  tag: 'dead letters',
  querystring: NO_QUERY,
  path: {
    id: { type: 'string', description: 'The id of the dead letter.', examples: ['dl_k2m4qx7zr3a5c6d2e4f7g3h5i6'] },
  },
} as const;

const many = {
  tag: 'dead letters',
  querystring: NO_QUERY,
  body: MANY,
  problems: ['not_found'],
  response: { 200: said('Of a dry run: how many.', COUNT), 202: said('It has begun.', JOB, { Location: LOCATION }) },
} as const;

export const DEAD_LETTER_CALLS = {
  list: {
    operationId: 'listDeadLetters',
    tag: 'dead letters',
    summary: 'List the dead letters of a subscription',
    description:
      'In the order of their ids, which says nothing of when they died. Those of topics that the key is not for are left out: a page may be short then, and even empty, while `next` leads on.',
    querystring: queryOf({ subscription: OF_SUBSCRIPTION, ...LIST_QUERY }, ['subscription']),
    problems: ['not_found'],
    response: { 200: said('A page of dead letters.', pageOf(DEAD_LETTER)) },
  },
  get: {
    operationId: 'getDeadLetter',
    summary: 'Read a dead letter',
    ...ofOne,
    response: { 200: said('The dead letter.', DEAD_LETTER) },
  },
  redrive: {
    operationId: 'redriveDeadLetter',
    summary: 'Redrive one: deliver it again',
    description:
      'With a fresh schedule and the same id. The letter is gone; should it fail again to the end, there is a new one.',
    ...ofOne,
    problems: ['in_flight', 'not_redrivable', 'overloaded', 'log_unavailable'],
    response: { 202: said('It is being tried: the delivery, as `POST /v1/deliveries/{id}/retry` answers.', DELIVERY) },
  },
  discard: {
    operationId: 'discardDeadLetter',
    summary: 'Discard one',
    description: 'It is gone for good; where it held its key, the key goes on.',
    ...ofOne,
    response: { 204: DONE },
  },
  redriveMany: {
    operationId: 'redriveDeadLetters',
    summary: 'Redrive many',
    description:
      'All of a subscription, or those that fit; of these, those of topics that the key is for. What dies meanwhile is left to the next one.',
    ...many,
  },
  discardMany: {
    operationId: 'discardDeadLetters',
    summary: 'Discard many',
    description: 'All of a subscription, or those that fit; of these, those of topics that the key is for.',
    ...many,
  },
} as const satisfies Record<string, Call>;
