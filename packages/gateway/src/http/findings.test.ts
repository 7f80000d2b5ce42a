/** What is wrong with a request is said in a sentence that one can act on. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Ask, world } from '../../test/world.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const GZIP = { ...JSON_TYPE, 'content-encoding': 'gzip' };
const BINARY = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 'orders.created' };

interface Said {
  readonly route: string;
  readonly ask: Ask;
  readonly code: string;
  readonly pointer?: string;
  readonly detail: RegExp;
  readonly advice?: RegExp;
}

async function says(
  { route, ask, code, pointer, detail, advice }: Said,
  asking: (route: string, ask: Ask) => Promise<{ json: Json }>,
) {
  const { json } = await asking(route, ask);
  assert.deepEqual([json.code, json.pointer], [code, pointer], JSON.stringify(json));
  assert.match(json.detail, detail);
  if (advice !== undefined) assert.match(json.advice, advice);
}

// oxlint-disable-next-line typescript/no-explicit-any -- problems of every kind
type Json = any;

const bad = (route: string, json: unknown, pointer: string, detail: RegExp, advice?: RegExp): Said => ({
  route,
  ask: { json },
  code: 'invalid_request',
  pointer,
  detail,
  ...(advice === undefined ? {} : { advice }),
});

describe('a body', { timeout: 30_000 }, () => {
  const replay = 'POST /v1/subscriptions/s/replay';
  const patch = 'PATCH /v1/subscriptions/s';
  const keys = 'POST /v1/apps/shop/keys';
  const cases: Record<string, Said> = {
    'with a text for an object shows one': bad(
      replay,
      { from: 'earliest', to: 'x' },
      '/to',
      /^'to' is an object, such as \{"url":"https:\/\/test\.example\/hooks"\}$/,
    ),
    'with a text for a flag': bad(replay, { from: 'earliest', dryRun: 'yes' }, '/dryRun', /^'dryRun' is true or false$/),
    'that is a list': bad('PUT /v1/topics/a.b', [], '', /^the body is an object, such as \{"retention":"30d"/),
    'with a word that is none of the allowed names these': bad(
      'PUT /v1/topics/a.b',
      { latency: 'fast' },
      '/latency',
      /^'latency' is one of interactive, standard, bulk$/,
    ),
    'with another such word inside a list': bad(keys, { scopes: ['root'] }, '/scopes/0', /^'scopes\.0' is one of admin, publish/),
    'with a number out of its range': bad(
      'PUT /v1/topics/a.b',
      { maxBytes: 0 },
      '/maxBytes',
      /^'maxBytes' is a whole number from 1 to 524288$/,
    ),
    'with a text that is too long': bad(
      'PUT /v1/apps/x',
      { name: 'x'.repeat(256) },
      '/name',
      /^'name' is a text of 1 to 255 characters$/,
    ),
    'with an empty list': bad(keys, { scopes: [] }, '/scopes', /^'scopes' is a list that is not empty, such as \["publish"\]$/),
    'with something twice': bad(keys, { scopes: ['publish', 'publish'] }, '/scopes', /^'scopes' holds something twice$/),
    'with neither of two alternatives': bad(
      patch,
      { breaker: 5 },
      '/breaker',
      /^'breaker' is false or an object, such as \{"failures":3/,
    ),
    'with a member that one alternative does not have': bad(
      patch,
      { breaker: { x: 1 } },
      '/breaker/x',
      /^'x' is not known here$/,
      /failures, events/,
    ),
    'with a member that was mistyped names the one that was meant': bad(
      'PUT /v1/topics/a.b',
      { retenton: '7d' },
      '/retenton',
      /^'retenton' is not known here \(did you mean 'retention'\?\)$/,
      /^What is known: .*retention/,
    ),
    'with one that must be there and was mistyped': bad(
      keys,
      { scope: ['publish'] },
      '/scopes',
      /^'scopes' is missing: 'scope' is not known here \(did you mean 'scopes'\?\)$/,
    ),
    'with a member deep inside': bad(
      patch,
      { retry: { schedule: [true] } },
      '/retry/schedule/0',
      /^'retry\.schedule\.0' is a text or a number$/,
    ),
    'that is empty says what is missing': bad(
      'PUT /v1/subscriptions/s',
      undefined,
      '/topics',
      /^'topics' is missing$/,
      /^It is a list of 1 to 64 items, such as \["orders\.\*"\]\.$/,
    ),
    'with a member that nobody knows says which are': bad(
      'PUT /v1/topics/a.b',
      { colour: 1 },
      '/colour',
      /^'colour' is not known here$/,
      /^What is known: owner, retention, latency, keyPath, maxBytes\.$/,
    ),
    'that is planned': {
      route: patch,
      ask: { json: { transform: {} } },
      code: 'not_available_yet',
      pointer: '/transform',
      detail: /^'transform' is planned and not available yet$/,
    },
    'whose topics hold a wildcard inside a token': {
      route: keys,
      ask: { json: { scopes: ['publish'], topics: ['orders.*', 'orders.a*'] } },
      code: 'invalid_topic',
      pointer: '/topics/1',
      detail: /the \* in 'orders\.a\*' is a part of the token 'a\*'/,
      advice: /orders\.\*/,
    },
    'that is compressed': {
      route: 'PUT /v1/topics/a.b',
      ask: { body: Buffer.from([31, 139]), headers: GZIP },
      code: 'unsupported_media_type',
      detail: /Content-Encoding: gzip/,
      advice: /uncompressed/,
    },
    'of configuration above its limit': {
      route: 'PUT /v1/topics/a.b',
      ask: { json: { owner: 'x'.repeat(300_000) } },
      code: 'payload_too_large',
      detail: /more than the 262,144 bytes/,
    },
  };
  for (const [name, said] of Object.entries(cases)) test(name, async (t) => says(said, (await world(t)).ask));
});

describe('what is published', { timeout: 30_000 }, () => {
  const publish = (ask: Ask, code: string, detail: RegExp, advice?: RegExp): Said => ({
    route: 'POST /v1/events',
    ask,
    code,
    detail,
    ...(advice === undefined ? {} : { advice }),
  });
  const mistyped = (members: object, pointer: string, detail: RegExp): Said => ({
    ...publish({ json: { type: 'orders.created', ...members } }, 'invalid_event', detail),
    pointer,
  });
  const cases: Record<string, Said> = {
    'as nothing': publish({ headers: JSON_TYPE }, 'invalid_json', /^there is no body/, /"type":"orders\.created"/),
    'as nothing, of no type': publish({}, 'invalid_json', /^there is no body/),
    'as 1,001 events': publish(
      { json: Array.from({ length: 1_001 }, () => ({ type: 'orders.created' })) },
      'payload_too_large',
      /at most 1,000 events/,
      /x-ndjson/,
    ),
    'as a body above 8 MB': publish(
      { body: Buffer.alloc(8 * 1024 * 1024 + 1, 0x20), headers: JSON_TYPE },
      'payload_too_large',
      /8,388,608 bytes/,
    ),
    'with its data mistyped, an object': mistyped(
      { dta: { n: 1 } },
      '/dta',
      /^the attribute 'dta' must be .* \(did you mean 'data'\?\)$/,
    ),
    'with its data mistyped, a text': mistyped(
      { dtaa: 'x' },
      '/dtaa',
      /^'dtaa' is not known \(did you mean 'data'\?\), and there is no data/,
    ),
    'with its data in capitals': mistyped({ Data: 1 }, '/Data', /^'Data' is no attribute name: .* \(did you mean 'data'\?\)$/),
    'with an object that is near to nothing': mistyped(
      { customer: {} },
      '/customer',
      /must be a string, an integer or a boolean$/,
    ),
    compressed: publish({ body: Buffer.from([31, 139]), headers: GZIP }, 'unsupported_media_type', /gzip/, /uncompressed/),
    'in binary mode as JSON that is none': publish(
      { body: '{"a":', headers: { ...JSON_TYPE, ...BINARY } },
      'invalid_json',
      /not valid JSON/,
    ),
  };
  for (const [name, said] of Object.entries(cases)) {
    test(name, async (t) => {
      const { ask } = await world(t);
      await says(said, ask);
      assert.deepEqual((await ask('GET /v1/events?from=earliest')).json.data, []);
    });
  }

  test('compressed is told what is taken (RFC 9110, 15.5.16); called `identity` it is not compressed', async (t) => {
    const { ask } = await world(t);
    const refused = await ask('POST /v1/topics/orders.created/events', { body: Buffer.from([31, 139]), headers: GZIP });
    assert.deepEqual([refused.status, refused.headers['accept-encoding']], [415, 'identity']);
    const taken = await ask('POST /v1/events', { json: { type: 'orders.created' }, headers: { 'content-encoding': 'identity' } });
    assert.equal(taken.status, 202);
  });

  test('in binary mode as no JSON, and called so, is taken as it is', async (t) => {
    const { ask } = await world(t);
    const { status } = await ask('POST /v1/events', { body: '{"a":', headers: { 'content-type': 'text/plain', ...BINARY } });
    assert.equal(status, 202);
  });
});

describe('a query', { timeout: 30_000 }, () => {
  test('with a parameter that was mistyped names the one that was meant', async (t) => {
    const { json } = await (await world(t)).ask('GET /v1/topics?limt=1');
    assert.deepEqual([json.pointer, json.detail], ['/query/limt', "'limt' is not known here (did you mean 'limit'?)"]);
  });

  test('with a parameter that nobody knows is refused, at every address', async (t) => {
    const { ask, app } = await world(t, { metrics: { contentType: 'text/plain', text: async () => '', isPublic: true } });
    const { paths } = (await app.inject('/openapi.json')).json() as { readonly paths: Readonly<Record<string, object>> };
    const addresses = Object.entries(paths).flatMap(([path, operations]) => ('get' in operations ? [path] : []));
    assert.ok(addresses.length > 15);
    for (const path of addresses) {
      const { status, json } = await ask(
        `GET ${path.replaceAll(/[{}]/g, '')}?${/deliveries$|dead-letters$/.test(path) ? 'subscription=s&' : ''}nonsense=1`,
      );
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', '/query/nonsense'], path);
    }
  });

  test('with a parameter twice, or one that is missing, says so', async (t) => {
    const { ask } = await world(t);
    const twice = (await ask('GET /v1/topics?limit=1&limit=2')).json;
    assert.deepEqual([twice.pointer, twice.detail], ['/query/limit', "'limit' is there more than once"]);
    const missing = (await ask('GET /v1/deliveries')).json;
    assert.deepEqual([missing.pointer, missing.detail], ['/query/subscription', "'subscription' is missing"]);
  });
});

describe('who asks without a key that counts', { timeout: 30_000 }, () => {
  test('is told what is wrong with the header, and never what stood in it', async (t) => {
    const { ask, admin } = await world(t);
    const cases: [string | undefined, RegExp][] = [
      [undefined, /^there is no Authorization header$/],
      ['Basic dXNlcjpwYXNz', /says 'Basic', but a key is sent as 'Bearer'$/],
      [admin, /holds the key alone: 'Bearer' and a space go before it$/],
      ['sk_live_123', /says something else, but a key is sent as 'Bearer'$/],
      ['Bearer sk_live_123', /^the key is not known, or it has expired$/],
      ['Bearer', /^the key is empty: the Authorization header says 'Bearer' and nothing behind it$/],
      ['Bearer  ', /^the key is empty: /],
      ['bearer', /^the key is empty: /],
      ['', /^the Authorization header is empty$/],
    ];
    for (const [authorization, detail] of cases) {
      const { status, json, text } = await ask('GET /v1/topics', {
        key: '',
        headers: authorization === undefined ? {} : { authorization },
      });
      assert.equal(status, 401);
      assert.match(json.detail, detail);
      assert.ok(!/dXNlc|sk_live|mr_[a-z2-7]{8}/.test(text), text);
    }
  });
});
