/** `/sdk`, described. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { NO_QUERY, queryOf, said, time } from './shared.ts';
import type { Call, Header } from './types.ts';

const VERSION = {
  type: 'string',
  minLength: 5,
  maxLength: HTTP_BOUNDS.versionChars,
  description: 'A version of the SDK, of those in `/sdk/manifest.json`.',
  examples: ['0.1.0'],
} as const;

export const SDK_RULE = {
  type: 'object',
  additionalProperties: false,
  properties: {
    pin: { ...VERSION, description: 'This version and no other, also after the gateway was upgraded.' },
    follow: {
      enum: ['patch', 'latest'],
      description:
        '`latest`: that of the gateway, the default. `patch`: the newest one with the major and minor number of `from`.',
    },
    from: { ...VERSION, description: 'With `follow: patch`: the first one that will do.' },
    rollout: {
      type: 'object',
      additionalProperties: false,
      required: ['version', 'percent'],
      properties: {
        version: { ...VERSION, description: 'For these.' },
        percent: {
          type: 'number',
          minimum: 0,
          maximum: 100,
          description: 'How many of the clients: by their ids, always the same ones.',
        },
      },
      description: 'Another version for a part of the clients; the others go by what stands beside it.',
    },
  },
  description:
    'Which version of the SDK `/sdk/millrace.js?app=…` answers: one of `pin`, `follow`; and a `rollout` beside it. Default: the latest.',
  examples: [{ pin: '0.1.0', rollout: { version: '0.2.0', percent: 10 } }],
} as const;

/** A change: `pin` or `follow` replaces what stood there, `rollout: null` ends one. */
export const SDK_RULE_CHANGE = {
  ...SDK_RULE,
  type: ['object', 'null'],
  properties: { ...SDK_RULE.properties, rollout: { ...SDK_RULE.properties.rollout, type: ['object', 'null'] } },
} as const;

const LISTED = {
  version: { type: 'string', description: 'Its version.' },
  url: { type: 'string', description: 'Where it is, from the root of the gateway.' },
  integrity: {
    type: 'string',
    pattern: '^sha384-',
    description: 'For the `integrity` of a script, an import map, or a check of your own.',
  },
} as const;

const MANIFEST = {
  type: 'object',
  description: 'The versions of the SDK that are served here.',
  required: ['versions', 'latest'],
  properties: {
    versions: {
      type: 'array',
      description: 'Newest first.',
      items: {
        type: 'object',
        required: ['version', 'url', 'integrity', 'bytes', 'gzipBytes', 'at'],
        properties: {
          ...LISTED,
          bytes: { type: 'integer', description: 'As it is.' },
          gzipBytes: { type: 'integer', description: 'Compressed.' },
          at: time('When it was first served.'),
        },
      },
    },
    latest: { type: 'string', description: 'That of this gateway.' },
    app: {
      type: 'object',
      description: 'Which one the app gets, where one is named.',
      required: ['version', 'url', 'integrity', 'why'],
      properties: { ...LISTED, why: { enum: ['latest', 'pin', 'patch', 'rollout'], description: 'By which rule.' } },
    },
  },
  examples: [
    {
      versions: [
        {
          version: '0.1.0',
          url: '/sdk/0.1.0/millrace.js',
          integrity: 'sha384-oqVuAfXRKap7fdgcCY5uykM6+R9GqQ8K/uxy9rx7HNQlGYl1kPzQho1wx4JwY8wC',
          bytes: 24_989,
          gzipBytes: 9_934,
          at: '2026-11-23T17:20:00.000Z',
        },
      ],
      latest: '0.1.0',
    },
  ],
} as const;

const header = (description: string): Header => ({ description, required: true, schema: { type: 'string' } });

const FOR_PAGES = {
  'Access-Control-Allow-Origin': header('`*`.'),
  'Cross-Origin-Resource-Policy': header('`cross-origin`.'),
  'X-Content-Type-Options': header('`nosniff`.'),
  'Cache-Control': header('For how long it may be kept.'),
  ETag: header('For If-None-Match.'),
} as const;

const SCRIPT = {
  description: 'The script, an ES module; compressed with br or gzip where the client takes that.',
  headers: { ...FOR_PAGES, 'Millrace-Sdk-Integrity': header('Its digest, as `integrity` has it.') },
  content: { 'text/javascript': { schema: { type: 'string' } } },
} as const;

const KNOWN = { description: 'It is the one that is known.' };

const text = { type: 'string', minLength: 1, maxLength: HTTP_BOUNDS.textChars } as const;

const WHO = queryOf({
  app: { ...text, description: 'The app whose rule counts (`sdk` of the app). Without one: the latest.', examples: ['shop'] },
  client: {
    ...text,
    maxLength: HTTP_BOUNDS.clientChars,
    description: 'Who asks, the same at every time: by it a rollout finds its part. Without it: none of that part.',
    examples: ['user-42'],
  },
  environment: { ...text, description: 'Of the app. Default: `default`.' },
});

const call = { tag: 'sdk', problems: ['not_found', 'ledger_unavailable', 'ledger_full'] } as const;
const asked = {
  ...call,
  querystring: WHO,
  reads: [{ name: 'If-None-Match', description: 'The ETag that is known.', schema: { type: 'string' } }],
} as const;

export const SDK_CALLS = {
  version: {
    operationId: 'getSdkVersion',
    summary: 'One version of the SDK',
    description: 'An ES module. What an address has once answered it answers always: it may be kept for ever.',
    ...call,
    path: { version: VERSION },
    querystring: NO_QUERY,
    reads: asked.reads,
    response: { 200: SCRIPT, 304: KNOWN },
  },
  chosen: {
    operationId: 'getSdk',
    summary: 'The SDK',
    description:
      'The version that the rule of the app leads to; `Content-Location` names it. Kept for five minutes: so long a change of the rule takes.',
    ...asked,
    response: {
      200: { ...SCRIPT, headers: { ...SCRIPT.headers, 'Content-Location': header('The address of this version.') } },
      304: KNOWN,
    },
  },
  manifest: {
    operationId: 'getSdkManifest',
    summary: 'Which versions there are',
    description: 'With their digests; and, where an app is named, which one it gets and why.',
    ...asked,
    response: { 200: said('The manifest.', MANIFEST, FOR_PAGES), 304: KNOWN },
  },
  signed: {
    operationId: 'getSignedSdkManifest',
    summary: 'The same, signed',
    description:
      'A JWS in compact form, by a key of `/.well-known/jwks.json`: `EdDSA`, `typ` exactly `millrace-sdk+jws`. Its payload is the manifest with `iss`, `iat` and `exp` (it counts for 10 to 15 minutes).',
    ...asked,
    problems: [...call.problems, 'invalid_secret'],
    response: {
      200: {
        description: 'The signed manifest.',
        headers: FOR_PAGES,
        content: { 'application/jose': { schema: { type: 'string' } } },
      },
      304: KNOWN,
    },
  },
} as const satisfies Record<string, Call>;
