/** Secrets that rotate, requests sent to see whether an endpoint works, and endpoints that disable their subscription. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { describe, test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { type Receiver, receiver } from '../../test/receivers.ts';
import { type World, world } from '../../test/world.ts';

async function subscribed(
  t: TestContext,
  {
    webhook = {},
    answer,
    ...members
  }: { webhook?: object; answer?: Parameters<typeof receiver>[1]; [name: string]: unknown } = {},
): Promise<World & { endpoint: Receiver; secret: string }> {
  const made = await world(t);
  const endpoint = await receiver(t, answer);
  const deliver = { webhook: { url: endpoint.url, ...webhook } };
  const created = await made.ask('PUT /v1/subscriptions/s', { json: { topics: ['orders.*'], deliver, ...members } });
  assert.equal(created.status, 201, created.text);
  return { ...made, endpoint, secret: created.json.secret };
}

const publish = ({ ask }: World, data: string): ReturnType<World['ask']> =>
  ask('POST /v1/topics/orders.created/events', { body: data, headers: { 'content-type': 'application/json' } });

/** What an Express receiver does that verifies over the body it parsed. */
function fits({ body, headers }: { body: Buffer; headers: Readonly<Record<string, string>> }, secret: string): boolean {
  const printed = JSON.stringify(JSON.parse(body.toString()));
  return headers['x-signature'] === createHmac('sha256', secret).update(printed).digest('hex');
}

describe('rotating a secret', { timeout: 30_000 }, () => {
  test('signs with both while they overlap, and shows the new one once', async (t) => {
    const made = await subscribed(t);
    const rotated = await made.ask('POST /v1/subscriptions/s/rotate-secret', { json: { overlap: '1h' } });
    assert.deepEqual([rotated.status, rotated.headers['cache-control']], [200, 'no-store']);
    assert.match(rotated.json.secret, /^whsec_/);
    assert.notEqual(rotated.json.secret, made.secret);
    assert.match(rotated.json.previousUntil, /^20/);
    assert.ok(!(await made.ask('GET /v1/subscriptions/s')).text.includes('whsec_'));
    await publish(made, '{"a":1}');
    const { body, headers } = await made.endpoint.request(1);
    for (const secret of [made.secret, rotated.json.secret]) new Webhook(secret).verify(body.toString(), { ...headers });
  });

  test('without an overlap ends the one before at once', async (t) => {
    const made = await subscribed(t);
    const { json } = await made.ask('POST /v1/subscriptions/s/rotate-secret', { json: { overlap: '0s' } });
    await publish(made, '{"a":1}');
    const { body, headers } = await made.endpoint.request(1);
    new Webhook(json.secret).verify(body.toString(), { ...headers });
    assert.throws(() => new Webhook(made.secret).verify(body.toString(), { ...headers }));
  });

  test('of a simple one finds out which secret the receiver has, as what it answers was its first attempt', async (t) => {
    const secret = 'a secret of my own';
    const known: { endpoint?: Receiver } = {};
    const made = await subscribed(t, {
      webhook: { signature: 'simple', secret },
      answer: (response, count) =>
        void response.writeHead(fits(known.endpoint?.requests[count - 1] as never, secret) ? 200 : 403).end(),
    });
    known.endpoint = made.endpoint;
    const own = { secret: 'the next secret of mine' };
    assert.equal((await made.ask('POST /v1/subscriptions/s/rotate-secret', { json: own })).json.secret, own.secret);
    // What Python prints by default: spaces behind colons and commas.
    await publish(made, '{"b": 1.50, "a": [1, 2]}');
    await made.notice('delivered');
    assert.deepEqual(made.endpoint.requests.length, 2);
    const { json } = await made.ask('GET /v1/deliveries?subscription=s');
    assert.deepEqual([json.data[0].outcome, json.data[0].attempts.length], ['delivered', 1]);
    await publish(made, '{}');
    await made.endpoint.request(3);
    assert.ok(fits(made.endpoint.requests[2] as never, secret));
  });

  test('is refused with secrets and overlaps that are none, for stale versions, and beyond ten', async (t) => {
    const made = await subscribed(t);
    const rotate = (json: object, headers = {}): ReturnType<World['ask']> =>
      made.ask('POST /v1/subscriptions/s/rotate-secret', { json, headers });
    for (const [json, code, pointer] of [
      [{ secret: 'short' }, 'invalid_secret', '/secret'],
      [{ secret: made.secret }, 'invalid_secret', '/secret'],
      [{ overlap: '8d' }, 'invalid_request', '/overlap'],
      [{ overlap: 'soon' }, 'invalid_request', '/overlap'],
      [{ key: 1 }, 'invalid_request', '/key'],
    ] as const) {
      const answer = await rotate(json);
      assert.deepEqual([answer.json.code, answer.json.pointer], [code, pointer], answer.text);
    }
    assert.equal((await rotate({}, { 'if-match': '"9-x"' })).status, 412);
    for (let times = 0; times < 9; times++) assert.equal((await rotate({})).status, 200);
    assert.equal((await rotate({})).json.code, 'conflict');
    assert.equal((await rotate({ overlap: '0s' })).status, 200);
    assert.equal((await made.ask('POST /v1/subscriptions/none/rotate-secret')).status, 404);
  });
});

describe('a test request', { timeout: 30_000 }, () => {
  test('is signed as any other, says what came of it, and records nothing', async (t) => {
    const made = await subscribed(t, { answer: (response, count) => void response.writeHead(count === 1 ? 200 : 418).end('no') });
    const good = await made.ask('POST /v1/subscriptions/s/test');
    assert.deepEqual([good.status, good.json.delivered, good.json.status, good.json.cause], [200, true, 200, '']);
    const { body, headers } = await made.endpoint.request(1);
    new Webhook(made.secret).verify(body.toString(), { ...headers });
    assert.deepEqual(
      [headers['ce-type'], body.toString(), headers['webhook-id']],
      ['millrace.test', '{"test":true}', good.json.webhookId],
    );
    const bad = await made.ask('POST /v1/subscriptions/s/test', { json: { topic: 'orders.created', data: [1] } });
    assert.deepEqual([bad.json.delivered, bad.json.cause, bad.json.snippet], [false, 'http_418', 'no']);
    assert.deepEqual((await made.ask('GET /v1/deliveries?subscription=s')).json.data, []);
    assert.equal((await made.ask('POST /v1/subscriptions/s/test', { json: { topic: 'a..b' } })).json.pointer, '/topic');
    assert.equal((await made.ask('POST /v1/subscriptions/none/test')).status, 404);
  });
});

describe('test requests in a loop', { timeout: 30_000 }, () => {
  test('reach the endpoint at the rate of its subscription, and are told when to come again', async (t) => {
    const made = await subscribed(t, { ratePerSecond: 0.01 });
    assert.equal((await made.ask('POST /v1/subscriptions/s/test')).json.delivered, true);
    for (let times = 0; times < 20; times++) {
      const { status, json, headers } = await made.ask('POST /v1/subscriptions/s/test');
      assert.deepEqual([status, json.code], [429, 'too_many_requests']);
      assert.match(String(headers['retry-after']), /^\d+$/);
    }
    assert.equal(made.endpoint.requests.length, 1);
  });
});

describe('an endpoint that answers 410', { timeout: 30_000 }, () => {
  test('disables its subscription, whose cursor stays: resumed, it goes on where it was', async (t) => {
    const made = await subscribed(t, {
      concurrency: 1,
      answer: (response, count) => void response.writeHead(count === 1 ? 410 : 200).end(),
    });
    await publish(made, '{"n":1}');
    const { cause } = await made.notice('disabled');
    assert.equal(cause, 'gone');
    await publish(made, '{"n":2}');
    const { json } = await made.ask('GET /v1/subscriptions/s');
    assert.deepEqual([json.state, json.disabled.cause], ['disabled', 'gone']);
    const resumed = await made.ask('POST /v1/subscriptions/s/resume');
    assert.deepEqual([resumed.json.state, resumed.json.disabled], ['active', undefined]);
    const { body } = await made.endpoint.request(2);
    assert.equal(body.toString(), '{"n":2}');
  });
});

describe('settings of a webhook', { timeout: 30_000 }, () => {
  test('json belongs to simple, goes with it, and disableAfter is a span or false', async (t) => {
    const made = await subscribed(t, {
      webhook: { signature: 'simple', secret: 'sixteen letters!', json: 'as-sent' },
      disableAfter: '36h',
    });
    const { json } = await made.ask('GET /v1/subscriptions/s');
    assert.deepEqual([json.deliver.webhook.json, json.disableAfter], ['as-sent', '36h']);
    await publish(made, '{"a": 1}');
    assert.equal((await made.endpoint.request(1)).body.toString(), '{"a": 1}');
    const patched = await made.ask('PATCH /v1/subscriptions/s', { json: { disableAfter: false } });
    assert.deepEqual([patched.json.disableAfter, patched.json.deliver.webhook.json], [false, 'as-sent']);
    const put = await made.ask('PUT /v1/subscriptions/s', {
      json: { topics: ['orders.*'], deliver: { webhook: { url: made.endpoint.url, signature: 'simple' } } },
    });
    assert.deepEqual([put.json.disableAfter, put.json.deliver.webhook.json], ['5d', 'canonical']);
    const never = await made.ask('PATCH /v1/subscriptions/s', { json: { disableAfter: true } });
    assert.match(never.json.detail, /a text or a number or false/);
    for (const [body, pointer] of [
      [{ disableAfter: true }, '/disableAfter'],
      [{ disableAfter: '1s' }, '/disableAfter'],
      [{ deliver: { webhook: { json: 'pretty' } } }, '/deliver/webhook/json'],
      [{ deliver: { webhook: { signature: 'standard', secret: made.secret, json: 'as-sent' } } }, undefined],
    ] as const) {
      const answer = await made.ask('PATCH /v1/subscriptions/s', { json: body });
      assert.equal(answer.status, 400, answer.text);
      if (pointer !== undefined) assert.equal(answer.json.pointer, pointer, answer.text);
    }
  });

  test('headers of one event go out with its deliveries', async (t) => {
    const made = await subscribed(t, { webhook: { headers: { 'x-a': 'subscription' } } });
    const event = { type: 'orders.created', headers: { 'X-A': 'event', 'X-B': 'event' } };
    assert.equal((await made.ask('POST /v1/events', { json: event })).status, 202);
    const { headers } = await made.endpoint.request(1);
    assert.deepEqual([headers['x-a'], headers['x-b']], ['subscription', 'event']);
    for (const bad of [
      { Authorization: 'x' },
      { 'ce-id': '1' },
      { a: 'b\nc' },
      { a: 1 },
      'a',
      Object.fromEntries([...Array(33).keys()].map((n) => [`x${n}`, ''])),
    ])
      assert.equal((await made.ask('POST /v1/events', { json: { ...event, headers: bad } })).json.code, 'invalid_event');
  });
});
