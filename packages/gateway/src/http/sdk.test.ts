/** The SDK as the gateway serves it: real bytes, made from real sources, over a directory that outlives its gateways. */
import assert from 'node:assert/strict';
import { createPublicKey, hash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { compactVerify } from 'jose';
import { type World, world } from '../../test/world.ts';
import { limitsOf } from '../limits.ts';
import type { Directory } from '../ports/directory.ts';

const sha384 = (bytes: string | Buffer): string => `sha384-${hash('sha384', bytes, 'base64')}`;

/** A gateway of this version, with an SDK of its own. */
async function upgraded(
  t: TestContext,
  directory: Directory,
  version: string,
  { says = version, limits = {} }: { readonly says?: string; readonly limits?: Readonly<Record<string, number>> } = {},
): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-sdk-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'millrace.ts');
  writeFileSync(file, `export const which: string = '${says}';\n`);
  return world(t, { directory, version, sdkSource: pathToFileURL(file), limits: limitsOf(limits) });
}

const rule = (at: World, app: string, sdk: unknown) => at.ask(`PATCH /v1/apps/${app}`, { json: { sdk } });

describe('the SDK that is served', { timeout: 60_000 }, () => {
  test('is the one of this tree, an ES module that runs, with the digest that the manifest names', async (t) => {
    const { ask } = await world(t, { version: '0.1.0' });
    const manifest = (await ask('GET /sdk/manifest.json', { key: '' })).json;
    const [{ url, integrity, bytes, version }] = manifest.versions;
    assert.deepEqual([manifest.latest, version, url], ['0.1.0', '0.1.0', '/sdk/0.1.0/millrace.js']);
    const { text, headers } = await ask(`GET ${url}`, { key: '' });
    assert.equal(integrity, sha384(text));
    assert.equal(bytes, Buffer.byteLength(text));
    const sdk = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    assert.deepEqual([typeof sdk.connect, typeof sdk.verify, typeof sdk.receiver], ['function', 'function', 'function']);
    assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(headers['content-type'], 'text/javascript; charset=utf-8');
    assert.equal(headers['access-control-allow-origin'], '*');
    assert.equal(headers['cross-origin-resource-policy'], 'cross-origin');
    assert.equal(headers['x-content-type-options'], 'nosniff');
  });

  test('without a version it is the same bytes, kept for minutes, and not sent again to who has them', async (t) => {
    const { ask } = await upgraded(t, createMemoryDirectory(), '0.1.0');
    const fixed = await ask('GET /sdk/0.1.0/millrace.js', { key: '' });
    const chosen = await ask('GET /sdk/millrace.js', { key: '' });
    assert.equal(chosen.text, fixed.text);
    assert.deepEqual(
      [chosen.headers['content-location'], chosen.headers['cache-control']],
      ['/sdk/0.1.0/millrace.js', 'public, max-age=300'],
    );
    for (const route of ['/sdk/millrace.js', '/sdk/0.1.0/millrace.js', '/sdk/manifest.json', '/sdk/manifest.jws']) {
      const etag = String((await ask(`GET ${route}`, { key: '' })).headers['etag']);
      const again = await ask(`GET ${route}`, { key: '', headers: { 'if-none-match': `"other", ${etag}` } });
      assert.deepEqual([again.status, again.text], [304, ''], route);
    }
  });

  test('answers HEAD as it does GET, without the body', async (t) => {
    const { app } = await world(t, { version: '0.1.0' });
    for (const url of ['/sdk/millrace.js', '/sdk/0.1.0/millrace.js', '/sdk/manifest.json', '/sdk/manifest.jws?app=shop']) {
      const [whole, head] = [await app.inject({ url }), await app.inject({ method: 'HEAD', url })];
      assert.deepEqual([head.statusCode, head.payload], [200, ''], url);
      // Each signature is made anew, and the clock of one answer is not that of the other.
      const alike = ({ date: _date, etag: _etag, ...headers }: typeof head.headers) => headers;
      assert.deepEqual(alike(head.headers), alike(whole.headers), url);
    }
    const gone = await app.inject({ method: 'HEAD', url: '/sdk/9.9.9/millrace.js' });
    assert.deepEqual([gone.statusCode, gone.payload], [404, '']);
    const other = await app.inject({ method: 'DELETE', url: '/sdk/millrace.js' });
    assert.deepEqual([other.statusCode, other.headers['allow']], [405, 'GET, HEAD']);
  });

  test('comes compressed to who takes that, always with the same content', async (t) => {
    const { app, ask } = await world(t);
    const { text } = await ask('GET /sdk/millrace.js', { key: '' });
    const coded = (accepted: string) => app.inject({ url: '/sdk/millrace.js', headers: { 'accept-encoding': accepted } });
    const [br, gzip, none] = [await coded('gzip, br'), await coded('GZIP;q=0.5, br;q=0'), await coded('br;q=0, identity')];
    assert.deepEqual(
      [br, gzip, none].map(({ headers }) => headers['content-encoding']),
      ['br', 'gzip', undefined],
    );
    assert.equal(brotliDecompressSync(br.rawPayload).toString(), text);
    assert.equal(gunzipSync(gzip.rawPayload).toString(), text);
    assert.equal(none.payload, text);
    assert.equal(br.headers['vary'], 'accept-encoding');
    const { gzipBytes } = (await ask('GET /sdk/manifest.json', { key: '' })).json.versions[0];
    assert.equal(gzip.rawPayload.length, gzipBytes);
  });

  test('has a manifest whose signature the published keys verify, and that no token passes for', async (t) => {
    const { ask } = await upgraded(t, createMemoryDirectory(), '0.1.0');
    const { text } = await ask('GET /sdk/manifest.jws?app=shop', { key: '' });
    const { keys } = (await ask('GET /.well-known/jwks.json', { key: '' })).json;
    const { payload, protectedHeader } = await compactVerify(text, createPublicKey({ key: keys[0], format: 'jwk' }));
    assert.deepEqual(protectedHeader, { alg: 'EdDSA', typ: 'millrace-sdk+jws', kid: keys[0].kid });
    const { iss, iat, exp, ...manifest } = JSON.parse(Buffer.from(payload).toString());
    assert.deepEqual(manifest, (await ask('GET /sdk/manifest.json?app=shop', { key: '' })).json);
    assert.match(iss, /^urn:millrace:/);
    assert.equal(exp - iat, 900);
    const changed = `${text.split('.')[0]}.${Buffer.from(JSON.stringify({ ...manifest, latest: '9.9.9' })).toString('base64url')}.${text.split('.')[2]}`;
    await assert.rejects(compactVerify(changed, createPublicKey({ key: keys[0], format: 'jwk' })));
    assert.equal((await ask('GET /v1/events?topics=orders.paid', { key: text })).status, 401);
  });

  test('a pin survives an upgrade, with its bytes; who follows patches or the latest goes along', async (t) => {
    const directory = createMemoryDirectory();
    const before = await upgraded(t, directory, '0.1.0');
    const old = await before.ask('GET /sdk/millrace.js', { key: '' });
    assert.equal((await rule(before, 'shop', { pin: '0.1.0' })).status, 200);
    assert.equal((await rule(before, 'crm', { follow: 'patch', from: '0.1.0' })).status, 200);

    const patched = await upgraded(t, directory, '0.1.1');
    const now = async (at: World, app: string) => (await at.ask(`GET /sdk/manifest.json?app=${app}`, { key: '' })).json.app;
    assert.deepEqual((await now(patched, 'crm')).version, '0.1.1');

    const after = await upgraded(t, directory, '0.2.0');
    const pinned = await after.ask('GET /sdk/millrace.js?app=shop', { key: '' });
    assert.deepEqual([pinned.text, pinned.headers['content-location']], [old.text, '/sdk/0.1.0/millrace.js']);
    const { app } = (await after.ask('GET /sdk/manifest.json?app=shop', { key: '' })).json;
    assert.deepEqual(app, { version: '0.1.0', url: '/sdk/0.1.0/millrace.js', integrity: sha384(old.text), why: 'pin' });
    assert.deepEqual(await now(after, 'crm'), { ...(await now(after, 'crm')), version: '0.1.1', why: 'patch' });
    assert.deepEqual((await now(after, 'nobody')).version, '0.2.0');
    assert.deepEqual(
      (await after.ask('GET /sdk/manifest.json', { key: '' })).json.versions.map((one: { version: string }) => one.version),
      ['0.2.0', '0.1.1', '0.1.0'],
    );
    // The node that was not upgraded yet has it, too.
    assert.equal((await before.ask('GET /sdk/0.2.0/millrace.js', { key: '' })).status, 200);
  });

  test('an address never answers other bytes: what differs under one version has its digest behind it', async (t) => {
    const directory = createMemoryDirectory();
    const before = await upgraded(t, directory, '0.1.0', { says: 'one' });
    const first = await before.ask('GET /sdk/0.1.0/millrace.js', { key: '' });
    const after = await upgraded(t, directory, '0.1.0', { says: 'two' });
    assert.equal((await after.ask('GET /sdk/0.1.0/millrace.js', { key: '' })).text, first.text);
    const { latest } = (await after.ask('GET /sdk/manifest.json', { key: '' })).json;
    assert.match(latest, /^0\.1\.0\+[0-9a-f]{12}$/);
    const latestBytes = await after.ask(`GET /sdk/${latest}/millrace.js`, { key: '' });
    assert.match(latestBytes.text, /two/);
    assert.equal((await after.ask('GET /sdk/millrace.js', { key: '' })).text, latestBytes.text);
    assert.equal((await rule(after, 'shop', { pin: latest })).status, 200);
    // And back again.
    const again = await upgraded(t, directory, '0.1.0', { says: 'one' });
    assert.equal((await again.ask('GET /sdk/manifest.json', { key: '' })).json.latest, '0.1.0');
  });

  test('what was changed where it is kept is not served', async (t) => {
    const directory = createMemoryDirectory();
    const before = await upgraded(t, directory, '0.1.0');
    await before.ask('GET /sdk/millrace.js', { key: '' });
    const found = await directory.get('sdk', 'default', '0.1.0');
    assert.ok(found);
    await directory.put('sdk', 'default', '0.1.0', { ...found.value, code: `${found.value.code};steal()` });
    const after = await upgraded(t, directory, '0.2.0');
    assert.equal((await after.ask('GET /sdk/0.1.0/millrace.js', { key: '' })).status, 404);
    assert.equal((await after.ask('GET /sdk/manifest.json', { key: '' })).json.versions.length, 1);
  });

  test('so many are kept, the newest, and those that an app needs', async (t) => {
    const directory = createMemoryDirectory();
    for (const version of ['0.1.0', '0.1.1', '0.2.0', '0.3.0', '0.4.0', '0.5.0']) {
      const at = await upgraded(t, directory, version, { limits: { sdkVersions: 3 } });
      await at.ask('GET /sdk/millrace.js', { key: '' });
      if (version === '0.1.0') await rule(at, 'shop', { pin: '0.1.0' });
    }
    const last = await upgraded(t, directory, '0.6.0', { limits: { sdkVersions: 3 } });
    const { versions } = (await last.ask('GET /sdk/manifest.json', { key: '' })).json;
    assert.deepEqual(
      versions.map((one: { version: string }) => one.version),
      ['0.6.0', '0.5.0', '0.1.0'],
    );
  });

  test('two nodes that make it at once keep one', async (t) => {
    const directory = createMemoryDirectory();
    const nodes = await Promise.all([upgraded(t, directory, '0.1.0'), upgraded(t, directory, '0.1.0')]);
    const latest = await Promise.all(nodes.map((node) => node.ask('GET /sdk/manifest.json', { key: '' })));
    assert.deepEqual(latest[0]?.json, latest[1]?.json);
    assert.equal((await directory.list('sdk', { limit: 10 })).length, 1);
  });
});

describe('the rule of an app for its SDK', { timeout: 60_000 }, () => {
  test('is shown with the app, changed in parts, and taken back with null', async (t) => {
    const directory = createMemoryDirectory();
    await (await upgraded(t, directory, '0.1.0')).ask('GET /sdk/millrace.js', { key: '' });
    const at = await upgraded(t, directory, '0.2.0');
    const sdk = async (change: unknown) => (await rule(at, 'shop', change)).json.sdk;
    assert.deepEqual(await sdk({ pin: '0.1.0', rollout: { version: '0.2.0', percent: 10 } }), {
      pin: '0.1.0',
      rollout: { version: '0.2.0', percent: 10 },
    });
    assert.deepEqual(await sdk({ follow: 'patch', from: '0.1.0' }), {
      follow: 'patch',
      from: '0.1.0',
      rollout: { version: '0.2.0', percent: 10 },
    });
    assert.deepEqual((await at.ask('GET /v1/apps/shop')).json.sdk.follow, 'patch');
    assert.deepEqual(await sdk({ rollout: null }), { follow: 'patch', from: '0.1.0' });
    assert.deepEqual((await at.ask('PUT /v1/apps/shop', { json: { name: 'Shop' } })).json.sdk, {
      follow: 'patch',
      from: '0.1.0',
    });
    assert.equal(await sdk({ follow: 'latest' }), undefined);
    assert.deepEqual(await sdk({ pin: '0.1.0' }), { pin: '0.1.0' });
    assert.equal(await sdk(null), undefined);
  });

  test('sends a client to the same side at every time, and the others by what stands beside it', async (t) => {
    const directory = createMemoryDirectory();
    await (await upgraded(t, directory, '0.1.0')).ask('GET /sdk/millrace.js', { key: '' });
    const at = await upgraded(t, directory, '0.2.0');
    await rule(at, 'shop', { pin: '0.1.0', rollout: { version: '0.2.0', percent: 50 } });
    const sides = async () => {
      const clients = Array.from({ length: 20 }, (_, one) => `user-${one}`);
      const all = await Promise.all(
        clients.map((client) => at.ask(`GET /sdk/manifest.json?app=shop&client=${client}`, { key: '' })),
      );
      return all.map(({ json }) => json.app.why);
    };
    const first = await sides();
    assert.deepEqual(
      [...new Set(first)].toSorted((one, other) => (one < other ? -1 : 1)),
      ['pin', 'rollout'],
    );
    assert.deepEqual(await sides(), first);
  });

  test('of versions that are not here, and rules that are none, nothing is taken', async (t) => {
    const { ask } = await upgraded(t, createMemoryDirectory(), '0.1.0');
    const refused = async (sdk: unknown) => {
      const { status, json } = await ask('PATCH /v1/apps/shop', { json: { sdk } });
      return [status, json.code, json.pointer];
    };
    assert.deepEqual(await refused({ pin: '0.9.9' }), [400, 'invalid_request', '/sdk/pin']);
    assert.deepEqual(await refused({ follow: 'patch', from: '0.9.9' }), [400, 'invalid_request', '/sdk/from']);
    const rollout = { version: '0.9.9', percent: 10 };
    assert.deepEqual(await refused({ rollout }), [400, 'invalid_request', '/sdk/rollout/version']);
    assert.deepEqual(await refused({ rollout: { version: '0.1.0', percent: 101 } }), [
      400,
      'invalid_request',
      '/sdk/rollout/percent',
    ]);
    assert.deepEqual(await refused({ pin: '0.1.0', follow: 'latest' }), [400, 'invalid_request', '/sdk']);
    assert.deepEqual(await refused({ follow: 'patch' }), [400, 'invalid_request', '/sdk/from']);
    assert.deepEqual(await refused({ from: '0.1.0' }), [400, 'invalid_request', '/sdk/from']);
    const { json } = await ask('PATCH /v1/apps/shop', { json: { sdk: { pin: '0.9.9' } } });
    assert.match(json.advice, /0\.1\.0/);
    assert.equal((await ask('GET /v1/apps/shop')).json.sdk, undefined);
  });

  test('what was never served is not found, however it is written', async (t) => {
    const { ask } = await upgraded(t, createMemoryDirectory(), '0.1.0');
    for (const version of ['9.9.9', 'latest', '..%2f..%2fetc', randomBytes(200).toString('hex')]) {
      const { status, json } = await ask(`GET /sdk/${version}/millrace.js`, { key: '' });
      assert.deepEqual([status, json.code], [404, 'not_found'], version);
    }
    assert.equal((await ask('GET /sdk/millrace.js?ap=shop', { key: '' })).status, 400);
    assert.equal((await ask(`GET /sdk/millrace.js?app=shop&client=${'a'.repeat(129)}`, { key: '' })).status, 400);
  });
});
