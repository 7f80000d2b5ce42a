/** Publishing over HTTP: what comes in arrives at a receiver as it was sent, and what is no event is refused clearly. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { type Received, type Receiver, receiver } from '../../test/receivers.ts';
import { type Ask, type World, world } from '../../test/world.ts';
import { LIMITS } from '../limits.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

/** A gateway with a subscription to everything. */
async function delivering(
  t: TestContext,
  options: Parameters<typeof world>[1] = {},
): Promise<{ world: World; endpoint: Receiver; secret: string }> {
  const made = await world(t, options);
  const endpoint = await receiver(t);
  const { json } = await made.ask('PUT /v1/subscriptions/all', {
    json: { topics: ['>'], deliver: { webhook: { url: `${endpoint.url}/hook` } } },
  });
  return { world: made, endpoint, secret: json.secret };
}

async function publish(t: TestContext, ask: Ask, route = 'POST /v1/events'): Promise<Received> {
  const { world, endpoint } = await delivering(t);
  const answer = await world.ask(route, ask);
  assert.equal(answer.status, 202, answer.text);
  return endpoint.request(1);
}

describe('POST /v1/events', { timeout: 30_000 }, () => {
  test('an event comes out as a webhook that the standardwebhooks library verifies', async (t) => {
    const { world, endpoint, secret } = await delivering(t);
    const answer = await world.ask('POST /v1/events', { json: { type: 'orders.created', data: { id: 42 } } });
    assert.equal(answer.status, 202);
    assert.equal(answer.json.status, 'appended');
    const { headers, body } = await endpoint.request(1);
    assert.deepEqual(new Webhook(secret).verify(body.toString(), headers), { id: 42 });
    assert.match(headers['webhook-id'] ?? '', /^msg_[a-z2-7]{26}$/);
    assert.equal(headers['x-idempotency-key'], headers['webhook-id']);
    assert.equal(headers['millrace-subscription'], 'all');
    assert.equal(headers['ce-id'], answer.json.id);
    assert.equal(headers['ce-sequence'], answer.json.position);
  });

  test('payload bytes arrive as they were sent: numbers beyond 2^53, 1.0, spacing, order and __proto__', async (t) => {
    const data = '{ "b":12345678901234567890,  "a":1.0,"__proto__":{"x":1e400},"é":"\\u00e9" }';
    const received = await publish(t, { body: `{"type":"orders.created", "data" : ${data} }`, headers: JSON_TYPE });
    assert.equal(received.body.toString(), data);
  });

  test('so do those of a batch, of a structured event and of binary mode', async (t) => {
    const { world, endpoint } = await delivering(t);
    const data = '[ 12345678901234567890 ]';
    const event = `{"specversion":"1.0","id":"1","source":"/s","type":"orders.created","data":${data}}`;
    await world.ask('POST /v1/events', { body: event, headers: { 'content-type': 'application/cloudevents+json' } });
    await world.ask('POST /v1/events', {
      body: `[${event.replace('"1"', '"2"')}]`,
      headers: { 'content-type': 'application/cloudevents-batch+json' },
    });
    await world.ask('POST /v1/events', {
      body: data,
      headers: { ...JSON_TYPE, 'ce-specversion': '1.0', 'ce-id': '3', 'ce-source': '/s', 'ce-type': 'orders.created' },
    });
    await endpoint.request(3);
    assert.deepEqual(
      endpoint.requests.map(({ headers, body }) => `${headers['ce-id']} ${body.toString()}`).toSorted(),
      [1, 2, 3].map((id) => `${id} ${data}`),
    );
  });

  test('a payload that is no JSON arrives with its content type, byte for byte', async (t) => {
    const body = Buffer.from([0, 255, 13, 10, 128]);
    const received = await publish(t, {
      body,
      headers: {
        'content-type': 'image/png',
        'ce-specversion': '1.0',
        'ce-id': '1',
        'ce-source': '/s',
        'ce-type': 'orders.created',
      },
    });
    assert.deepEqual([...received.body], [...body]);
    assert.equal(received.headers['content-type'], 'image/png');
  });

  test('a batch answers for each event, in order', async (t) => {
    const { world } = await delivering(t);
    const answer = await world.ask('POST /v1/events', {
      json: [
        { type: 'orders.created' },
        { type: 'orders..created' },
        { id: 'x' },
        5,
        { type: 'orders.lost' },
        { type: 'orders.paid' },
      ],
    });
    assert.equal(answer.status, 202);
    const results = answer.json.results as { status?: string; problem?: { code: string; pointer: string } }[];
    assert.deepEqual(
      results.map(({ status, problem }) => status ?? `${problem?.code} ${problem?.pointer}`),
      ['appended', 'invalid_topic /1/type', 'invalid_event /2/type', 'invalid_event /3', 'unknown_topic /4/type', 'appended'],
    );
  });

  test('a batch of which nothing is stored has the status of its first problem', async (t) => {
    const { world } = await delivering(t);
    const answer = await world.ask('POST /v1/events', { json: [{ type: 'orders.lost' }, 5] });
    assert.equal(answer.status, 404);
    assert.deepEqual(
      answer.json.results.map(({ problem }: { problem: { code: string } }) => problem.code),
      ['unknown_topic', 'invalid_event'],
    );
  });

  test('an idempotency key appends once, and refuses other content', async (t) => {
    const { world } = await delivering(t);
    const ask = (id: number) =>
      world.ask('POST /v1/events', { json: { type: 'orders.created', data: { id } }, headers: { 'idempotency-key': 'k1' } });
    const first = await ask(1);
    const second = await ask(1);
    assert.deepEqual(second.json, { ...first.json, status: 'duplicate' });
    const third = await ask(2);
    assert.equal(third.status, 422);
    assert.equal(third.json.code, 'idempotency_key_reused');
  });

  test('a batch of too many events is refused before anything is made of it', async (t) => {
    const { ask } = await world(t);
    // Nobody who parsed it would get as far as to count.
    const body = `[${'{},'.repeat(LIMITS.batchEvents)}{`;
    for (const type of ['application/json', 'application/json; charset=utf-8', 'application/cloudevents-batch+json']) {
      const answer = await ask('POST /v1/events', { body, headers: { 'content-type': type } });
      assert.deepEqual([answer.status, answer.json.code], [413, 'payload_too_large'], type);
    }
    const list = JSON.stringify(Array.from({ length: LIMITS.batchEvents + 1 }, () => ({})));
    const binary = { 'ce-specversion': '1.0', 'ce-type': 'orders.created', 'ce-id': '1', 'ce-source': '/s' };
    const payload = await ask('POST /v1/events', { body: list, headers: { ...binary, 'content-type': 'application/json' } });
    assert.equal(payload.status, 202, payload.text);
    const data = { 'content-type': 'application/json' };
    assert.equal((await ask('POST /v1/topics/orders.created/events', { body: list, headers: data })).status, 202);
  });

  test('a payload alone may be as long as any, and no longer', async (t) => {
    const { ask } = await world(t);
    const route = 'POST /v1/topics/orders.created/events';
    const longest = Buffer.alloc(LIMITS.payloadBytes, '1');
    assert.equal((await ask(route, { body: longest, headers: JSON_TYPE })).status, 202);
    const longer = await ask(route, { body: Buffer.concat([longest, longest]), headers: JSON_TYPE });
    assert.deepEqual([longer.status, longer.json.code], [413, 'payload_too_large']);
    const binary = { ...JSON_TYPE, 'ce-specversion': '1.0', 'ce-type': 'orders.created', 'ce-id': '1', 'ce-source': '/s' };
    const inBinary = await ask('POST /v1/events', { body: Buffer.concat([longest, longest]), headers: binary });
    assert.deepEqual([inBinary.status, inBinary.json.code], [413, 'payload_too_large']);
  });

  test('an idempotency key with a batch is refused', async (t) => {
    const { world } = await delivering(t);
    const answer = await world.ask('POST /v1/events', {
      json: [{ type: 'orders.created' }, { type: 'orders.created' }],
      headers: { 'idempotency-key': 'k1' },
    });
    assert.equal(answer.json.code, 'invalid_request');
  });

  const refusals: Record<string, { ask: Ask; status: number; code: string; pointer?: string; advice?: RegExp }> = {
    'malformed JSON': { ask: { body: '{"type":', headers: JSON_TYPE }, status: 400, code: 'invalid_json' },
    'invalid UTF-8': {
      ask: {
        body: Buffer.concat([Buffer.from('{"type":"orders.created","data":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
        headers: JSON_TYPE,
      },
      status: 400,
      code: 'invalid_json',
    },
    'JSON nested a million deep': { ask: { body: '['.repeat(1_000_000), headers: JSON_TYPE }, status: 400, code: 'invalid_json' },
    'no body': { ask: { headers: JSON_TYPE }, status: 400, code: 'invalid_json' },
    'an empty batch': { ask: { json: [] }, status: 400, code: 'invalid_event' },
    'an event without a type': { ask: { json: { data: 1 } }, status: 400, code: 'invalid_event', pointer: '/type' },
    'an unknown topic': {
      ask: { json: { type: 'orders.lost' } },
      status: 404,
      code: 'unknown_topic',
      pointer: '/type',
      advice: /PUT \/v1\/topics\/orders\.lost/,
    },
    'a topic that is none': { ask: { json: { type: 'orders created' } }, status: 400, code: 'invalid_topic', pointer: '/type' },
    'a member twice': {
      ask: { body: '{"type":"orders.created","type":"orders.paid"}', headers: JSON_TYPE },
      status: 400,
      code: 'invalid_event',
      pointer: '/type',
    },
    'an attribute named __proto__': {
      ask: { body: '{"type":"orders.created","__proto__":{"a":1}}', headers: JSON_TYPE },
      status: 400,
      code: 'invalid_event',
      pointer: '/__proto__',
    },
    'a payload above the inline size': {
      ask: { json: { type: 'orders.created', data: 'x'.repeat(524_288) } },
      status: 413,
      code: 'payload_too_large',
      pointer: '/data',
    },
    'one event of more than 1 MB': {
      ask: { body: `{"type":"orders.created","data":[${'{},'.repeat(400_000)}{}]}`, headers: JSON_TYPE },
      status: 413,
      code: 'payload_too_large',
    },
    'a body above 8 MB': {
      ask: { body: Buffer.alloc(8 * 1024 * 1024 + 1, 0x20), headers: JSON_TYPE },
      status: 413,
      code: 'payload_too_large',
    },
    'a form': {
      ask: { body: '{"type":"a"}', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      status: 415,
      code: 'unsupported_media_type',
      advice: /curl -sS http.*\/v1\/events -H 'Authorization: Bearer YOUR_KEY' -H 'Content-Type: application\/json' -d '\{/,
    },
    'another kind of form': {
      ask: { body: 'x', headers: { 'content-type': 'multipart/form-data; boundary=x' } },
      status: 415,
      code: 'unsupported_media_type',
      advice: /curl/,
    },
    text: { ask: { body: 'x', headers: { 'content-type': 'text/plain' } }, status: 415, code: 'unsupported_media_type' },
    'JSON in another charset': {
      ask: { body: '{}', headers: { 'content-type': 'application/json; charset=latin1' } },
      status: 415,
      code: 'unsupported_media_type',
    },
    'a key without the scope': { ask: { json: { type: 'orders.created' } }, status: 403, code: 'forbidden' },
    'a key that nobody made': {
      ask: { key: `mr_aaaaaaaa_${'a'.repeat(40)}`, json: { type: 'orders.created' } },
      status: 401,
      code: 'unauthorized',
    },
    'no key': { ask: { key: '', json: { type: 'orders.created' } }, status: 401, code: 'unauthorized' },
  };
  for (const [name, { ask, status, code, pointer, advice }] of Object.entries(refusals)) {
    test(`${name}: ${status} ${code}`, async (t) => {
      const { ask: asking, key, errors } = await world(t);
      const answer = await asking(
        'POST /v1/events',
        name === 'a key without the scope' ? { ...ask, key: await key('shop', ['manage']) } : ask,
      );
      assert.equal(answer.status, status, answer.text);
      assert.match(String(answer.headers['content-type']), /^application\/problem\+json/);
      assert.equal(answer.json.code, code);
      assert.equal(answer.json.status, status);
      if (pointer !== undefined) assert.equal(answer.json.pointer, pointer);
      if (advice !== undefined) assert.match(answer.json.advice, advice);
      assert.deepEqual(errors, []);
    });
  }

  test('where it is allowed, an undeclared topic is declared by its first event and owned by the publisher', async (t) => {
    const declared: string[] = [];
    const { world, endpoint } = await delivering(t, {
      undeclared: { onDeclared: (topic, owner) => declared.push(`${topic} ${owner}`) },
    });
    const shop = await world.key('shop', ['publish']);
    const answer = await world.ask('POST /v1/events', {
      key: shop,
      json: [
        { type: 'parcels.sent', data: 1 },
        { type: 'orders.created', data: 2 },
        { type: 'parcels.sent', data: 3 },
        { type: 'bad topic' },
      ],
    });
    assert.deepEqual(
      answer.json.results.map((one: { status?: string }) => one.status),
      ['appended', 'appended', 'appended', undefined],
    );
    await endpoint.request(3);
    assert.deepEqual(declared, ['parcels.sent shop']);
    assert.equal((await world.ask('GET /v1/topics/parcels.sent')).json.owner, 'shop');
  });
});

describe('POST /v1/topics/{topic}/events', { timeout: 30_000 }, () => {
  test('takes bare data, byte for byte', async (t) => {
    const received = await publish(
      t,
      { body: '{ "n" : 12345678901234567890 }', headers: JSON_TYPE },
      'POST /v1/topics/orders.created/events',
    );
    assert.equal(received.body.toString(), '{ "n" : 12345678901234567890 }');
    assert.equal(received.headers['ce-type'], 'orders.created');
    assert.equal(received.headers['content-type'], 'application/json');
  });

  test('takes any content type as it is called', async (t) => {
    const received = await publish(
      t,
      { body: 'a,b\n', headers: { 'content-type': 'text/csv' } },
      'POST /v1/topics/orders.created/events',
    );
    assert.equal(received.body.toString(), 'a,b\n');
    assert.equal(received.headers['content-type'], 'text/csv');
  });

  test('an event without data has none', async (t) => {
    const received = await publish(t, {}, 'POST /v1/topics/orders.created/events');
    assert.equal(received.body.length, 0);
    assert.equal(received.headers['content-type'], undefined);
  });

  test('refuses JSON that is none, forms, and topics that nobody declared', async (t) => {
    const { ask } = await world(t);
    assert.equal(
      (await ask('POST /v1/topics/orders.created/events', { body: '{', headers: JSON_TYPE })).json.code,
      'invalid_json',
    );
    assert.equal(
      (
        await ask('POST /v1/topics/orders.created/events', {
          body: 'a=1',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        })
      ).status,
      415,
    );
    assert.equal((await ask('POST /v1/topics/orders.lost/events', { json: 1 })).json.code, 'unknown_topic');
    assert.equal((await ask('POST /v1/topics/orders%20x/events', { json: 1 })).json.code, 'invalid_topic');
  });
});
