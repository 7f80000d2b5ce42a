/** `/v1/tokens` and the keys that sign them, described. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { DONE, durationIn, NO_QUERY, NO_STORE, said, time, timeIn } from './shared.ts';
import type { Call } from './types.ts';

const SCOPE = { enum: ['publish', 'subscribe'] } as const;
const TEXT = { type: 'string', minLength: 1, maxLength: HTTP_BOUNDS.textChars } as const;
const JTI = 'tok_2al2k5x7m3qzr4w6y2b3c5d7e2';
const KID = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k';

export const TOKEN_SETTINGS = {
  type: 'object',
  additionalProperties: false,
  required: ['scopes', 'topics'],
  properties: {
    scopes: {
      type: 'array',
      minItems: 1,
      uniqueItems: true,
      items: SCOPE,
      description: 'What it may do; no more than the key that asks.',
      examples: [['subscribe']],
    },
    topics: {
      type: 'array',
      minItems: 1,
      maxItems: HTTP_BOUNDS.keyTopics,
      uniqueItems: true,
      items: { type: 'string' },
      description: 'Patterns of the topics it is for; no others than those of the key.',
      examples: [['orders.*']],
    },
    ttl: durationIn('How long it counts: `30s` to `15m`. Default: `10m`.', '10m'),
    audience: {
      ...TEXT,
      description:
        'Who is to take it, where that is somebody else who verifies it with the published keys: an edge, a service of yours. The gateway refuses such a token. Default: the gateway.',
    },
    subject: { ...TEXT, description: 'Whom it is for, in your own words: the id of a user.', examples: ['user-42'] },
    origin: { ...TEXT, description: 'The one origin whose pages may use it, out of those of the app. Default: all of these.' },
    app: { ...TEXT, description: 'Whose token it is; only an admin key may name another app than its own.' },
  },
  examples: [{ scopes: ['subscribe'], topics: ['orders.*'], subject: 'user-42' }],
} as const;

export const NEW_TOKEN = {
  type: 'object',
  description: 'A token, shown this once: `Authorization: Bearer` and the token.',
  required: ['token', 'jti', 'expiresAt', 'app', 'scopes', 'topics', 'audience'],
  properties: {
    token: { type: 'string', description: 'A JWT (EdDSA). What is in it is signed, not hidden.' },
    jti: { type: 'string', description: 'Its id, to revoke it by.' },
    expiresAt: time('When it ends.'),
    app: { type: 'string', description: 'Whose it is.' },
    scopes: { type: 'array', items: SCOPE, description: 'What it may do.' },
    topics: { type: 'array', items: { type: 'string' }, description: 'Patterns of the topics it is for.' },
    audience: { type: 'string', description: 'Who takes it.' },
  },
  examples: [
    {
      token: 'eyJhbGciOiJFZERTQSIsInR5cCI6Im1pbGxyYWNlK2p3dCJ9.…',
      jti: JTI,
      expiresAt: '2026-11-23T17:30:00.000Z',
      app: 'shop',
      scopes: ['subscribe'],
      topics: ['orders.*'],
      audience: 'urn:millrace:k7q2mzx4y2b3c5d7e2zr4w6y2b',
    },
  ],
} as const;

export const TOKEN_REVOCATION = {
  type: 'object',
  additionalProperties: false,
  properties: {
    jti: { ...TEXT, description: 'One token, by its id.' },
    app: { ...TEXT, description: 'Whose; without `jti` all that it has made. Only an admin key may name another than its own.' },
    before: timeIn('With `app`: only what was made before. Default: now.'),
  },
  examples: [{ jti: JTI }],
} as const;

export const TOKEN_KEYS = {
  type: 'object',
  description: 'The keys that sign tokens.',
  required: ['data'],
  properties: {
    data: {
      type: 'array',
      description: 'Newest first.',
      items: {
        type: 'object',
        required: ['kid', 'createdAt', 'signsFrom'],
        properties: {
          kid: { type: 'string', description: 'Its id: the thumbprint of RFC 7638.' },
          createdAt: time('When it was made.'),
          signsFrom: time('When it begins to sign: it is published before.'),
          verifiesUntil: time('When it ends, where another one signs.'),
        },
      },
    },
  },
  examples: [{ data: [{ kid: KID, createdAt: '2026-11-23T17:20:00.000Z', signsFrom: '2026-11-23T17:25:00.000Z' }] }],
} as const;

const JWKS = {
  type: 'object',
  description: 'The public keys (RFC 7517).',
  required: ['keys'],
  properties: {
    keys: {
      type: 'array',
      description: 'Newest first.',
      items: {
        type: 'object',
        required: ['kty', 'crv', 'x', 'kid', 'use', 'alg'],
        properties: {
          kty: { const: 'OKP' },
          crv: { const: 'Ed25519' },
          x: { type: 'string' },
          kid: { type: 'string' },
          use: { const: 'sig' },
          alg: { const: 'EdDSA' },
        },
      },
    },
  },
} as const;

const CACHED = { description: 'For how long it may be kept.', required: true, schema: { type: 'string' } };
const VERSION = { description: 'For If-None-Match.', required: true, schema: { type: 'string' } };

const call = { tag: 'tokens', querystring: NO_QUERY } as const;

export const TOKEN_CALLS = {
  create: {
    operationId: 'createToken',
    summary: 'Make a token',
    description:
      'For a browser or a device that must not have a key: the backend of the app asks for it, and hands it on. It counts until it ends or is revoked, and no longer than the key that made it.',
    ...call,
    body: TOKEN_SETTINGS,
    problems: ['invalid_topic', 'not_found', 'invalid_secret'],
    response: { 201: said('The token.', NEW_TOKEN, { 'Cache-Control': NO_STORE }) },
  },
  revoke: {
    operationId: 'revokeTokens',
    summary: 'Revoke tokens',
    description:
      'One, or all that an app has made so far. Here at once, on the other nodes of a cluster within a second; connections that were opened with them are closed.',
    ...call,
    body: TOKEN_REVOCATION,
    problems: ['not_found'],
    response: { 204: DONE },
  },
  keys: {
    operationId: 'listTokenKeys',
    summary: 'List the keys that sign tokens',
    description: 'Never the private parts.',
    ...call,
    response: { 200: said('The keys.', TOKEN_KEYS) },
  },
  rotate: {
    operationId: 'rotateTokenKey',
    summary: 'Rotate the key that signs tokens',
    description:
      'A new one is published and signs five minutes later; the former verifies until its last token has ended. It happens by itself after 30 days (`tokenKeyMs`). Only an admin key of `default` may.',
    ...call,
    body: {
      type: 'object',
      additionalProperties: false,
      properties: {
        now: {
          type: 'boolean',
          description: 'Somebody else may have the key: the new one signs at once, and no token made before counts any more.',
        },
      },
      examples: [{ now: true }],
    },
    problems: ['conflict'],
    response: { 200: said('The keys after it.', TOKEN_KEYS) },
  },
  jwks: {
    operationId: 'getJwks',
    summary: 'The public keys of tokens',
    description:
      'To verify tokens elsewhere: only `EdDSA`, `typ` exactly `millrace+jwt`, your own audience, `exp` and `nbf` with little leeway. What was revoked they do not tell.',
    ...call,
    reads: [{ name: 'If-None-Match', description: 'The ETag that is known.', schema: { type: 'string' } }],
    response: {
      200: said('The keys.', JWKS, { ETag: VERSION, 'Cache-Control': CACHED }),
      304: { description: 'They are those that are known.' },
    },
  },
} as const satisfies Record<string, Call>;
