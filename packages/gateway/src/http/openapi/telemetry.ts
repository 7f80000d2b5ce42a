/** `/v1/telemetry`, described. */
import { TELEMETRY } from '../../telemetry/report.ts';
import { DONE, NO_QUERY, said } from './shared.ts';
import type { Call, Schema } from './types.ts';

const count = (description: string): Schema => ({ type: 'integer', minimum: 0, maximum: TELEMETRY.most, description });

const closed = (description: string, properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema => ({
  type: 'object',
  additionalProperties: false,
  ...(required.length === 0 ? {} : { required }),
  properties,
  description,
});

export const TELEMETRY_REPORT = {
  ...closed(
    '',
    {
      client: {
        type: 'string',
        pattern: '^[\\w.+-]{1,48}/[\\w.+-]{1,48}$',
        description: 'Its name and version.',
        examples: ['millrace-js/0.1.0'],
      },
      spanMs: { type: 'integer', minimum: 0, maximum: TELEMETRY.spanMsMax, description: 'Since when it counts.' },
      publishes: closed('What it published.', {
        count: count('How many events.'),
        failed: count('Of these: for good.'),
        retried: count('Attempts after the first.'),
        latencyMs: closed(
          'How long until the receipt.',
          {
            le: { const: TELEMETRY.le, description: 'Upper bounds, always these.' },
            counts: {
              type: 'array',
              minItems: TELEMETRY.le.length + 1,
              maxItems: TELEMETRY.le.length + 1,
              items: count('Within this bound and above the one before; the last one: above all.'),
              description: 'How many within each.',
            },
          },
          ['le', 'counts'],
        ),
      }),
      messages: closed('What it got.', {
        acked: count('Acknowledged.'),
        nacked: count('Given back.'),
        lost: count('Lost with a connection before they were acknowledged.'),
        handlerFailed: count('Whose handler threw.'),
      }),
      connects: count('Connections that it made.'),
    },
    ['client', 'spanMs'],
  ),
  description: 'What a client did since its last report.',
  examples: [
    {
      client: 'millrace-js/0.1.0',
      spanMs: 60_000,
      publishes: {
        count: 12,
        failed: 1,
        retried: 2,
        latencyMs: { le: TELEMETRY.le, counts: [0, 3, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0] },
      },
      messages: { acked: 10, nacked: 1, lost: 0, handlerFailed: 1 },
      connects: 1,
    },
  ],
} as const;

const WANTED = {
  type: 'object',
  description: 'Whether clients are to report.',
  required: ['sample', 'everyMs'],
  properties: {
    sample: { type: 'number', minimum: 0, maximum: 1, description: 'Which part of them; 0: none. Each draws once.' },
    everyMs: { type: 'integer', description: 'How often.' },
  },
  examples: [{ sample: 0.1, everyMs: TELEMETRY.everyMs }],
} as const;

const call = { tag: 'sdk', querystring: NO_QUERY } as const;

export const TELEMETRY_CALLS = {
  get: {
    operationId: 'getTelemetry',
    summary: 'Whether clients are to report',
    description: 'Of the app of the key or token that asks: its setting `telemetry`. Without it nobody reports.',
    ...call,
    response: { 200: said('Whether.', WANTED) },
  },
  report: {
    operationId: 'reportTelemetry',
    summary: 'Report how it goes',
    description:
      'Numbers of a client, which are added to `/metrics` under its app, on the node that is asked. Nothing is kept where the app has it switched off. The `client` is not shown there. Whoever may report may report what is not so: take it for graphs, not for accounts.',
    ...call,
    body: TELEMETRY_REPORT,
    problems: ['too_many_requests'],
    response: { 204: DONE },
  },
} as const satisfies Record<string, Call>;
