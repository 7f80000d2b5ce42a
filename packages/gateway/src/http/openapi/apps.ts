/** `/v1/apps` and their keys, described. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { SDK_RULE, SDK_RULE_CHANGE } from './sdk.ts';
import { DONE, ETAG, LATER, LIST, NO_QUERY, NO_STORE, orNull, pageOf, said, time, timeIn } from './shared.ts';
import type { Call, Schema } from './types.ts';

const SCOPE = { enum: ['admin', 'publish', 'subscribe', 'manage'] } as const;

const quota = (description: string): Schema => ({
  type: 'integer',
  minimum: 1,
  maximum: HTTP_BOUNDS.quotaMax,
  description,
});

export const QUOTAS = {
  publishesPerSecond: quota('Events a second; five seconds of it may come at once.'),
  bytesPerSecond: quota('Bytes of bodies a second; five seconds of it may come at once.'),
  connections: quota('Realtime connections open at once, on each node.'),
  subscriptions: quota('Subscriptions: those that are configured, and those that realtime consumers have open on a node.'),
  deliveriesInFlight: quota('Deliveries under way at once, on each node.'),
  eventsPerDay: quota('Events stored on one day (UTC).'),
  eventsPerMonth: quota('Events stored in one month (UTC).'),
} as const;

const TELEMETRY = {
  type: 'object',
  additionalProperties: false,
  required: ['sample'],
  properties: {
    sample: { type: 'number', minimum: 0, maximum: 1, description: 'Which part of them: 0.1 is every tenth, 0 none.' },
  },
  description: 'Whether its clients tell this gateway how it goes: counts and latencies, for `/metrics`. Default: none does.',
  examples: [{ sample: 0.1 }],
} as const;

export const APP_SETTINGS = {
  type: 'object',
  additionalProperties: false,
  properties: {
    name: {
      type: 'string',
      minLength: 1,
      maxLength: HTTP_BOUNDS.textChars,
      description: 'For people. Default: the id.',
    },
    origins: {
      type: 'array',
      maxItems: HTTP_BOUNDS.origins,
      uniqueItems: true,
      items: { type: 'string' },
      description:
        'Origins whose web pages may call with tokens of the app, exactly as browsers write them; `https://*.example.com` is each direct subdomain. Default: none.',
      examples: [['https://shop.example.com']],
    },
    quotas: {
      type: 'object',
      additionalProperties: false,
      properties: QUOTAS,
      description: 'What the app may use. A quota that is not there is no bound.',
      examples: [{ publishesPerSecond: 100, eventsPerDay: 1_000_000 }],
    },
    sdk: SDK_RULE,
    telemetry: TELEMETRY,
  },
  examples: [{ name: 'The shop', origins: ['https://shop.example.com'], quotas: { publishesPerSecond: 100 } }],
} as const;

/** A change of some members (RFC 7396). */
export const APP_CHANGE = {
  ...APP_SETTINGS,
  properties: orNull({
    ...APP_SETTINGS.properties,
    quotas: { ...APP_SETTINGS.properties.quotas, properties: orNull(QUOTAS) },
    sdk: SDK_RULE_CHANGE,
  }),
  examples: [{ quotas: { publishesPerSecond: 200, eventsPerDay: null } }],
} as const;

export const KEY_SETTINGS = {
  type: 'object',
  additionalProperties: false,
  required: ['scopes'],
  properties: {
    scopes: {
      type: 'array',
      minItems: 1,
      uniqueItems: true,
      items: SCOPE,
      description: 'What it may do: `publish`, `subscribe` (read), `manage` (configure), `admin` (everything, for every app).',
      examples: [['publish']],
    },
    topics: {
      type: 'array',
      minItems: 1,
      maxItems: HTTP_BOUNDS.keyTopics,
      uniqueItems: true,
      items: { type: 'string' },
      description: 'Patterns of the topics it is for. Default: all. Not for an admin key.',
      examples: [['orders.*']],
    },
    expiresAt: timeIn('From then on it opens nothing. Default: never.'),
    environment: {
      type: 'string',
      means: { type: 'string', pattern: '^[a-z0-9][a-z0-9-]{0,31}$' },
      description: 'Of another environment; only an admin key of `default` may say so. The app is made there if need be.',
      examples: ['staging'],
    },
    signs: {
      type: 'boolean',
      description:
        'It [signs](#signed-publishing) what it publishes instead of being sent. Then its scopes are `publish` alone. Default: false.',
    },
    audience: LATER,
  },
  examples: [{ scopes: ['publish'], topics: ['orders.*'] }],
} as const;

export const APP = {
  type: 'object',
  description: 'A micro-app: it owns keys, subscriptions and topics.',
  required: ['id', 'name', 'createdAt'],
  properties: {
    id: { type: 'string', description: 'Its id.' },
    name: { type: 'string', description: 'For people.' },
    origins: { type: 'array', items: { type: 'string' }, description: 'Whose web pages may call with its tokens.' },
    quotas: { type: 'object', properties: QUOTAS, description: 'What it may use.' },
    sdk: { ...SDK_RULE, description: 'Which version of the SDK its pages get; the latest without it.' },
    telemetry: { ...TELEMETRY, description: 'Which part of its clients reports how it goes; none without it.' },
    createdAt: time('When it was made.'),
  },
  examples: [{ id: 'shop', name: 'The shop', createdAt: '2026-11-23T17:20:00.000Z' }],
} as const;

const count = (description: string): Schema => ({ type: 'integer', minimum: 0, description });

export const USAGE = {
  type: 'object',
  description: 'What an app has used. Of other nodes about what they had a second ago, without quotas a minute ago.',
  required: ['app', 'day', 'eventsToday', 'month', 'eventsThisMonth', 'events', 'bytes', 'open', 'quotas'],
  properties: {
    app: { type: 'string', description: 'Whose.' },
    day: { type: 'string', description: 'The day, UTC: year, month and day.' },
    eventsToday: count('Events stored on it.'),
    month: { type: 'string', description: 'The month, UTC: year and month.' },
    eventsThisMonth: count('Events stored in it.'),
    events: count('Events stored since it was first counted.'),
    bytes: count('Bytes of what was published since then, whether it was stored or not.'),
    open: {
      type: 'object',
      description: 'What is open on this node.',
      required: ['connections', 'subscriptions', 'deliveriesInFlight'],
      properties: {
        connections: count('Realtime connections.'),
        subscriptions: count('Configured ones, and those of realtime consumers.'),
        deliveriesInFlight: count('Deliveries under way.'),
      },
    },
    quotas: { type: 'object', properties: QUOTAS, description: 'What it may use.' },
  },
  examples: [
    {
      app: 'shop',
      day: '2026-11-23',
      eventsToday: 4_211,
      month: '2026-11',
      eventsThisMonth: 98_114,
      events: 1_202_003,
      bytes: 633_190_411,
      open: { connections: 12, subscriptions: 3, deliveriesInFlight: 1 },
      quotas: { publishesPerSecond: 100, eventsPerDay: 1_000_000 },
    },
  ],
} as const;

export const KEY = {
  type: 'object',
  description: 'A credential of an app in one environment. The key itself is shown once, when it is made.',
  required: ['id', 'app', 'environment', 'prefix', 'scopes', 'createdAt'],
  properties: {
    id: { type: 'string', description: 'To delete it by.' },
    app: { type: 'string', description: 'Whose it is.' },
    environment: { type: 'string', description: 'Where it counts.' },
    prefix: { type: 'string', description: 'How the key begins, to recognise it by.' },
    scopes: { type: 'array', items: SCOPE, description: 'What it may do.' },
    topics: { type: 'array', items: { type: 'string' }, description: 'Patterns of the topics it is for; all without them.' },
    signs: { const: true, description: 'It signs, and is never sent.' },
    createdAt: time('When it was made.'),
    expiresAt: time('When it ends.'),
    lastUsedAt: time('About: noted once an hour.'),
  },
  examples: [
    {
      id: 'key_2al2k5x7m3qzr4w6y2b3c5d7e2',
      app: 'shop',
      environment: 'default',
      prefix: 'mr_k7q2mzx4',
      scopes: ['publish'],
      topics: ['orders.*'],
      createdAt: '2026-11-23T17:20:00.000Z',
    },
  ],
} as const;

export const NEW_KEY = {
  type: 'object',
  description: 'A key as it is shown this once.',
  required: [...KEY.required, 'key'],
  properties: {
    ...KEY.properties,
    key: { type: 'string', description: 'The key itself. What is kept of it is a hash; of one that signs also the key, sealed.' },
  },
  examples: [{ ...KEY.examples[0], key: 'mr_k7q2mzx4_…' }],
} as const;

const APP_PARAM = { type: 'string', description: 'The id of the app.', examples: ['shop'] };
const ofApp = { tag: 'apps', path: { app: APP_PARAM }, querystring: NO_QUERY } as const;

const ofKey = {
  tag: 'apps',
  querystring: NO_QUERY,
  path: {
    app: APP_PARAM,
    key: { type: 'string', description: 'The id of the key.', examples: ['key_2al2k5x7m3qzr4w6y2b3c5d7e2'] },
  },
} as const;

export const APP_CALLS = {
  list: {
    operationId: 'listApps',
    tag: 'apps',
    summary: 'List apps',
    description: 'All of the environment for an admin key; its own for any other.',
    querystring: LIST,
    response: { 200: said('A page of apps.', pageOf(APP)) },
  },
  get: {
    operationId: 'getApp',
    summary: 'Read an app',
    ...ofApp,
    response: { 200: said('The app.', APP, { ETag: ETAG }) },
  },
  put: {
    operationId: 'putApp',
    summary: 'Make or change an app',
    description:
      'The id has 1 to 64 letters, digits, dots, dashes or underscores and starts with a letter or digit. The body may be empty; what it does not name stays as it is.',
    ...ofApp,
    body: APP_SETTINGS,
    matches: true,
    problems: ['already_exists'],
    response: { 200: said('It was changed.', APP, { ETag: ETAG }), 201: said('It was made.', APP, { ETag: ETAG }) },
  },
  patch: {
    operationId: 'changeApp',
    summary: 'Change an app',
    description: 'Only what is named; null gives a setting its default back, and takes a quota away (RFC 7396).',
    ...ofApp,
    body: APP_CHANGE,
    matches: true,
    response: { 200: said('It was changed.', APP, { ETag: ETAG }) },
  },
  usage: {
    operationId: 'getUsage',
    summary: 'Read what an app has used',
    ...ofApp,
    response: { 200: said('What it has used.', USAGE) },
  },
  delete: {
    operationId: 'deleteApp',
    summary: 'Delete an app with its keys',
    description: 'Refused with `conflict` while it has subscriptions, and for the app of the key that asks.',
    ...ofApp,
    matches: true,
    problems: ['conflict'],
    response: { 204: DONE },
  },
} as const satisfies Record<string, Call>;

export const KEY_CALLS = {
  create: {
    operationId: 'createKey',
    summary: 'Make a key',
    description: 'The answer shows the key, this once.',
    ...ofApp,
    body: KEY_SETTINGS,
    problems: ['invalid_topic', 'not_available_yet'],
    response: { 201: said('The key.', NEW_KEY, { 'Cache-Control': NO_STORE }) },
  },
  list: {
    operationId: 'listKeys',
    summary: 'List the keys of an app',
    description: 'In the order in which they were made.',
    ...ofApp,
    querystring: LIST,
    response: { 200: said('A page of keys.', pageOf(KEY)) },
  },
  get: {
    operationId: 'getKey',
    summary: 'Read a key',
    description: 'What it may do, never the key itself.',
    ...ofKey,
    response: { 200: said('The key.', KEY) },
  },
  self: {
    operationId: 'getOwnKey',
    tag: 'apps',
    summary: 'Read the key that asks',
    description: 'What it may do, whose it is, and when it ends: for whoever has a key and nothing else.',
    querystring: NO_QUERY,
    response: { 200: said('The key.', KEY) },
  },
  delete: {
    operationId: 'deleteKey',
    summary: 'Delete a key',
    description: 'It opens nothing any more, at once.',
    ...ofKey,
    response: { 204: DONE },
  },
} as const satisfies Record<string, Call>;
