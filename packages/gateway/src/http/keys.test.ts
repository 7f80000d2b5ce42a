/** Keys that are read: one by its id, and the one that asks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { world } from '../../test/world.ts';

describe('a key', { timeout: 30_000 }, () => {
  test('tells whoever has it what it may do, whatever its scopes, and never itself', async (t) => {
    const { ask, admin } = await world(t);
    const settings = { scopes: ['publish'], topics: ['orders.*'], expiresAt: '2099-01-01T00:00:00.000Z' };
    const { key, ...made } = (await ask('POST /v1/apps/shop/keys', { json: settings })).json;
    const own = await ask('GET /v1/keys/self', { key });
    const { lastUsedAt: _used, ...shown } = own.json;
    assert.deepEqual([own.status, shown], [200, made]);
    assert.deepEqual([shown.app, shown.environment, shown.topics], ['shop', 'default', ['orders.*']]);
    assert.ok(!own.text.includes(key.slice(12)));
    assert.deepEqual((await ask('GET /v1/keys/self')).json.scopes, ['admin']);
    assert.equal((await ask('GET /v1/keys/self')).json.prefix, admin.slice(0, 11));
    for (const none of ['', 'mr_aaaaaaaa_b']) assert.equal((await ask('GET /v1/keys/self', { key: none })).status, 401);
  });

  test('is read by an admin, with its app and its id', async (t) => {
    const { ask, key } = await world(t);
    const { key: text, ...made } = (await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'] } })).json;
    const read = await ask(`GET /v1/apps/shop/keys/${made.id}`);
    assert.deepEqual([read.status, read.json], [200, made]);
    assert.ok(!read.text.includes(text.slice(12)));
    for (const route of [`GET /v1/apps/crm/keys/${made.id}`, 'GET /v1/apps/shop/keys/none'])
      assert.equal((await ask(route)).status, 404, route);
    assert.equal((await ask(`GET /v1/apps/shop/keys/${made.id}`, { key: await key('shop', ['manage']) })).status, 403);
    const staging = await key('shop', ['admin'], 'staging');
    assert.equal((await ask(`GET /v1/apps/shop/keys/${made.id}`, { key: staging })).status, 404);
  });
});
