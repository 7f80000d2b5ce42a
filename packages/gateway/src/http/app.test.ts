/** The door itself: topics, health, addresses that are not there, and what is no HTTP. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { world } from '../../test/world.ts';
import { systemClock } from '../system-clock.ts';
import { LIMITS } from '../limits.ts';

/** Sends these bytes to the app over a real socket and resolves with all that comes back. */
async function talk(t: TestContext, text: string): Promise<string> {
  const { app } = await world(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const socket = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1');
  socket.write(text);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

describe('topics', { timeout: 30_000 }, () => {
  test('are declared by an empty PUT, changed by another, listed and deleted', async (t) => {
    const { ask } = await world(t);
    const made = await ask('PUT /v1/topics/parcels.sent');
    assert.equal(made.status, 201);
    assert.deepEqual(
      { ...made.json, createdAt: '' },
      { topic: 'parcels.sent', owner: 'default', retention: '7d', latency: 'standard', maxBytes: 524_288, createdAt: '' },
    );
    const changed = await ask('PUT /v1/topics/parcels.sent', {
      json: { retention: '36h', latency: 'bulk', keyPath: '$.customer.id', maxBytes: 100 },
      headers: { 'if-match': String(made.headers.etag) },
    });
    assert.deepEqual(
      [changed.status, changed.json.retention, changed.json.keyPath, changed.json.createdAt],
      [200, '36h', '$.customer.id', made.json.createdAt],
    );
    assert.equal((await ask('PUT /v1/topics/parcels.sent', { headers: { 'if-match': String(made.headers.etag) } })).status, 412);
    assert.equal(
      (await ask('POST /v1/events', { json: { type: 'parcels.sent', data: 'x'.repeat(100) } })).json.code,
      'payload_too_large',
    );
    assert.deepEqual(
      (await ask('GET /v1/topics?limit=2')).json.data.map(({ topic }: { topic: string }) => topic),
      ['orders.created', 'orders.paid'],
    );
    assert.equal((await ask('DELETE /v1/topics/parcels.sent')).status, 204);
    assert.equal((await ask('GET /v1/topics/parcels.sent')).status, 404);
    assert.equal((await ask('POST /v1/events', { json: { type: 'parcels.sent' } })).json.code, 'unknown_topic');
  });

  test('are refused where a member or the name is none', async (t) => {
    const { ask } = await world(t);
    const cases: [string, object, string, string][] = [
      ['a.b', { retention: '1s' }, 'invalid_request', '/retention'],
      ['a.b', { retention: 'long' }, 'invalid_request', '/retention'],
      ['a.b', { retention: true }, 'invalid_request', '/retention'],
      ['a.b', { latency: 'fast' }, 'invalid_request', '/latency'],
      ['a.b', { keyPath: '$..id' }, 'invalid_request', '/keyPath'],
      ['a.b', { maxBytes: 600_000 }, 'invalid_request', '/maxBytes'],
      ['a.b', { schema: {} }, 'not_available_yet', '/schema'],
      ['a.b', { colour: 1 }, 'invalid_request', '/colour'],
      ['a.*', {}, 'invalid_topic', '/topic'],
    ];
    for (const [topic, json, code, pointer] of cases) {
      const answer = await ask(`PUT /v1/topics/${topic}`, { json });
      assert.deepEqual([answer.json.code, answer.json.pointer], [code, pointer], answer.text);
    }
  });

  test('do not take null for a member, and neither do apps and keys: what is left out has its default', async (t) => {
    const { ask, errors } = await world(t);
    const cases: [string, object][] = [];
    for (const name of ['owner', 'retention', 'latency', 'keyPath', 'maxBytes'])
      cases.push(['PUT /v1/topics/a.b', { [name]: null }]);
    cases.push(['PUT /v1/apps/a', { name: null }]);
    for (const name of ['scopes', 'topics', 'expiresAt', 'environment'])
      cases.push(['POST /v1/apps/shop/keys', { scopes: ['publish'], [name]: null }]);
    for (const list of ['scopes', 'topics']) cases.push(['POST /v1/apps/shop/keys', { scopes: ['publish'], [list]: [null] }]);
    for (const [route, json] of cases) {
      const answer = await ask(route, { json });
      const [name = ''] = Object.keys(json).slice(-1);
      assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_request'], `${route} ${JSON.stringify(json)}`);
      assert.ok(answer.json.pointer.startsWith(`/${name}`), answer.text);
    }
    for (const route of ['PUT /v1/topics/a.b', 'PUT /v1/apps/a', 'POST /v1/apps/shop/keys']) {
      const answer = await ask(route, { body: 'null', headers: { 'content-type': 'application/json' } });
      assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_request'], route);
    }
    assert.deepEqual(errors, []);
  });

  test('as configuration are refused above 256 KB, and as anything but JSON', async (t) => {
    const { ask } = await world(t);
    assert.equal((await ask('PUT /v1/topics/a.b', { json: { owner: 'x'.repeat(300_000) } })).status, 413);
    assert.equal(
      (
        await ask('PUT /v1/topics/a.b', {
          body: 'retention=7d',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      ).json.code,
      'unsupported_media_type',
    );
    assert.equal(
      (await ask('PUT /v1/topics/a.b', { body: '{', headers: { 'content-type': 'application/json' } })).json.code,
      'invalid_json',
    );
    assert.equal((await ask('PUT /v1/topics/a.b', { json: [] })).json.code, 'invalid_request');
  });
});

describe('the door', { timeout: 30_000 }, () => {
  test('tells its health to everybody, and nothing else without a key', async (t) => {
    const { ask } = await world(t);
    const health = await ask('GET /v1/health', { key: '' });
    assert.deepEqual(
      { ...health.json, now: '' },
      { status: 'ready', version: '0.0.0', now: '', transports: ['http', 'websocket', 'sse', 'pull'] },
    );
    assert.equal((await ask('GET /livez', { key: '' })).status, 200);
    assert.equal((await ask('GET /readyz', { key: '' })).status, 200);
    for (const route of [
      'topics',
      'apps',
      'subscriptions',
      'deliveries',
      'dead-letters',
      'operations',
      'apps/default/keys',
      'operations/x',
    ]) {
      assert.equal((await ask(`GET /v1/${route}`, { key: '' })).status, 401, route);
    }
  });

  test('says what is not there, and which methods what is there takes', async (t) => {
    const { ask } = await world(t);
    assert.equal((await ask('GET /v1/streams')).json.code, 'not_found');
    // What is left of a WebSocket where a proxy takes its header away.
    assert.match((await ask('GET /v1/stream')).json.detail, /for WebSockets/);
    const wrong = await ask('DELETE /v1/events');
    assert.deepEqual([wrong.status, wrong.json.code, wrong.headers.allow], [405, 'method_not_allowed', 'POST, GET']);
    assert.equal((await ask('POST /v1/topics/a.b')).headers.allow, 'GET, PUT, DELETE');
    assert.equal((await ask('GET /v1/topics/%E0%A4%A')).json.code, 'invalid_request');
    assert.equal((await ask(`GET /v1/topics/${'x'.repeat(700)}`)).status, 404);
  });

  test('says so too of a body that can not be read: there is nothing that would read it', async (t) => {
    const { ask, errors } = await world(t);
    for (const body of ['', '{"a":', '{"__proto__":1}']) {
      const answer = await ask('POST /v1/nothing', { body, headers: { 'content-type': 'application/json' }, key: '' });
      assert.deepEqual([answer.status, answer.json.code], [404, 'not_found'], body);
    }
    assert.deepEqual(errors, []);
  });

  test('answers an error nobody expected without its text, and passes it on', async (t) => {
    const { ask, ledger, errors } = await world(t);
    await ask('PUT /v1/subscriptions/s', { json: { topics: ['>'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } } });
    ledger.deadLetters = () => Promise.reject(new TypeError('the inside'));
    const answer = await ask('GET /v1/dead-letters?subscription=s');
    assert.deepEqual([answer.status, answer.json.code], [500, 'internal_error']);
    assert.ok(!answer.text.includes('the inside'));
    assert.equal(String(errors[0]), 'TypeError: the inside');
  });

  test('refuses headers above 16 KB with a problem', async (t) => {
    const answer = await talk(t, `GET /v1/health HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 431 /);
    assert.match(answer, /"code":"headers_too_large"/);
  });

  test('refuses what is no HTTP with a problem', async (t) => {
    const answer = await talk(t, 'HELO mail\r\n\r\n');
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /application\/problem\+json/);
  });

  test('waits for a request no longer than its bounds say', async (t) => {
    const { app } = await world(t);
    const { headersTimeout, keepAliveTimeout, maxConnections } = app.server;
    assert.deepEqual(
      [headersTimeout, keepAliveTimeout, maxConnections],
      [LIMITS.headersMs, LIMITS.keepAliveMs, LIMITS.connections],
    );
  });

  test('cuts off a body that trickles, and no other', async (t) => {
    const hand = createHandClock();
    const clock = { ...systemClock, monotonic: hand.monotonic, after: hand.after };
    const { app, admin } = await world(t, { clock });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as net.AddressInfo;
    const head = `authorization: Bearer ${admin}\r\ncontent-type: application/json\r\nhost: x\r\n`;
    const arrived = once(app.server, 'request');
    const slow = net.connect(port, '127.0.0.1');
    slow.write(`POST /v1/events HTTP/1.1\r\n${head}content-length: 100\r\n\r\n{`);
    await arrived;
    const quick = net.connect(port, '127.0.0.1');
    quick.write(`POST /v1/events HTTP/1.1\r\n${head}content-length: 25\r\nconnection: close\r\n\r\n{"type":"orders.created"}`);
    let answer = '';
    for await (const chunk of quick) answer += String(chunk);
    assert.match(answer, /^HTTP\/1\.1 202 /);
    await hand.advance(LIMITS.requestMs + LIMITS.lateCheckMs);
    answer = '';
    for await (const chunk of slow) answer += String(chunk);
    assert.match(answer, /^HTTP\/1\.1 408 [^]*request_timeout/);
  });
});

describe('the door of one machine', { timeout: 30_000 }, () => {
  test('opens for its own addresses, not for names that lead there or pages of elsewhere', async (t) => {
    const { ask } = await world(t, { isLocal: true });
    const status = async (headers: Record<string, string>): Promise<number> => (await ask('GET /v1/topics', { headers })).status;
    for (const host of ['localhost', '127.0.0.1:4400', '[::1]:4400', 'app.localhost:1', 'LOCALHOST'])
      assert.equal(await status({ host }), 200, host);
    for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1', 'localhost:x'])
      assert.equal(await status({ host }), 403, host);
    for (const origin of ['http://localhost:3000', 'https://127.0.0.1'])
      assert.equal(await status({ host: 'localhost', origin }), 200);
    for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example', 'file://'])
      assert.equal(await status({ host: 'localhost', origin }), 403, origin);
    const open = await world(t);
    assert.equal((await open.ask('GET /v1/topics', { headers: { host: 'gateway.example' } })).status, 200);
  });
});

describe('a page with a key', { timeout: 30_000 }, () => {
  const asPage = (origin: string) => ({ json: [], headers: { host: '127.0.0.1:4400', origin } });

  test('may connect on its own machine, to try things out, and is told so where it may not', async (t) => {
    const local = await world(t, { isLocal: true });
    assert.equal((await local.ask('POST /v1/pull', asPage('http://localhost:5173'))).status, 200);
    const elsewhere = await local.ask('POST /v1/pull', asPage('https://shop.example'));
    assert.equal(elsewhere.status, 403);
    assert.match(elsewhere.json.advice, /^Open the page from this machine.*"millrace start".*with tokens/);
    const open = await world(t);
    const refused = await open.ask('POST /v1/pull', asPage('http://localhost:5173'));
    assert.deepEqual([refused.status, refused.json.detail], [403, 'a page connects with a token, not with a key']);
    assert.match(refused.json.advice, /POST \/v1\/tokens; only a gateway of "millrace dev" takes a key here/);
  });
});

describe('/metrics', { timeout: 30_000 }, () => {
  const shown = (isPublic: boolean) => ({ metrics: { contentType: 'text/plain', text: async () => 'up 1\n', isPublic } });

  test('answers this machine, and others only when told', async (t) => {
    const closed = await world(t, shown(false));
    assert.deepEqual((await closed.ask('GET /metrics', { key: '' })).text, 'up 1\n');
    const forwarded = { key: '', headers: { 'x-forwarded-for': '1.2.3.4' } };
    assert.equal((await closed.ask('GET /metrics', forwarded)).status, 403);
    for (const name of ['forwarded', 'x-real-ip', 'via', 'x-forwarded-host', 'x-forwarded-proto'])
      assert.equal((await closed.ask('GET /metrics', { key: '', headers: { [name]: 'x' } })).status, 403, name);
    const elsewhere = await closed.app.inject({ url: '/metrics', remoteAddress: '10.0.0.1' });
    assert.equal(elsewhere.statusCode, 403);
    const open = await world(t, shown(true));
    assert.equal((await open.ask('GET /metrics', forwarded)).status, 200);
    assert.equal((await (await world(t)).ask('GET /metrics')).status, 404);
  });
});
