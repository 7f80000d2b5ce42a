/** How the process is, described: for everybody, but for the checks. */
import { NO_QUERY, said, time } from './shared.ts';
import type { Call } from './types.ts';

const open = { tag: 'process', querystring: NO_QUERY } as const;
const TEXT_TYPE = 'text/plain';

export const FINDING = {
  type: 'object',
  description: 'Something that an operator should know.',
  required: ['level', 'code', 'problem', 'advice'],
  properties: {
    level: { enum: ['problem', 'note'], description: '`problem`: it needs somebody. `note`: worth knowing, and maybe meant so.' },
    code: { type: 'string', description: 'Stable; there may be further ones.' },
    problem: { type: 'string', description: 'What is so, for people.' },
    advice: { type: 'string', description: 'What to do about it.' },
  },
  examples: [
    {
      level: 'problem',
      code: 'log_in_memory',
      problem: 'the stream MILLRACE is kept in memory: its events are lost when its servers stop',
      advice: 'Use a stream with file storage.',
    },
  ],
} as const;

export const CHECKS = {
  type: 'object',
  description: 'Log and store, each with what was found.',
  required: ['data'],
  properties: {
    data: {
      type: 'array',
      description: 'Log and store, in this order.',
      items: {
        type: 'object',
        required: ['name', 'findings'],
        properties: {
          name: { enum: ['log', 'store'], description: 'What was asked.' },
          findings: { type: 'array', items: FINDING, description: 'Empty where nothing is wrong.' },
        },
      },
    },
  },
} as const;

export const HEALTH_CALLS = {
  front: {
    operationId: 'getFront',
    summary: 'What this is',
    description: 'Also by HEAD.',
    ...open,
    response: {
      200: {
        description: 'Name, version and where to go on, for people.',
        content: { [TEXT_TYPE]: { schema: { type: 'string' } } },
      },
    },
  },
  health: {
    operationId: 'getHealth',
    summary: 'Tell version, time and transports',
    ...open,
    response: {
      200: said('How it is.', {
        type: 'object',
        required: ['status', 'version', 'now', 'transports'],
        properties: {
          status: { enum: ['ready', 'stopping'], description: 'Whether events are taken.' },
          version: { type: 'string', description: 'Of the gateway.' },
          now: time('Its clock.'),
          transports: { type: 'array', items: { type: 'string' }, description: 'How it can be spoken to.' },
        },
        examples: [
          {
            status: 'ready',
            version: '0.1.0',
            now: '2026-11-23T17:20:00.000Z',
            transports: ['http', 'websocket', 'sse', 'pull'],
          },
        ],
      }),
    },
  },
  checks: {
    operationId: 'getHealthChecks',
    tag: 'process',
    summary: 'What log and store say of themselves',
    description: 'What `millrace doctor` shows: settings of a broker or a database that lessen a promise, room that runs out.',
    querystring: NO_QUERY,
    response: { 200: said('What was found.', CHECKS) },
  },
  live: {
    operationId: 'getLivez',
    summary: 'Whether the process is alive',
    ...open,
    response: {
      200: said('It is.', {
        type: 'object',
        required: ['status'],
        properties: { status: { const: 'live' } },
        examples: [{ status: 'live' }],
      }),
    },
  },
  ready: {
    operationId: 'getReadyz',
    summary: 'Whether events are taken and delivered',
    ...open,
    problems: ['shutting_down'],
    response: {
      200: said('They are.', {
        type: 'object',
        required: ['status'],
        properties: { status: { const: 'ready' } },
        examples: [{ status: 'ready' }],
      }),
    },
  },
  metrics: {
    operationId: 'getMetrics',
    summary: 'What Prometheus reads',
    description: 'Answers the machine it runs on; others only when it was started with `--metrics all`.',
    ...open,
    response: {
      200: { description: 'The text format of Prometheus.', content: { [TEXT_TYPE]: { schema: { type: 'string' } } } },
    },
  },
  document: {
    operationId: 'getOpenapi',
    summary: 'This document',
    ...open,
    response: { 200: said('OpenAPI 3.1.', { type: 'object', additionalProperties: true }) },
  },
} as const satisfies Record<string, Call>;
