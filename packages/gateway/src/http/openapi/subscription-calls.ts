/** `/v1/subscriptions`, described. */
import { COUNT, DONE, durationIn, ETAG, json, LIST, LOCATION, NO_QUERY, NO_STORE, pageOf, said, text, timeIn } from './shared.ts';
import { REPLAY } from './operations.ts';
import { PATCH_SCHEMA, POST_SCHEMA, PUT_SCHEMA } from './subscription-settings.ts';
import {
  CHANGED_SUBSCRIPTION,
  LISTED_SUBSCRIPTION,
  NEW_SUBSCRIPTION,
  ROTATED_SUBSCRIPTION,
  SUBSCRIPTION,
  SUBSCRIPTION_WITH_HEALTH,
  TEST_RESULT,
} from './subscriptions.ts';
import type { Call } from './types.ts';

const made = said(
  'It was made; whatever is published from now on reaches it. This answer alone shows the secret.',
  NEW_SUBSCRIPTION,
  {
    ETag: ETAG,
    Location: LOCATION,
    'Cache-Control': NO_STORE,
  },
);
const changed = said('The subscription as it is now.', CHANGED_SUBSCRIPTION, { ETag: ETAG });
const now = said('The subscription as it is now.', SUBSCRIPTION, { ETag: ETAG });

/** Of what a person writes. */
const SETTINGS_PROBLEMS = [
  'invalid_topic',
  'invalid_filter',
  'invalid_schedule',
  'invalid_url',
  'invalid_secret',
  'not_available_yet',
] as const;

const ofOne = {
  tag: 'subscriptions',
  querystring: NO_QUERY,
  path: { id: { type: 'string', description: 'The id of the subscription.', examples: ['crm-orders'] } },
} as const;

export const ROTATION = {
  type: 'object',
  additionalProperties: false,
  properties: {
    secret: { ...text, description: 'Your own. Default: one is made.', examples: ['whsec_dGhpcyBzZWNyZXQgaXMgYW4gZXhhbXBsZSE='] },
    overlap: { ...durationIn('How long the secrets before still count: `0s` to `7d`.', '1h'), default: '24h' },
  },
  examples: [{ overlap: '1h' }],
} as const;

export const TEST = {
  type: 'object',
  additionalProperties: false,
  properties: {
    topic: { ...text, description: 'The `type` of the event sent.', default: 'millrace.test', examples: ['orders.created'] },
    data: { description: 'Its data: any JSON.', default: { test: true } },
  },
  examples: [{ topic: 'orders.created', data: { id: 42 } }],
} as const;

export const REPLAY_SETTINGS = {
  type: 'object',
  additionalProperties: false,
  required: ['from'],
  properties: {
    from: {
      ...text,
      description: '`earliest`, a time (RFC 3339) until now, or `latest`.',
      examples: ['2026-11-01T00:00:00Z'],
    },
    until: timeIn('The time of the last event, inclusive. Default: now.'),
    asNew: {
      type: 'boolean',
      default: false,
      description:
        'New ids, so that receivers work every event again; else the ids stay, and a receiver that dedupes skips what it has.',
    },
    to: {
      type: 'object',
      additionalProperties: false,
      required: ['url'],
      properties: { url: { ...text, means: { type: 'string', format: 'uri' }, description: 'The other endpoint.' } },
      description: 'To another endpoint (a drill), signed with the same secret.',
      examples: [{ url: 'https://test.example/hooks' }],
    },
    rewind: {
      type: 'boolean',
      default: false,
      description:
        'Sets the subscription itself back (or forward) to `from`, for where order matters. Not with `until`, `asNew`, `to`.',
    },
    dryRun: { type: 'boolean', default: false, description: 'Only counts the events.' },
  },
  examples: [{ from: '2026-11-01T00:00:00Z', dryRun: true }],
} as const;

export const SUBSCRIPTION_CALLS = {
  list: {
    operationId: 'listSubscriptions',
    tag: 'subscriptions',
    summary: 'List subscriptions',
    description: 'By id; for an app those it owns. Each with its health in short: more of it where one is read.',
    querystring: LIST,
    response: { 200: said('A page of subscriptions.', pageOf(LISTED_SUBSCRIPTION)) },
  },
  create: {
    operationId: 'createSubscription',
    tag: 'subscriptions',
    summary: 'Subscribe',
    description: 'By the `id` in the body, or one that is made. A setting that may be left out may be null instead.',
    querystring: NO_QUERY,
    body: POST_SCHEMA,
    problems: [...SETTINGS_PROBLEMS, 'not_found', 'already_exists', 'quota_exceeded', 'log_unavailable'],
    response: { 201: made },
  },
  get: {
    operationId: 'getSubscription',
    summary: 'Read a subscription with its health',
    ...ofOne,
    response: { 200: said('The subscription.', SUBSCRIPTION_WITH_HEALTH, { ETag: ETAG }) },
  },
  put: {
    operationId: 'putSubscription',
    summary: 'Subscribe by an id of your own, or replace',
    description:
      'Of one that is there, what is left out, or null, gets its default back; its secret stays unless one is given, its app whoever asks, and it goes on where it is (`from` is answered with a warning). An id that another app has taken is answered with `already_exists`.',
    ...ofOne,
    body: PUT_SCHEMA,
    matches: true,
    problems: [...SETTINGS_PROBLEMS, 'already_exists', 'quota_exceeded', 'log_unavailable'],
    response: { 200: changed, 201: made },
  },
  patch: {
    operationId: 'patchSubscription',
    summary: 'Change a subscription',
    description:
      'What is named takes the place of what was there (members of `deliver.webhook`, `retry`, `breaker` and `bounds` one by one). `null` gives a setting its default back: `"filter": null` takes the filter away. Taken as `application/json` or `application/merge-patch+json`. Applies to what has not been read yet; deliveries that wait take it at their next attempt.',
    ...ofOne,
    body: PATCH_SCHEMA,
    matches: true,
    problems: SETTINGS_PROBLEMS,
    response: { 200: changed },
  },
  delete: {
    operationId: 'deleteSubscription',
    summary: 'Delete a subscription',
    description: 'With all that waits, its attempts and its dead letters.',
    ...ofOne,
    matches: true,
    response: { 204: DONE },
  },
  pause: {
    operationId: 'pauseSubscription',
    summary: 'Pause',
    description: 'Nothing is sent until it is resumed, and nothing is lost while the topics keep their events.',
    ...ofOne,
    matches: true,
    response: { 200: now },
  },
  resume: {
    operationId: 'resumeSubscription',
    summary: 'Resume',
    description: 'Also starts one that the gateway disabled, and has an open breaker send a probe at once.',
    ...ofOne,
    matches: true,
    response: { 200: now },
  },
  replay: {
    operationId: 'replaySubscription',
    summary: 'Replay: send the past again',
    description:
      'As an operation of its own beside what is delivered now. With `dryRun` it is only counted; with `rewind` the subscription itself is set back.',
    ...ofOne,
    body: REPLAY_SETTINGS,
    problems: ['invalid_url', 'log_unavailable'],
    response: {
      200: {
        description: 'Of a dry run the count; of a rewind the subscription, with an ETag.',
        content: json({ anyOf: [COUNT, SUBSCRIPTION] }),
      },
      202: said('It has begun.', REPLAY, { Location: LOCATION }),
    },
  },
  rotate: {
    operationId: 'rotateSecret',
    summary: 'Rotate the secret',
    description:
      'While they overlap, a `standard` delivery carries a signature of each secret; a `simple` one that is answered 401, 403 or 500 is tried at once with the other. The body may be empty. At most ten secrets count at once.',
    ...ofOne,
    body: ROTATION,
    matches: true,
    problems: ['invalid_secret', 'conflict'],
    response: {
      200: said('The subscription with its new secret.', ROTATED_SUBSCRIPTION, { ETag: ETAG, 'Cache-Control': NO_STORE }),
    },
  },
  test: {
    operationId: 'testSubscription',
    summary: 'Send a test request now',
    description:
      'Signed as any other. The answer comes when the endpoint has answered. The body may be empty. One at a time, and within `concurrency` and `ratePerSecond`: else `too_many_requests`, with Retry-After.',
    ...ofOne,
    body: TEST,
    problems: ['invalid_topic'],
    response: { 200: said('What came of it.', TEST_RESULT) },
  },
} as const satisfies Record<string, Call>;
