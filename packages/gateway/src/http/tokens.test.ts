/** Short-lived tokens at the door: what they open, what they never open, and how they end. */
import assert from 'node:assert/strict';
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { calculateJwkThumbprint, createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import { createApp } from './app.ts';
import { type Answer, type World, world } from '../../test/world.ts';
import { systemClock } from '../system-clock.ts';
import { createVault } from '../vault.ts';

interface TokenWorld extends World {
  /** Wall time goes on by so much. */
  later(ms: number): void;
  /** A key of `shop` for `orders.*`, to publish and to read. */
  readonly shop: string;
  token(settings?: object, key?: string): Promise<string>;
  read(token: string, topics?: string): Promise<Answer>;
  publish(token: string, type?: string): Promise<Answer>;
}

async function tokenWorld(t: TestContext): Promise<TokenWorld> {
  let offsetMs = 0;
  const clock = { ...systemClock, now: () => systemClock.now() + offsetMs };
  const made = await world(t, { clock });
  const grant = { scopes: ['publish', 'subscribe'], topics: ['orders.*'] };
  const shop: string = (await made.ask('POST /v1/apps/shop/keys', { json: grant })).json.key;
  return {
    ...made,
    shop,
    later: (ms) => void (offsetMs += ms),
    async token(settings = {}, key = shop) {
      const json = { scopes: ['publish', 'subscribe'], topics: ['orders.*'], ...settings };
      const answer = await made.ask('POST /v1/tokens', { key, json });
      assert.equal(answer.status, 201, answer.text);
      return answer.json.token;
    },
    read: (token, topics = 'orders.created') => made.ask(`GET /v1/events?from=earliest&topics=${topics}`, { key: token }),
    publish: (token, type = 'orders.created') => made.ask('POST /v1/events', { key: token, json: { type } }),
  };
}

const codeOf = ({ status, json }: Answer): [number, string] => [status, json?.code];

describe('a token', { timeout: 60_000 }, () => {
  test('publishes and reads what it was made for, and says when it ends', async (t) => {
    const { ask, shop, read, publish } = await tokenWorld(t);
    const json = { scopes: ['publish', 'subscribe'], topics: ['orders.created'], ttl: '5m', subject: 'user-42' };
    const { status, headers, json: made } = await ask('POST /v1/tokens', { key: shop, json });
    assert.deepEqual([status, headers['cache-control'], made.app], [201, 'no-store', 'shop']);
    const { exp, iat, jti, sub, aud, iss } = decodeJwt(made.token);
    assert.deepEqual([(exp ?? 0) - (iat ?? 0), jti, sub, aud], [300, made.jti, 'user-42', iss]);
    assert.equal(Date.parse(made.expiresAt), (exp ?? 0) * 1_000);
    assert.equal(decodeProtectedHeader(made.token).typ, 'millrace+jwt');

    assert.equal((await publish(made.token)).status, 202);
    assert.equal((await publish(made.token)).status, 202);
    assert.equal((await read(made.token)).json.data.length, 2);
    assert.deepEqual(codeOf(await publish(made.token, 'orders.paid')), [403, 'forbidden']);
    assert.deepEqual(codeOf(await read(made.token, 'orders.paid')), [403, 'forbidden']);
    assert.deepEqual(codeOf(await read(made.token, '>')), [403, 'forbidden']);
  });

  test('is for nothing else, not even to make another one', async (t) => {
    const { ask, token } = await tokenWorld(t);
    const key = await token();
    for (const route of [
      'GET /v1/apps',
      'GET /v1/apps/shop',
      'GET /v1/apps/shop/usage',
      'GET /v1/topics',
      'GET /v1/subscriptions',
      'GET /v1/deliveries',
      'GET /v1/keys/self',
      'GET /v1/token-keys',
      'POST /v1/token-keys/rotate',
      'POST /v1/tokens/revoke',
    ])
      assert.deepEqual(codeOf(await ask(route, { key })), [403, 'forbidden'], route);
    const json = { scopes: ['subscribe'], topics: ['orders.*'] };
    assert.deepEqual(codeOf(await ask('POST /v1/tokens', { key, json })), [403, 'forbidden']);
  });

  test('never may more than the key that makes it, nor be of another app', async (t) => {
    const { ask, key } = await tokenWorld(t);
    const grant = { scopes: ['subscribe'], topics: ['orders.created'] };
    const reader: string = (await ask('POST /v1/apps/shop/keys', { json: grant })).json.key;
    const make = async (json: object, by = reader): Promise<[number, string, string]> => {
      const answer = await ask('POST /v1/tokens', { key: by, json });
      return [answer.status, answer.json.code, answer.json.pointer];
    };
    assert.deepEqual(await make({ scopes: ['publish'], topics: ['orders.created'] }), [403, 'forbidden', '/scopes']);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.*'] }), [403, 'forbidden', '/topics']);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.created'], app: 'crm' }), [403, 'forbidden', '/app']);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['a..b'] }), [400, 'invalid_topic', '/topics/0']);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.created'], ttl: '16m' }), [
      400,
      'invalid_request',
      '/ttl',
    ]);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.created'], ttl: '29s' }), [
      400,
      'invalid_request',
      '/ttl',
    ]);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.created'], ttl: 'soon' }), [
      400,
      'invalid_request',
      '/ttl',
    ]);
    assert.deepEqual(await make({ scopes: ['admin'], topics: ['orders.created'] }), [400, 'invalid_request', '/scopes/0']);
    const manager = await key('shop', ['manage']);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: ['orders.*'] }, manager), [403, 'forbidden', '/scopes']);
    const long = Array.from({ length: 64 }, (_, at) => `orders.${'x'.repeat(200)}${at}`);
    assert.deepEqual(await make({ scopes: ['subscribe'], topics: long }, await key('shop', ['subscribe'])), [
      400,
      'invalid_request',
      '/topics',
    ]);
  });

  test('of an admin is of the app that it names, and not an admin itself', async (t) => {
    const { ask, admin, token, publish, read } = await tokenWorld(t);
    const made = await token({ app: 'crm', topics: ['>'] }, admin);
    assert.equal((await publish(made)).status, 202);
    assert.equal((await read(made)).json.data[0].event.source, '/apps/crm');
    assert.deepEqual(codeOf(await ask('GET /v1/apps/crm', { key: made })), [403, 'forbidden']);
    const nowhere = await ask('POST /v1/tokens', { json: { scopes: ['publish'], topics: ['>'], app: 'nope' } });
    assert.deepEqual(codeOf(nowhere), [404, 'not_found']);
  });

  test('sees events for its own app, and none for another audience', async (t) => {
    const { ask, token, read, key } = await tokenWorld(t);
    for (const audience of ['shop', 'crm']) await ask('POST /v1/events', { json: { type: 'orders.created', audience } });
    const seen = async (by: string): Promise<string[]> =>
      (await read(by)).json.data.map(({ event }: { event: { audience: string } }) => event.audience);
    assert.deepEqual(await seen(await token()), ['shop']);
    assert.deepEqual(await seen(await token({}, await key('crm', ['publish', 'subscribe']))), ['crm']);
  });

  test('ends at its time, which clients can tell from being revoked', async (t) => {
    const { token, publish, later } = await tokenWorld(t);
    const [seen, unseen] = [await token({ ttl: '30s' }), await token({ ttl: '30s' })];
    assert.equal((await publish(seen)).status, 202);
    later(36_000);
    for (const one of [seen, unseen, seen]) {
      const answer = await publish(one);
      assert.deepEqual(codeOf(answer), [401, 'token_expired']);
      assert.equal(answer.headers['www-authenticate'], 'Bearer realm="millrace", error="invalid_token"');
    }
  });

  test('is revoked by its id, by its own app alone, at once', async (t) => {
    const { ask, shop, token, publish, key } = await tokenWorld(t);
    const [one, other] = [await token(), await token()];
    const { jti } = decodeJwt(one);
    assert.equal((await publish(one)).status, 202);
    const crm = await key('crm', ['subscribe']);
    assert.equal((await ask('POST /v1/tokens/revoke', { key: crm, json: { jti } })).status, 204);
    assert.equal((await publish(one)).status, 202, 'the word of another app has no effect');
    assert.equal((await ask('POST /v1/tokens/revoke', { key: shop, json: { jti } })).status, 204);
    assert.deepEqual(codeOf(await publish(one)), [401, 'token_revoked']);
    assert.equal((await publish(other)).status, 202);
  });

  test('is revoked with all that its app has made so far; what is made later counts', async (t) => {
    const { ask, shop, token, publish, later, key } = await tokenWorld(t);
    const before = [await token(), await token()];
    const crm = await token({}, await key('crm', ['publish', 'subscribe']));
    assert.equal((await publish(before[0] ?? '')).status, 202);
    assert.deepEqual(codeOf(await ask('POST /v1/tokens/revoke', { key: shop, json: { app: 'crm' } })), [403, 'forbidden']);
    assert.equal((await ask('POST /v1/tokens/revoke', { key: shop, json: { app: 'shop' } })).status, 204);
    for (const one of before) assert.deepEqual(codeOf(await publish(one)), [401, 'token_revoked']);
    later(2);
    assert.equal((await publish(await token())).status, 202, 'also in the same second');
    assert.equal((await publish(crm)).status, 202);
    const future = new Date(systemClock.now() + 3_600_000).toISOString();
    for (const json of [{}, { before: future }, { jti: 'x', before: future }, { app: 'shop', before: future }])
      assert.deepEqual(codeOf(await ask('POST /v1/tokens/revoke', { key: shop, json })), [400, 'invalid_request']);
  });

  test('is revoked with all of its app, also where the clock was set back since that was made', async (t) => {
    const { ask, token, publish, later } = await tokenWorld(t);
    later(-3_000);
    const made = await token();
    assert.equal((await publish(made)).status, 202);
    assert.equal((await ask('POST /v1/tokens/revoke', { json: { app: 'shop' } })).status, 204);
    assert.deepEqual(codeOf(await publish(made)), [401, 'token_revoked']);
  });

  test('counts no longer than the key that made it, and its app', async (t) => {
    const { ask, shop, admin, token, publish, later } = await tokenWorld(t);
    const made = await token();
    assert.equal((await publish(made)).status, 202);
    const { id } = (await ask('GET /v1/keys/self', { key: shop })).json;
    assert.equal((await ask(`DELETE /v1/apps/shop/keys/${id}`)).status, 204);
    assert.deepEqual(codeOf(await publish(made)), [401, 'token_revoked']);
    const ofCrm = await token({ app: 'crm' }, admin);
    assert.equal((await publish(ofCrm)).status, 202);
    assert.equal((await ask('DELETE /v1/apps/crm')).status, 204);
    assert.deepEqual(codeOf(await publish(ofCrm)), [401, 'token_revoked']);
    later(1);
    assert.equal((await ask('PUT /v1/apps/crm', { json: {} })).status, 201);
    assert.deepEqual(codeOf(await publish(ofCrm)), [401, 'token_revoked'], 'nor of one that is made again');
    assert.equal((await publish(await token({ app: 'crm' }, admin))).status, 202);
  });

  test('for another audience is for whoever that is, and not for the gateway', async (t) => {
    const { token, publish } = await tokenWorld(t);
    assert.deepEqual(codeOf(await publish(await token({ audience: 'edge-1' }))), [401, 'token_audience']);
  });
});

describe('what was forged', { timeout: 60_000 }, () => {
  interface Attack {
    readonly name: string;
    readonly forge: (parts: Parts) => string | Promise<string>;
    readonly code?: string;
  }
  interface Parts {
    readonly token: string;
    readonly header: Record<string, unknown>;
    readonly claims: Record<string, unknown>;
    /** What the gateway publishes. */
    readonly publicKey: KeyObject;
    readonly other: KeyObject;
  }
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = (header: object, claims: object, key: KeyObject): Promise<string> =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg: 'EdDSA', ...header }).sign(key);
  const hmac = (header: object, claims: object, key: string | Buffer): string => {
    const body = `${part(header)}.${part(claims)}`;
    return `${body}.${createHmac('sha256', key).update(body).digest('base64url')}`;
  };
  const ATTACKS: readonly Attack[] = [
    { name: 'alg none, unsigned', forge: ({ header, claims }) => `${part({ ...header, alg: 'none' })}.${part(claims)}.` },
    { name: 'alg None', forge: ({ header, claims }) => `${part({ ...header, alg: 'None' })}.${part(claims)}.` },
    {
      name: 'alg none with the old signature',
      forge: ({ token, header, claims }) => `${part({ ...header, alg: 'none' })}.${part(claims)}.${token.split('.')[2]}`,
    },
    {
      name: 'HS256 with the public key as PEM',
      forge: ({ header, claims, publicKey }) =>
        hmac({ ...header, alg: 'HS256' }, claims, publicKey.export({ type: 'spki', format: 'pem' })),
    },
    {
      name: 'HS256 with the public key raw',
      forge: ({ header, claims, publicKey }) =>
        hmac({ ...header, alg: 'HS256' }, claims, Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url')),
    },
    { name: 'another key under the same kid', forge: ({ header, claims, other }) => signed(header, claims, other) },
    {
      name: 'another key that it brings along',
      forge: ({ header, claims, other }) =>
        signed({ ...header, jwk: createPublicKey(other).export({ format: 'jwk' }) }, claims, other),
    },
    {
      name: 'a kid that leads elsewhere',
      forge: ({ header, claims, other }) => signed({ ...header, kid: '../../etc/passwd' }, claims, other),
      code: 'token_key_unknown',
    },
    { name: 'no kid', forge: ({ header, claims, other }) => signed({ ...header, kid: undefined }, claims, other) },
    {
      name: 'claims changed after signing',
      forge: ({ token, claims }) => `${token.split('.')[0]}.${part({ ...claims, topics: ['>'] })}.${token.split('.')[2]}`,
    },
    { name: 'cut off', forge: ({ token }) => token.slice(0, -8) },
    { name: 'five parts, as encrypted ones have', forge: ({ token }) => `${token}.x.y` },
    { name: 'no JWT', forge: () => 'a.b.c' },
    { name: 'another typ', forge: ({ header, claims, other }) => signed({ ...header, typ: 'JWT' }, claims, other) },
    { name: 'too long', forge: ({ token }) => `${token}${'A'.repeat(9_000)}` },
  ];
  for (const { name, forge, code = 'unauthorized' } of ATTACKS)
    test(`opens nothing: ${name}`, async (t) => {
      const { ask, token, publish } = await tokenWorld(t);
      const real = await token();
      const { keys } = (await ask('GET /.well-known/jwks.json', { key: '' })).json;
      const forged = await forge({
        token: real,
        header: decodeProtectedHeader(real),
        claims: decodeJwt(real),
        publicKey: createPublicKey({ key: keys[0], format: 'jwk' }),
        other: generateKeyPairSync('ed25519').privateKey,
      });
      assert.deepEqual(codeOf(await publish(forged)), [401, code]);
      assert.equal((await publish(real)).status, 202, 'the real one still does');
    });

  test('with the very key of the gateway is no token where a claim is wrong', async (t) => {
    const vault = createVault(randomBytes(32));
    const { directory, gateway, ledger, shop } = await tokenWorld(t);
    // A second node with a vault of its own: it makes a key that this test can open.
    const app = await createApp({ gateway, directory, ledger, vault, clock: systemClock, version: '0', isReady: () => true });
    t.after(() => app.close());
    const ring = await directory.get('keyring', 'default', 'tokens');
    const [own] = ring?.value.keys ?? [];
    assert.ok(own?.sealed !== undefined);
    const d = vault.open(own.sealed);
    const key = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', x: own.x, d }, format: 'jwk' });
    const publish = async (header: object, claims: object): Promise<[number, string]> => {
      const authorization = `Bearer ${await signed({ typ: 'millrace+jwt', kid: own.kid, ...header }, claims, key)}`;
      const payload = { type: 'orders.created' };
      const answer = await app.inject({ method: 'POST', url: '/v1/events', headers: { authorization }, payload });
      return [answer.statusCode, answer.json().code];
    };
    const bought = await app.inject({
      method: 'POST',
      url: '/v1/tokens',
      headers: { authorization: `Bearer ${shop}` },
      payload: { scopes: ['publish'], topics: ['orders.*'] },
    });
    const claims = decodeJwt(bought.json().token);
    const seconds = claims.iat ?? 0;
    assert.deepEqual(await publish({}, claims), [202, undefined]);
    assert.deepEqual(await publish({ typ: 'JWT' }, claims), [401, 'unauthorized']);
    assert.deepEqual(await publish({ typ: 'application/millrace+jwt' }, claims), [401, 'unauthorized']);
    assert.deepEqual(await publish({}, { ...claims, exp: seconds - 60 }), [401, 'token_expired']);
    assert.deepEqual(await publish({}, { ...claims, exp: undefined }), [401, 'unauthorized']);
    assert.deepEqual(await publish({}, { ...claims, nbf: seconds + 60 }), [401, 'unauthorized']);
    assert.deepEqual(await publish({}, { ...claims, iss: 'urn:millrace:other' }), [401, 'unauthorized']);
    assert.deepEqual(await publish({}, { ...claims, aud: 'other' }), [401, 'token_audience']);
    assert.deepEqual(await publish({}, { ...claims, aud: undefined }), [401, 'token_audience']);
    assert.deepEqual(await publish({}, { ...claims, scopes: ['admin'] }), [401, 'unauthorized']);
    assert.deepEqual(await publish({}, { ...claims, env: 'staging' }), [401, 'token_revoked']);
    assert.deepEqual(await publish({}, { ...claims, topics: ['billing.*'] }), [403, 'forbidden']);
    assert.deepEqual(await publish({}, { ...claims, jti: undefined }), [401, 'unauthorized']);
  });
});

describe('the keys that sign tokens', { timeout: 60_000 }, () => {
  test('are published, and a library of somebody else verifies a token with them', async (t) => {
    const { app, ask, token } = await tokenWorld(t);
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const keys = createRemoteJWKSet(new URL(`http://127.0.0.1:${port}/.well-known/jwks.json`));
    const made = await token({ audience: 'edge-1', subject: 'user-42' });
    const { payload } = await jwtVerify(made, keys, { algorithms: ['EdDSA'], typ: 'millrace+jwt', audience: 'edge-1' });
    assert.deepEqual([payload.sub, payload['app'], payload['topics']], ['user-42', 'shop', ['orders.*']]);
    await assert.rejects(jwtVerify(made, keys, { algorithms: ['EdDSA'], audience: 'edge-2' }));

    const published = await ask('GET /.well-known/jwks.json', { key: '' });
    assert.equal(published.headers['cache-control'], 'public, max-age=300');
    assert.ok(!published.text.includes('"d"'));
    for (const one of published.json.keys) assert.equal(one.kid, await calculateJwkThumbprint(one));
    const headers = { 'if-none-match': String(published.headers['etag']) };
    assert.equal((await ask('GET /.well-known/jwks.json', { key: '', headers })).status, 304);
  });

  test('are rotated with an overlap: the new one is published first, the former verifies to the end of its last token', async (t) => {
    const { ask, token, publish, later } = await tokenWorld(t);
    const kidOf = (text: string): string => decodeProtectedHeader(text).kid ?? '';
    const first = await token();
    const rotated = await ask('POST /v1/token-keys/rotate');
    assert.equal(rotated.status, 200);
    assert.deepEqual(codeOf(await ask('POST /v1/token-keys/rotate')), [409, 'conflict']);
    const [next, former] = rotated.json.data;
    assert.equal(former.kid, kidOf(first));
    assert.equal((await ask('GET /.well-known/jwks.json')).json.keys.length, 2);
    assert.equal(kidOf(await token()), former.kid, 'who caches the keys does not have the new one yet');
    later(300_001);
    const second = await token();
    assert.equal(kidOf(second), next.kid);
    for (const one of [first, second]) assert.equal((await publish(one)).status, 202);
    later(15 * 60_000);
    assert.deepEqual(
      (await ask('GET /v1/token-keys')).json.data.map(({ kid }: { kid: string }) => kid).includes(former.kid),
      true,
    );
    later(6_000);
    assert.deepEqual(
      (await ask('GET /v1/token-keys')).json.data.map(({ kid }: { kid: string }) => kid),
      [next.kid],
    );
  });

  test('are replaced at once where somebody else may have one: no token before it counts', async (t) => {
    const { ask, token, publish, key } = await tokenWorld(t);
    const [seen, unseen] = [await token(), await token()];
    assert.equal((await publish(seen)).status, 202);
    assert.equal((await ask('POST /v1/token-keys/rotate', { json: { now: true } })).json.data.length, 1);
    for (const one of [seen, unseen]) assert.deepEqual(codeOf(await publish(one)), [401, 'token_key_unknown']);
    assert.equal((await publish(await token())).status, 202);
    const staging = await key('default', ['admin'], 'staging');
    assert.deepEqual(codeOf(await ask('POST /v1/token-keys/rotate', { key: staging })), [403, 'forbidden']);
  });

  test('are those of all nodes, which hear of a rotation and of what is revoked', async (t) => {
    const vault = createVault(randomBytes(32));
    const { gateway, directory, ledger, shop } = await tokenWorld(t);
    const nodes = await Promise.all(
      [1, 2].map(() => createApp({ gateway, directory, ledger, vault, clock: systemClock, version: '0', isReady: () => true })),
    );
    t.after(() => Promise.all(nodes.map((node) => node.close())));
    const [one, other] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
    const ask = async (
      node: typeof one,
      url: string,
      key: string,
      payload: object,
    ): Promise<{ status: number; json: Answer['json'] }> => {
      const answer = await node.inject({ method: 'POST', url, headers: { authorization: `Bearer ${key}` }, payload });
      return { status: answer.statusCode, json: answer.body === '' ? undefined : answer.json() };
    };
    const grant = { scopes: ['publish'], topics: ['orders.*'] };
    const { token, jti } = (await ask(one, '/v1/tokens', shop, grant)).json;
    assert.equal((await ask(other, '/v1/events', token, { type: 'orders.created' })).status, 202);
    await ask(one, '/v1/tokens/revoke', shop, { jti });
    assert.equal((await ask(other, '/v1/events', token, { type: 'orders.created' })).json.code, 'token_revoked');
  });

  test('are sealed, and never in any answer', async (t) => {
    const { directory, ask } = await tokenWorld(t);
    const ring = await directory.get('keyring', 'default', 'tokens');
    assert.match(ring?.value.keys[0]?.sealed ?? '', /^v1\./);
    const { text } = await ask('GET /v1/token-keys');
    assert.ok(!text.includes('sealed') && !text.includes(ring?.value.keys[0]?.sealed ?? 'x'));
  });
});

describe('a page', { timeout: 60_000 }, () => {
  const own = 'https://shop.example.com';
  async function pages(t: TestContext): Promise<TokenWorld & { call(origin: string, token: string): Promise<Answer> }> {
    const made = await tokenWorld(t);
    assert.equal((await made.ask('PATCH /v1/apps/shop', { json: { origins: [own, 'https://*.shop.example'] } })).status, 200);
    assert.equal((await made.ask('PATCH /v1/apps/crm', { json: { origins: ['https://crm.example'] } })).status, 200);
    const call = (origin: string, token: string): Promise<Answer> =>
      made.ask('POST /v1/events', { key: token, json: { type: 'orders.created' }, headers: { origin } });
    return { ...made, call };
  }
  const preflight = (made: World, origin: string, url = '/v1/events', method = 'POST') =>
    made.app.inject({
      method: 'OPTIONS',
      url,
      headers: {
        origin,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,content-type,ce-type,x-evil',
      },
    });

  test('of an origin of the app may call with its tokens, and read what it is answered', async (t) => {
    const made = await pages(t);
    const token = await made.token();
    const asked = await preflight(made, own);
    assert.equal(asked.statusCode, 204);
    assert.equal(asked.headers['access-control-allow-origin'], own);
    assert.equal(asked.headers['access-control-allow-methods'], 'POST, GET');
    assert.equal(asked.headers['access-control-allow-headers'], 'authorization, content-type, ce-type');
    assert.equal(asked.headers['access-control-allow-credentials'], undefined);
    for (const origin of [own, 'https://eu.shop.example']) {
      const answer = await made.call(origin, token);
      assert.deepEqual([answer.status, answer.headers['access-control-allow-origin']], [202, origin]);
      assert.match(String(answer.headers['access-control-expose-headers']), /retry-after/);
      assert.equal(answer.headers['vary'], 'Origin');
    }
    made.later(16 * 60_000);
    const late = await made.call(own, token);
    assert.deepEqual([late.json.code, late.headers['access-control-allow-origin']], ['token_expired', own]);
  });

  test('of any other origin gets nothing, whatever it calls itself', async (t) => {
    const made = await pages(t);
    const token = await made.token();
    for (const origin of [
      'null',
      'https://evil.example',
      'https://SHOP.example.com',
      'https://shop.example.com:8443',
      'https://shop.example.com.evil.example',
      'https://shop.example.com@evil.example',
      'http://shop.example.com',
      'https://a.b.shop.example',
      'https://shop.example',
      'https://crm.example',
    ]) {
      const answer = await made.call(origin, token);
      assert.deepEqual(codeOf(answer), [403, 'origin_not_allowed'], origin);
      assert.equal(answer.headers['access-control-allow-origin'], undefined, origin);
    }
    const asked = await preflight(made, 'https://evil.example');
    assert.deepEqual([asked.statusCode, asked.headers['access-control-allow-origin']], [403, undefined]);
    assert.equal((await made.call(own, token)).status, 202);
  });

  test('gets nothing with a key, nor where tokens are not taken', async (t) => {
    const made = await pages(t);
    const answer = await made.call('https://crm.example', made.shop);
    assert.deepEqual([answer.status, answer.headers['access-control-allow-origin']], [202, undefined]);
    assert.equal((await preflight(made, own, '/v1/apps')).statusCode, 405);
    assert.equal((await preflight(made, own, '/v1/tokens')).statusCode, 405);
  });

  test('can be the only one that a token is for', async (t) => {
    const made = await pages(t);
    const token = await made.token({ origin: own });
    assert.equal((await made.call(own, token)).status, 202);
    const elsewhere = await made.call('https://eu.shop.example', token);
    assert.deepEqual(codeOf(elsewhere), [403, 'origin_not_allowed']);
    assert.match(elsewhere.json.detail, /this token is for pages of/);
    const foreign = { scopes: ['publish'], topics: ['orders.*'], origin: 'https://crm.example' };
    const refused = await made.ask('POST /v1/tokens', { key: made.shop, json: foreign });
    assert.deepEqual([refused.status, refused.json.pointer], [400, '/origin']);
  });

  test('of another machine gets nothing from a gateway that is for its own, be its origin listed or not', async (t) => {
    const { app, ask, key } = await world(t, { isLocal: true });
    const headers = { host: '127.0.0.1:4400' };
    const origins = ['http://localhost:5173', own];
    assert.equal((await ask('PATCH /v1/apps/shop', { json: { origins }, headers })).status, 200);
    const shop = await key('shop', ['publish']);
    const json = { scopes: ['publish'], topics: ['orders.*'] };
    const { token } = (await ask('POST /v1/tokens', { key: shop, json, headers })).json;
    const call = async (origin: string): Promise<[number, string | undefined]> => {
      const answer = await app.inject({
        method: 'POST',
        url: '/v1/events',
        headers: { ...headers, origin, authorization: `Bearer ${token}` },
        payload: { type: 'orders.created' },
      });
      return [answer.statusCode, answer.json().code];
    };
    assert.deepEqual(await call(own), [403, 'forbidden']);
    assert.deepEqual(await call('http://localhost:3000'), [403, 'origin_not_allowed']);
    assert.deepEqual(await call('http://localhost:5173'), [202, undefined]);
  });

  test('of origins that are none is not listed', async (t) => {
    const made = await tokenWorld(t);
    for (const origin of ['*', 'null', 'https://shop.example.com/', 'HTTPS://shop.example.com']) {
      const answer = await made.ask('PATCH /v1/apps/shop', { json: { origins: [origin] } });
      assert.deepEqual([answer.status, answer.json.pointer], [400, '/origins/0'], origin);
    }
  });
});
