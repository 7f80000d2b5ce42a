/** What no key is needed for, described. */
import { NO_QUERY, said, time } from './shared.ts';
import type { Call } from './types.ts';

const open = { tag: 'process', querystring: NO_QUERY } as const;
const TEXT_TYPE = 'text/plain';

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
        examples: [{ status: 'ready', version: '0.1.0', now: '2026-11-23T17:20:00.000Z', transports: ['http'] }],
      }),
    },
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
