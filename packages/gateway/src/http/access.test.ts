/** Promise 8 at the door: an app neither sees nor touches what is another's. And the life of keys and apps. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { type World, world } from '../../test/world.ts';

/** The subscription `crm-orders` of the app `crm`, with a delivery, a dead letter and a replay to its name. */
async function crm(t: TestContext): Promise<{ world: World; delivery: string; deadLetter: string; operation: string }> {
  const made = await world(t);
  const endpoint = await receiver(t, (response) => void response.writeHead(400).end('no'));
  await made.ask('PUT /v1/subscriptions/crm-orders', {
    json: { app: 'crm', topics: ['orders.*'], deliver: { webhook: { url: endpoint.url } }, retry: { schedule: [] } },
  });
  await made.ask('POST /v1/events', { json: { type: 'orders.created' } });
  await made.notice('dead');
  const { json } = await made.ask('POST /v1/subscriptions/crm-orders/replay', { json: { from: 'latest' } });
  const list = async (of: string): Promise<{ id: string }[]> =>
    (await made.ask(`GET /v1/${of}?subscription=crm-orders`)).json.data;
  for (;;) {
    const [[delivery], [deadLetter]] = [await list('deliveries'), await list('dead-letters')];
    if (delivery !== undefined && deadLetter !== undefined)
      return { world: made, delivery: delivery.id, deadLetter: deadLetter.id, operation: json.id };
    await new Promise(setImmediate);
  }
}

describe('an app', { timeout: 30_000 }, () => {
  test("finds nothing where another app's subscription is, whatever it asks", async (t) => {
    const { world, delivery, deadLetter, operation } = await crm(t);
    const shop = await world.key('shop', ['publish', 'subscribe', 'manage']);
    const replay = { json: { from: 'earliest' } };
    const routes: [string, object?][] = [
      ['GET /v1/subscriptions/crm-orders'],
      ['PATCH /v1/subscriptions/crm-orders', { json: { concurrency: 1 } }],
      ['DELETE /v1/subscriptions/crm-orders'],
      ['POST /v1/subscriptions/crm-orders/pause'],
      ['POST /v1/subscriptions/crm-orders/resume'],
      ['POST /v1/subscriptions/crm-orders/replay', replay],
      ['GET /v1/deliveries?subscription=crm-orders'],
      [`GET /v1/deliveries/${delivery}`],
      ['GET /v1/dead-letters?subscription=crm-orders'],
      [`GET /v1/dead-letters/${deadLetter}`],
      [`POST /v1/dead-letters/${deadLetter}/redrive`],
      [`POST /v1/dead-letters/${deadLetter}/discard`],
      ['POST /v1/dead-letters/redrive', { json: { subscription: 'crm-orders' } }],
      [`GET /v1/operations/${operation}`],
      [`POST /v1/operations/${operation}/cancel`],
      ['GET /v1/apps/crm'],
    ];
    for (const [route, ask = {}] of routes) {
      const answer = await world.ask(route, { ...ask, key: shop });
      assert.deepEqual([answer.status, answer.json?.code], [404, 'not_found'], route);
      const nothing = JSON.parse(JSON.stringify(ask).replace('crm-orders', 'nothing')) as object;
      const own = await world.ask(route.replace(/crm-orders|crm$/, 'nothing'), { ...nothing, key: shop });
      assert.equal(
        own.json?.detail.replace("'nothing'", 'x'),
        // In quotes: an id of random letters may hold a crm as well.
        answer.json.detail.replace(/'crm(-orders)?'/, 'x'),
        `${route} tells that it is there`,
      );
    }
    assert.deepEqual((await world.ask('GET /v1/subscriptions', { key: shop })).json.data, []);
    assert.deepEqual((await world.ask('GET /v1/operations', { key: shop })).json.data, []);
    assert.deepEqual(
      (await world.ask('GET /v1/apps', { key: shop })).json.data.map((one: { id: string }) => one.id),
      ['shop'],
    );
    assert.equal((await world.ask('GET /v1/subscriptions/crm-orders')).json.state, 'active');
  });

  test('has all of that for its own subscription', async (t) => {
    const { world, delivery, deadLetter, operation } = await crm(t);
    const key = await world.key('crm', ['subscribe', 'manage']);
    for (const route of [
      'GET /v1/subscriptions/crm-orders',
      `GET /v1/deliveries/${delivery}`,
      `GET /v1/dead-letters/${deadLetter}`,
      `GET /v1/operations/${operation}`,
      'GET /v1/apps/crm',
    ]) {
      assert.equal((await world.ask(route, { key })).status, 200, route);
    }
  });

  test('neither subscribes nor replaces as another one', async (t) => {
    const { world } = await crm(t);
    const key = await world.key('shop', ['manage']);
    const body = { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } };
    const other = await world.ask('PUT /v1/subscriptions/mine', { key, json: { ...body, app: 'crm' } });
    assert.deepEqual([other.status, other.json.pointer], [403, '/app']);
    assert.equal((await world.ask('PUT /v1/subscriptions/crm-orders', { key, json: body })).json.code, 'already_exists');
    assert.equal((await world.ask('PUT /v1/subscriptions/mine', { key, json: body })).json.app, 'shop');
  });

  test('for some topics does not take a subscription of others over', async (t) => {
    const { world } = await crm(t);
    const grant = { scopes: ['manage', 'subscribe'], topics: ['billing.*'] };
    const { key } = (await world.ask('POST /v1/apps/crm/keys', { json: grant })).json;
    const mine = { topics: ['billing.*'], deliver: { webhook: { url: 'http://127.0.0.1:9/thief' } } };
    const taken = await world.ask('PUT /v1/subscriptions/crm-orders', { key, json: mine });
    assert.deepEqual([taken.status, taken.json.code], [403, 'forbidden']);
    assert.deepEqual((await world.ask('GET /v1/subscriptions/crm-orders')).json.topics, ['orders.*']);
    assert.equal((await world.ask('PUT /v1/subscriptions/crm-bills', { key, json: mine })).status, 201);
  });

  test('declares topics it owns, and changes no others', async (t) => {
    const { ask, key } = await world(t);
    const shop = await key('shop', ['manage']);
    assert.equal((await ask('PUT /v1/topics/parcels.sent', { key: shop })).json.owner, 'shop');
    assert.equal((await ask('PUT /v1/topics/parcels.sent', { key: shop, json: { owner: 'crm' } })).status, 403);
    assert.equal((await ask('PUT /v1/topics/orders.created', { key: shop })).status, 403);
    assert.equal((await ask('DELETE /v1/topics/orders.created', { key: shop })).status, 403);
    assert.equal((await ask('GET /v1/topics/orders.created', { key: shop })).status, 200);
    assert.equal((await ask('DELETE /v1/topics/parcels.sent', { key: shop })).status, 204);
  });

  test('of one environment knows nothing of another one, be it called the same', async (t) => {
    const { world } = await crm(t);
    const staging = await world.key('crm', ['admin'], 'staging');
    assert.equal((await world.ask('GET /v1/subscriptions/crm-orders', { key: staging })).status, 404);
    assert.deepEqual((await world.ask('GET /v1/topics', { key: staging })).json.data, []);
    assert.equal(
      (await world.ask('POST /v1/events', { key: staging, json: { type: 'orders.created' } })).json.code,
      'unknown_topic',
    );
  });
});

describe('a key', { timeout: 30_000 }, () => {
  test('is shown once and kept as a hash', async (t) => {
    const { ask, directory } = await world(t);
    const made = await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'] } });
    assert.equal(made.status, 201);
    assert.match(made.json.key, /^mr_[a-z2-7]{8}_[a-z2-7]{40}$/);
    assert.equal(made.json.prefix, made.json.key.slice(0, 11));
    assert.equal((await ask('POST /v1/events', { key: made.json.key, json: { type: 'orders.created' } })).status, 202);
    const listed = await ask('GET /v1/apps/shop/keys');
    assert.deepEqual(
      listed.json.data.map((one: { id: string }) => one.id),
      [made.json.id],
    );
    assert.ok(!listed.text.includes(made.json.key.slice(12)));
    assert.ok(!JSON.stringify(await directory.list('key', { limit: 100 })).includes(made.json.key.slice(12)));
  });

  test('is listed with the others of its app, page by page', async (t) => {
    const { ask } = await world(t);
    for (let count = 0; count < 3; count++) await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'] } });
    const first = (await ask('GET /v1/apps/shop/keys?limit=2')).json;
    const second = (await ask(`GET /v1/apps/shop/keys?limit=2&cursor=${first.next}`)).json;
    assert.deepEqual([first.data.length, second.data.length, second.next], [2, 1, null]);
    assert.equal(new Set([...first.data, ...second.data].map(({ id }: { id: string }) => id)).size, 3);
  });

  test('that is deleted opens nothing any more', async (t) => {
    const { ask } = await world(t);
    const { json } = await ask('POST /v1/apps/shop/keys', { json: { scopes: ['manage'] } });
    assert.equal((await ask('GET /v1/topics', { key: json.key })).status, 200);
    assert.equal((await ask(`DELETE /v1/apps/shop/keys/${json.id}`)).status, 204);
    const refused = await ask('GET /v1/topics', { key: json.key });
    assert.equal(refused.status, 401);
    assert.match(String(refused.headers['www-authenticate']), /Bearer/);
    assert.equal((await ask(`DELETE /v1/apps/shop/keys/${json.id}`)).status, 404);
  });

  test('that has expired opens nothing any more', async (t) => {
    const { ask, directory, key } = await world(t);
    const text = await key('shop', ['manage']);
    const [found] = (await directory.list('key', { limit: 100 })).filter(({ value }) => value.app === 'shop');
    assert.ok(found);
    await directory.put('key', 'default', found.id, { ...found.value, expiresMs: Date.now() - 1 });
    assert.equal((await ask('GET /v1/topics', { key: text })).status, 401);
  });

  test('is refused with scopes or times that are none, and to all but an admin', async (t) => {
    const { ask, key } = await world(t);
    const cases: [object, string, string][] = [
      [{}, 'invalid_request', '/scopes'],
      [{ scopes: ['root'] }, 'invalid_request', '/scopes/0'],
      [{ scopes: ['publish'], expiresAt: '2020-01-01T00:00:00Z' }, 'invalid_request', '/expiresAt'],
      [{ scopes: ['publish'], expiresAt: 'never' }, 'invalid_request', '/expiresAt'],
      [{ scopes: ['publish'], topics: ['a..b'] }, 'invalid_topic', '/topics/0'],
      [{ scopes: ['publish'], topics: [] }, 'invalid_request', '/topics'],
      [{ scopes: ['admin'], topics: ['a'] }, 'invalid_request', '/topics'],
      [{ scopes: ['publish'], environment: 'Staging!' }, 'invalid_request', '/environment'],
      [{ scopes: ['publish'], audience: 'x' }, 'not_available_yet', '/audience'],
    ];
    for (const [json, code, pointer] of cases) {
      const answer = await ask('POST /v1/apps/shop/keys', { json });
      assert.deepEqual([answer.json.code, answer.json.pointer], [code, pointer]);
    }
    assert.equal((await ask('POST /v1/apps/nobody/keys', { json: { scopes: ['publish'] } })).status, 404);
    const own = await key('shop', ['publish', 'subscribe', 'manage']);
    assert.equal((await ask('POST /v1/apps/shop/keys', { key: own, json: { scopes: ['admin'] } })).status, 403);
  });
});

describe('a key for some topics', { timeout: 30_000 }, () => {
  const scopes = ['publish', 'subscribe', 'manage'];

  test('publishes these and no others, event by event', async (t) => {
    const { ask } = await world(t);
    const { json } = await ask('POST /v1/apps/shop/keys', { json: { scopes, topics: ['orders.created', 'parcels.*'] } });
    assert.deepEqual(json.topics, ['orders.created', 'parcels.*']);
    const { key } = json;
    assert.equal((await ask('POST /v1/events', { key, json: { type: 'orders.created' } })).status, 202);
    assert.deepEqual((await ask('POST /v1/topics/orders.paid/events', { key, body: '1' })).json.code, 'forbidden');
    const batch = await ask('POST /v1/events', { key, json: [{ type: 'orders.paid' }, { type: 'orders.created' }] });
    const [refused, stored] = batch.json.results;
    assert.deepEqual([refused.problem.code, refused.problem.pointer, stored.status], ['forbidden', '/0/type', 'appended']);
  });

  test('subscribes to, reads and manages these and no others', async (t) => {
    const { ask } = await world(t);
    const { key } = (await ask('POST /v1/apps/shop/keys', { json: { scopes, topics: ['orders.created'] } })).json;
    const deliver = { webhook: { url: 'http://127.0.0.1:9' } };
    const put = (id: string, topics: string[], by?: string): ReturnType<typeof ask> =>
      ask(`PUT /v1/subscriptions/${id}`, { key: by, json: { app: 'shop', topics, deliver } });
    assert.equal((await put('wide', ['orders.*'], key)).json.pointer, '/topics');
    assert.equal((await put('wide', ['orders.*'])).status, 201);
    assert.equal((await put('own', ['orders.created'], key)).status, 201);
    assert.equal((await ask('PATCH /v1/subscriptions/own', { key, json: { topics: ['>'] } })).status, 403);
    assert.equal((await ask('POST /v1/subscriptions/wide/pause', { key })).status, 403);
    assert.deepEqual(
      (await ask('GET /v1/subscriptions', { key })).json.data.map(({ id }: { id: string }) => id),
      ['own'],
    );
    assert.equal((await ask('GET /v1/events?topics=orders.paid', { key })).status, 403);
    assert.equal((await ask('GET /v1/events?topics=orders.created', { key })).status, 200);
    assert.equal((await ask('PUT /v1/topics/orders.lost', { key })).status, 403);
  });
});

describe('a key of an environment', { timeout: 30_000 }, () => {
  test('is made by an admin of the first one, with its app; and says when it was last used', async (t) => {
    const { ask } = await world(t);
    const made = await ask('POST /v1/apps/web/keys', { json: { scopes: ['admin'], environment: 'staging' } });
    assert.deepEqual([made.status, made.json.environment, made.json.lastUsedAt], [201, 'staging', undefined]);
    const { key } = made.json;
    assert.equal((await ask('PUT /v1/topics/orders.created', { key })).status, 201);
    assert.deepEqual((await ask('GET /v1/apps', { key })).json.data[0].id, 'web');
    assert.match((await ask('GET /v1/apps/web/keys', { key })).json.data[0].lastUsedAt, /^20/);
    const further = await ask('POST /v1/apps/web/keys', { key, json: { scopes: ['publish'], environment: 'other' } });
    assert.deepEqual([further.status, further.json.pointer], [403, '/environment']);
    assert.equal((await ask('GET /v1/apps/web')).status, 404);
  });
});

describe('apps', { timeout: 30_000 }, () => {
  test('are made, read, renamed and deleted with their keys by an admin', async (t) => {
    const { ask, key } = await world(t);
    assert.equal((await ask('PUT /v1/apps/new', { json: { name: 'New' } })).status, 201);
    assert.equal((await ask('PUT /v1/apps/new', { json: { name: 'Newer' } })).json.name, 'Newer');
    const { json } = await ask('POST /v1/apps/new/keys', { json: { scopes: ['publish'] } });
    assert.equal((await ask('DELETE /v1/apps/new')).status, 204);
    assert.equal((await ask('POST /v1/events', { key: json.key, json: { type: 'orders.created' } })).status, 401);
    assert.equal((await ask('PUT /v1/apps/other', { key: await key('shop', ['manage']) })).status, 403);
    assert.equal((await ask('PUT /v1/apps/a%20b')).json.pointer, '/app');
  });

  test('have origins and quotas, changed one by one and taken away by null', async (t) => {
    const { ask, key } = await world(t);
    const quotas = { publishesPerSecond: 10, eventsPerDay: 1_000 };
    const made = await ask('PUT /v1/apps/new', { json: { quotas, origins: ['https://new.example'] } });
    assert.deepEqual([made.json.quotas, made.json.origins], [quotas, ['https://new.example']]);
    assert.deepEqual((await ask('PUT /v1/apps/new', { json: { name: 'New' } })).json.quotas, quotas, 'what is not named stays');
    const changed = await ask('PATCH /v1/apps/new', { json: { quotas: { publishesPerSecond: null, connections: 5 } } });
    assert.deepEqual(changed.json.quotas, { eventsPerDay: 1_000, connections: 5 });
    const without = await ask('PATCH /v1/apps/new', { json: { quotas: null, origins: null, name: null } });
    assert.deepEqual([without.json.quotas, without.json.origins, without.json.name], [{}, [], 'new']);
    for (const [change, pointer] of [
      [{ quotas: { publishesPerSecond: 0 } }, '/quotas/publishesPerSecond'],
      [{ quotas: { publishesPerSecond: 1.5 } }, '/quotas/publishesPerSecond'],
      [{ quotas: { publishes: 5 } }, '/quotas/publishes'],
      [{ origins: 'https://new.example' }, '/origins'],
    ] as const) {
      const answer = await ask('PATCH /v1/apps/new', { json: change });
      assert.deepEqual([answer.status, answer.json.pointer], [400, pointer], JSON.stringify(change));
    }
    const headers = { 'if-match': '"9-x"' };
    assert.equal((await ask('PATCH /v1/apps/new', { json: { name: 'x' }, headers })).json.code, 'version_mismatch');
    assert.equal((await ask('PATCH /v1/apps/nope', { json: { name: 'x' } })).status, 404);
    const shop = await key('shop', ['publish', 'subscribe', 'manage']);
    assert.equal((await ask('PATCH /v1/apps/shop', { key: shop, json: { quotas: null } })).status, 403);
  });

  test('with subscriptions stay, and so does the one whose key asks', async (t) => {
    const { world } = await crm(t);
    assert.equal((await world.ask('DELETE /v1/apps/crm')).json.code, 'conflict');
    assert.equal((await world.ask('DELETE /v1/apps/default')).json.code, 'conflict');
  });
});
