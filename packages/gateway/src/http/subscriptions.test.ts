/** Subscriptions over HTTP: made, read, changed, paused, replayed, deleted; and what is refused, with where the fault is. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { type Receiver, receiver } from '../../test/receivers.ts';
import { type Answer, type World, world } from '../../test/world.ts';

async function subscribed(t: TestContext, members: object = {}): Promise<{ world: World; endpoint: Receiver; secret: string }> {
  const made = await world(t);
  const endpoint = await receiver(t);
  const created = await made.ask('PUT /v1/subscriptions/s', { json: bodyFor(endpoint.url, members) });
  assert.equal(created.status, 201, created.text);
  return { world: made, endpoint, secret: created.json.secret };
}

function bodyFor(url: string, members: object = {}): object {
  return { topics: ['orders.*'], deliver: { webhook: { url } }, ...members };
}

async function publish({ ask }: World, ...ids: readonly string[]): Promise<void> {
  for (const id of ids)
    assert.equal(
      (await ask('POST /v1/events', { json: { type: 'orders.created', id, source: '/s', data: { id } } })).status,
      202,
    );
}

const idsOf = ({ requests }: Receiver): string[] => requests.map(({ headers }) => headers['ce-id'] ?? '');

/** Resolves when the run has ended. */
async function ended({ ask }: World, operation: string): Promise<{ state: string }> {
  for (;;) {
    const { json } = await ask(`GET /v1/operations/${operation}`);
    if (json.state !== 'running') return json;
    await new Promise(setImmediate);
  }
}

interface Listed {
  readonly id: string;
  readonly health: { readonly outage?: { readonly cause: string }; readonly failingMs: number; readonly inFlight: number };
}

describe('a subscription', { timeout: 30_000 }, () => {
  test('shows its secret in the answer that makes it, and never again', async (t) => {
    const { world, secret } = await subscribed(t);
    assert.match(secret, /^whsec_/);
    const answers = [
      await world.ask('GET /v1/subscriptions/s'),
      await world.ask('GET /v1/subscriptions'),
      await world.ask('PATCH /v1/subscriptions/s', { json: { concurrency: 2 } }),
      await world.ask('POST /v1/subscriptions/s/pause'),
    ];
    for (const { text, status } of answers) {
      assert.equal(status, 200);
      assert.ok(!/whsec|secret|sealed|v1\./.test(text), text);
    }
  });

  test('is read as it was written, with defaults filled in and its health', async (t) => {
    const { world, endpoint } = await subscribed(t, { filter: { data: { id: ['7'] } }, retry: { schedule: ['5s', 300_000] } });
    const { json, headers } = await world.ask('GET /v1/subscriptions/s');
    const { createdAt, health, ...rest } = json;
    assert.match(createdAt, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual(rest, {
      id: 's',
      app: 'default',
      topics: ['orders.*'],
      filter: { data: { id: ['7'] } },
      deliver: { webhook: { url: `${endpoint.url}/`, signature: 'standard', timeoutMs: 15_000, body: 'data', headers: {} } },
      retry: { schedule: ['5s', '5m'], jitter: 0.2 },
      state: 'active',
      ordering: 'none',
      onDead: 'release',
      concurrency: 16,
      breaker: { failures: 3, events: 10 },
      bounds: { parked: 100_000, parkedBytes: 268_435_456, held: 100_000, deadLetters: 1_000_000 },
      disableAfter: '5d',
    });
    assert.deepEqual(
      { ...health, cursors: {} },
      {
        breaker: 'closed',
        failingMs: 0,
        parked: 0,
        parkedBytes: 0,
        held: 0,
        deadLetters: 0,
        inFlight: 0,
        allowed: 16,
        behindMs: 0,
        cursors: {},
      },
    );
    assert.ok(headers.etag);
  });

  test('made by POST gets the id it names, or one of its own', async (t) => {
    const { ask } = await world(t);
    const named = await ask('POST /v1/subscriptions', { json: { id: 'mine', ...bodyFor('http://127.0.0.1:9') } });
    assert.equal(named.headers.location, '/v1/subscriptions/mine');
    const own = await ask('POST /v1/subscriptions', { json: bodyFor('http://127.0.0.1:9') });
    assert.equal(own.status, 201);
    assert.match(own.json.id, /^sub_[a-z2-7]+$/);
    assert.equal(
      (await ask('POST /v1/subscriptions', { json: { id: 'mine', ...bodyFor('http://127.0.0.1:9') } })).json.code,
      'already_exists',
    );
  });

  test('has a rate as long as one is set: null takes it away, and so does a PUT without it', async (t) => {
    const { world, endpoint } = await subscribed(t, { ratePerSecond: 5 });
    const rate = async (route: string, json: object): Promise<number | undefined> =>
      (await world.ask(`${route} /v1/subscriptions/s`, { json })).json.ratePerSecond;
    assert.equal(await rate('PATCH', { concurrency: 2 }), 5);
    assert.equal(await rate('PATCH', { ratePerSecond: null }), undefined);
    assert.equal(await rate('PATCH', { ratePerSecond: 7 }), 7);
    assert.equal(await rate('PUT', bodyFor(endpoint.url)), undefined);
  });

  test('put again is replaced: what is left out has its default back', async (t) => {
    const { world, endpoint } = await subscribed(t, {
      filter: { data: { id: ['7'] } },
      concurrency: 3,
      onDead: 'hold',
      breaker: false,
      bounds: { parked: 5 },
      retry: { schedule: ['1s'] },
    });
    const before = (await world.ask('GET /v1/subscriptions/s')).json;
    const again = await world.ask('PUT /v1/subscriptions/s', { json: bodyFor(endpoint.url) });
    assert.equal(again.status, 200);
    assert.equal(again.json.filter, undefined);
    assert.deepEqual(
      [again.json.concurrency, again.json.onDead, again.json.breaker, again.json.bounds.parked, again.json.retry.schedule.length],
      [16, 'release', { failures: 3, events: 10 }, 100_000, 9],
    );
    assert.equal(again.json.createdAt, before.createdAt);
  });

  test('put again by an admin stays with its app, whether that is said or not', async (t) => {
    const { ask } = await world(t);
    const body = bodyFor('http://127.0.0.1:9');
    await ask('PUT /v1/subscriptions/s', { json: { ...body, app: 'crm' } });
    for (const app of [undefined, 'crm', null]) {
      const { status, json, text } = await ask('PUT /v1/subscriptions/s', { json: { ...body, app } });
      assert.deepEqual([status, json.app], [200, 'crm'], text);
    }
    const moved = await ask('PUT /v1/subscriptions/s', { json: { ...body, app: 'shop' } });
    assert.deepEqual([moved.json.code, moved.json.pointer], ['invalid_request', '/app']);
  });

  test('warns after a change as it does when it is made, and says that a from did nothing', async (t) => {
    const { ask } = await world(t);
    await ask('PUT /v1/topics/orders.created', { json: { retention: '1h' } });
    const body = { ...bodyFor('http://127.0.0.1:9'), from: 'earliest' };
    const made = (await ask('PUT /v1/subscriptions/s', { json: body })).json.warnings;
    assert.match(made.join(), /^the retry schedule/);
    const [about, ...rest] = (await ask('PUT /v1/subscriptions/s', { json: body })).json.warnings;
    assert.match(about, /^from .* goes on where it is/);
    assert.deepEqual(rest, made);
    const short = { retry: { schedule: ['1s'] }, disableAfter: '5m' };
    assert.deepEqual((await ask('PATCH /v1/subscriptions/s', { json: short })).json.warnings, []);
    assert.deepEqual((await ask('PATCH /v1/subscriptions/s', { json: { retry: null } })).json.warnings, made);
  });

  test('patched keeps what is not named, and loses its filter by null', async (t) => {
    const { world } = await subscribed(t, { filter: { data: { id: ['7'] } }, concurrency: 3 });
    const patched = await world.ask('PATCH /v1/subscriptions/s', {
      json: { filter: null, deliver: { webhook: { timeoutMs: 1_000 } } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.equal(patched.status, 200, patched.text);
    assert.deepEqual(
      [patched.json.filter, patched.json.concurrency, patched.json.deliver.webhook.timeoutMs],
      [undefined, 3, 1_000],
    );
  });

  /** Every setting that may be left out. */
  const NULLS = {
    filter: null,
    retry: null,
    ordering: null,
    onDead: null,
    concurrency: null,
    ratePerSecond: null,
    breaker: null,
    bounds: null,
    disableAfter: null,
  };
  const WEBHOOK_NULLS = { signature: null, timeoutMs: null, body: null, headers: null, json: null };

  test('takes null for whatever may be left out as if it were left out', async (t) => {
    const { ask } = await world(t);
    const url = 'http://127.0.0.1:9';
    const plain = await ask('POST /v1/subscriptions', { json: bodyFor(url) });
    const settingsOf = ({ json }: Answer): object => ({ ...json, id: '', secret: '', createdAt: '' });
    const nulls = { ...NULLS, app: null, from: null, deliver: { webhook: { url, secret: null, ...WEBHOOK_NULLS } } };
    const posted = await ask('POST /v1/subscriptions', { json: { id: null, topics: ['orders.*'], ...nulls } });
    const put = await ask('PUT /v1/subscriptions/s', { json: { topics: ['orders.*'], ...nulls } });
    assert.deepEqual([posted.status, put.status], [201, 201], posted.text + put.text);
    assert.deepEqual(settingsOf(posted), settingsOf(plain));
    assert.deepEqual(settingsOf(put), settingsOf(plain));
    const again = await ask('PUT /v1/subscriptions/s', { json: { topics: ['orders.*'], ...nulls } });
    assert.equal(again.status, 200, again.text);
    const parts = { retry: { schedule: null, jitter: null }, breaker: { failures: null }, bounds: { parked: null, held: null } };
    const inParts = await ask('POST /v1/subscriptions', { json: bodyFor(url, parts) });
    assert.deepEqual(settingsOf(inParts), settingsOf(plain));
  });

  test('patched with null has the default of any setting back, RFC 7396', async (t) => {
    const { world, endpoint } = await subscribed(t);
    const defaults = (await world.ask('GET /v1/subscriptions/s')).json;
    const set = {
      filter: { data: { id: ['7'] } },
      retry: { schedule: ['1s'], jitter: 0 },
      onDead: 'hold',
      concurrency: 3,
      ratePerSecond: 5,
      breaker: false,
      bounds: { parked: 5 },
      disableAfter: false,
    };
    const webhook = { timeoutMs: 1_000, body: 'event', headers: { a: 'b' } };
    const patch = async (json: object): Promise<Answer> => {
      const answer = await world.ask('PATCH /v1/subscriptions/s', { json });
      assert.equal(answer.status, 200, answer.text);
      return answer;
    };
    const settingsOf = ({ json }: Answer): object => ({ ...json, warnings: [] });
    const { health: _health, ...wanted } = defaults;
    await patch({ ...set, deliver: { webhook } });
    assert.deepEqual(settingsOf(await patch({ ...NULLS, deliver: { webhook: WEBHOOK_NULLS } })), { ...wanted, warnings: [] });
    await patch({ ...set, breaker: { failures: 5 }, deliver: { webhook } });
    const kept = await patch({ retry: { schedule: null }, breaker: { failures: null }, bounds: { parked: null } });
    assert.deepEqual(
      [kept.json.retry, kept.json.breaker, kept.json.bounds.parked, kept.json.concurrency],
      [{ ...wanted.retry, jitter: 0 }, wanted.breaker, 100_000, 3],
    );
    const secret = 'sixteen letters!';
    await patch({ deliver: { webhook: { signature: 'simple', secret, json: 'as-sent' } } });
    assert.equal((await patch({ deliver: { webhook: { json: null } } })).json.deliver.webhook.json, 'canonical');
    assert.equal((await patch({ deliver: { webhook: { url: endpoint.url } } })).json.deliver.webhook.body, 'event');
  });

  test('keeps by null what it needs, with where the fault is', async (t) => {
    const { world } = await subscribed(t, { ordering: 'key' });
    const needed = { topics: null, deliver: null, ordering: null, app: null };
    for (const [member, value] of Object.entries(needed)) {
      const { json } = await world.ask('PATCH /v1/subscriptions/s', { json: { [member]: value } });
      assert.deepEqual([json.code, json.pointer], ['invalid_request', `/${member}`]);
    }
    for (const member of ['url', 'secret']) {
      const { json } = await world.ask('PATCH /v1/subscriptions/s', { json: { deliver: { webhook: { [member]: null } } } });
      assert.deepEqual([json.code, json.pointer], ['invalid_request', `/deliver/webhook/${member}`]);
    }
  });

  test('changes only at the version that If-Match names', async (t) => {
    const { world } = await subscribed(t);
    const { etag } = (await world.ask('GET /v1/subscriptions/s')).headers;
    const headers = { 'if-match': String(etag) };
    const first = await world.ask('PATCH /v1/subscriptions/s', { json: { concurrency: 2 }, headers });
    assert.equal(first.status, 200);
    for (const route of [
      'PATCH /v1/subscriptions/s',
      'PUT /v1/subscriptions/s',
      'DELETE /v1/subscriptions/s',
      'POST /v1/subscriptions/s/pause',
    ]) {
      const late = await world.ask(route, {
        headers,
        ...(route.startsWith('P') && !route.endsWith('pause') ? { json: bodyFor('http://127.0.0.1:9') } : {}),
      });
      assert.equal(late.status, 412, route);
      assert.equal(late.json.code, 'version_mismatch');
    }
    assert.equal(
      (await world.ask('DELETE /v1/subscriptions/s', { headers: { 'if-match': String(first.headers.etag) } })).status,
      204,
    );
    assert.equal((await world.ask('PUT /v1/subscriptions/s', { json: bodyFor('http://127.0.0.1:9'), headers })).status, 404);
  });

  test('deleted is gone', async (t) => {
    const { world } = await subscribed(t);
    assert.equal((await world.ask('DELETE /v1/subscriptions/s')).status, 204);
    for (const route of ['GET', 'DELETE', 'PATCH']) assert.equal((await world.ask(`${route} /v1/subscriptions/s`)).status, 404);
  });

  test('lists come in pages', async (t) => {
    const { ask } = await world(t);
    for (const id of ['c', 'a', 'b']) await ask(`PUT /v1/subscriptions/${id}`, { json: bodyFor('http://127.0.0.1:9') });
    const first = await ask('GET /v1/subscriptions?limit=2');
    assert.deepEqual(
      first.json.data.map((one: { id: string }) => one.id),
      ['a', 'b'],
    );
    const second = await ask(`GET /v1/subscriptions?limit=2&cursor=${first.json.next}`);
    assert.deepEqual(
      second.json.data.map((one: { id: string }) => one.id),
      ['c'],
    );
    assert.equal(second.json.next, null);
    for (const query of ['limit=0', 'limit=501', 'limit=x', 'cursor=%22', 'cursor=WzFd']) {
      const bad = await ask(`GET /v1/subscriptions?${query}`);
      assert.equal(bad.json.code, 'invalid_request');
      assert.equal(bad.json.pointer, `/query/${query.split('=')[0]}`);
    }
  });

  test('in a list tells in short how it is', async (t) => {
    const made = await world(t);
    const dead = await receiver(t, (response) => void response.writeHead(500).end());
    const fine = await receiver(t);
    await made.ask('PUT /v1/subscriptions/fine', { json: bodyFor(fine.url) });
    const settings = { retry: { schedule: [] }, breaker: { events: 1 }, bounds: { deadLetters: 1 } };
    await made.ask('PUT /v1/subscriptions/poor', { json: bodyFor(dead.url, settings) });
    await publish(made, '1');
    await made.notice('breaker_open');
    await made.notice('bound_reached');
    await fine.request(1);
    const rest = { parked: 0, held: 0, inFlight: 0 };
    const wanted = [
      ['fine', undefined, { breaker: 'closed', ...rest, deadLetters: 0 }],
      ['poor', 'http_500', { breaker: 'open', stoppedBy: 'deadLetters', ...rest, deadLetters: 1 }],
    ];
    for (;;) {
      const { data } = (await made.ask('GET /v1/subscriptions')).json;
      const healths = data.map(({ id, health: { outage, failingMs: _ms, ...health } }: Listed) => [id, outage?.cause, health]);
      // An answer that was sent may not have been taken in yet.
      if (data.some(({ health }: Listed) => health.inFlight > 0)) await new Promise(setImmediate);
      else return assert.deepEqual(healths, wanted);
    }
  });

  test('paused gets nothing, resumed gets all', async (t) => {
    const { world, endpoint } = await subscribed(t);
    const control = await receiver(t);
    await world.ask('PUT /v1/subscriptions/control', { json: bodyFor(control.url) });
    assert.equal((await world.ask('POST /v1/subscriptions/s/pause')).json.state, 'paused');
    await publish(world, '1', '2');
    await control.request(2);
    assert.deepEqual(idsOf(endpoint), []);
    assert.equal((await world.ask('POST /v1/subscriptions/s/resume')).json.state, 'active');
    await endpoint.request(2);
    assert.deepEqual(idsOf(endpoint).toSorted(), ['1', '2']);
  });

  test('begins now, at the first event that is there, or at a time', async (t) => {
    const { world } = await subscribed(t);
    await publish(world, '1');
    await new Promise(setImmediate);
    const [earliest, timed, latest] = [await receiver(t), await receiver(t), await receiver(t)];
    await world.ask('PUT /v1/subscriptions/earliest', { json: bodyFor(earliest.url, { from: 'earliest' }) });
    await world.ask('PUT /v1/subscriptions/timed', { json: bodyFor(timed.url, { from: '2020-01-01T00:00:00Z' }) });
    await world.ask('PUT /v1/subscriptions/latest', { json: bodyFor(latest.url, { from: 'latest' }) });
    await publish(world, '2');
    await Promise.all([earliest.request(2), timed.request(2), latest.request(1)]);
    assert.deepEqual(
      [earliest, timed, latest].map((one) => idsOf(one).toSorted()),
      [['1', '2'], ['1', '2'], ['2']],
    );
  });

  test('in event mode sends the whole event, its data as it came', async (t) => {
    const { world, endpoint } = await subscribed(t);
    const made = await world.ask('PATCH /v1/subscriptions/s', {
      json: { deliver: { webhook: { body: 'event', headers: { 'X-Tenant': 'a' } } } },
    });
    assert.equal(made.status, 200);
    await world.ask('POST /v1/events', {
      body: '{"type":"orders.created","id":"1","data":{"n":1.0}}',
      headers: { 'content-type': 'application/json' },
    });
    const { headers, body } = await endpoint.request(1);
    assert.equal(headers['content-type'], 'application/cloudevents+json');
    assert.equal(headers['x-tenant'], 'a');
    assert.match(body.toString(), /^\{"specversion":"1.0".*"data":\{"n":1\.0\}\}$/);
  });
});

describe('a subscription is refused', { timeout: 30_000 }, () => {
  const url = 'http://127.0.0.1:9';
  const cases: Record<string, { members: object; code: string; pointer: string }> = {
    'with a filter that is none': {
      members: { filter: { data: { amount: [{ numeric: ['>', 'x'] }] } } },
      code: 'invalid_filter',
      pointer: '/filter/data/amount/0/numeric/1',
    },
    'with a filter whose fields are no lists': {
      members: { filter: { data: { filter: 5 } } },
      code: 'invalid_filter',
      pointer: '/filter/data/filter',
    },
    'with a schedule that overflows': {
      members: { retry: { schedule: ['5s', '99999999999d'] } },
      code: 'invalid_schedule',
      pointer: '/retry/schedule/1',
    },
    'with a schedule that is no list': {
      members: { retry: { schedule: '5s' } },
      code: 'invalid_request',
      pointer: '/retry/schedule',
    },
    'with a topic pattern that is none': { members: { topics: ['orders.>.x'] }, code: 'invalid_topic', pointer: '/topics/0' },
    'with a wildcard inside a token': {
      members: { topics: ['orders.*', 'orders.a*'] },
      code: 'invalid_topic',
      pointer: '/topics/1',
    },
    'without topics': { members: { topics: undefined }, code: 'invalid_request', pointer: '/topics' },
    'with an unknown member': { members: { colour: 'red' }, code: 'invalid_request', pointer: '/colour' },
    'with an unknown member inside': {
      members: { deliver: { webhook: { url, 'a/b~': 1 } } },
      code: 'invalid_request',
      pointer: '/deliver/webhook/a~1b~0',
    },
    'with a number for a text': {
      members: { deliver: { webhook: { url: 5 } } },
      code: 'invalid_request',
      pointer: '/deliver/webhook/url',
    },
    'with null for what it needs': { members: { topics: null }, code: 'invalid_request', pointer: '/topics' },
    'with null for its address': {
      members: { deliver: { webhook: { url: null } } },
      code: 'invalid_request',
      pointer: '/deliver/webhook/url',
    },
    'with an address that is none': {
      members: { deliver: { webhook: { url: 'ftp://x/' } } },
      code: 'invalid_url',
      pointer: '/deliver/webhook/url',
    },
    'with a password in its address': {
      members: { deliver: { webhook: { url: 'http://a:b@x/' } } },
      code: 'invalid_url',
      pointer: '/deliver/webhook/url',
    },
    'with a secret that is none': {
      members: { deliver: { webhook: { url, secret: 'x' } } },
      code: 'invalid_secret',
      pointer: '/deliver/webhook/secret',
    },
    'with a header of ours': {
      members: { deliver: { webhook: { url, headers: { 'Webhook-Id': 'x' } } } },
      code: 'invalid_request',
      pointer: '/deliver/webhook/headers',
    },
    'with a breaker of the wrong shape': {
      members: { breaker: { failures: 'x' } },
      code: 'invalid_request',
      pointer: '/breaker/failures',
    },
    'for an app that is not there': { members: { app: 'nobody' }, code: 'not_found', pointer: '/app' },
    'with a beginning that is no time': { members: { from: 'yesterday' }, code: 'invalid_request', pointer: '/from' },
    'without a webhook or a stream': { members: { deliver: {} }, code: 'invalid_request', pointer: '/deliver' },
    'with both': { members: { deliver: { webhook: { url }, stream: {} } }, code: 'invalid_request', pointer: '/deliver' },
    'with too little time to ack': {
      members: { deliver: { stream: { ackWait: '1ms' } } },
      code: 'invalid_request',
      pointer: '/deliver/stream/ackWait',
    },
    'for a relay, for now': { members: { deliver: { relay: {} } }, code: 'not_available_yet', pointer: '/deliver/relay' },
    'with a transform, for now': { members: { transform: { redact: [] } }, code: 'not_available_yet', pointer: '/transform' },
    'with a jwt, for now': {
      members: { deliver: { webhook: { url, signature: 'jwt' } } },
      code: 'not_available_yet',
      pointer: '/deliver/webhook/signature',
    },
  };
  for (const [name, { members, code, pointer }] of Object.entries(cases)) {
    test(name, async (t) => {
      const { ask, errors } = await world(t);
      const answer = await ask('PUT /v1/subscriptions/s', { json: bodyFor(url, members) });
      assert.deepEqual([answer.json.code, answer.json.pointer], [code, pointer], answer.text);
      assert.equal((await ask('GET /v1/subscriptions/s')).status, 404);
      assert.deepEqual(errors, []);
    });
  }

  test('with a member named __proto__, wherever it stands', async (t) => {
    const { ask } = await world(t);
    const top = await ask('PUT /v1/subscriptions/s', {
      body: `{"topics":["a"],"deliver":{"webhook":{"url":"${url}"}},"__proto__":{"app":"crm"}}`,
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(top.json.pointer, '/__proto__', top.text);
    const inside = await ask('PUT /v1/subscriptions/s', {
      body: `{"topics":["a"],"deliver":{"webhook":{"url":"${url}","__proto__":{"body":"event"}}}}`,
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(inside.json.pointer, '/deliver/webhook/__proto__', inside.text);
  });

  test('with an id that is none', async (t) => {
    const { ask } = await world(t);
    assert.equal((await ask('PUT /v1/subscriptions/-x', { json: bodyFor(url) })).json.pointer, '/id');
  });

  test('and can not change its app, its order or its beginning', async (t) => {
    const { world } = await subscribed(t);
    for (const change of [{ app: 'crm' }, { ordering: 'key' }, { from: 'earliest' }]) {
      const answer = await world.ask('PATCH /v1/subscriptions/s', { json: change });
      assert.equal(answer.json.pointer, `/${Object.keys(change)[0]}`);
    }
  });
});

describe('a replay', { timeout: 30_000 }, () => {
  test('is counted first, then sends the same events with the same ids beside the live lane', async (t) => {
    const { world, endpoint } = await subscribed(t);
    await publish(world, '1', '2', '3');
    await endpoint.request(3);
    const counted = await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', dryRun: true } });
    assert.deepEqual(counted.json, { count: 3 });
    const started = await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest' } });
    assert.equal(started.status, 202);
    assert.equal(started.headers.location, `/v1/operations/${started.json.id}`);
    await endpoint.request(6);
    assert.deepEqual(new Set(endpoint.requests.map(({ headers }) => headers['webhook-id'])).size, 3);
    assert.equal((await ended(world, started.json.id)).state, 'done');
    const { json } = await world.ask('GET /v1/deliveries?subscription=s');
    assert.deepEqual(
      json.data.map((one: { operation?: string }) => one.operation).filter((one: unknown) => one !== undefined).length,
      3,
    );
  });

  test('as new has ids of its own', async (t) => {
    const { world, endpoint } = await subscribed(t);
    await publish(world, '1');
    await endpoint.request(1);
    await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', asNew: true } });
    await endpoint.request(2);
    assert.notEqual(endpoint.requests[0]?.headers['webhook-id'], endpoint.requests[1]?.headers['webhook-id']);
  });

  test('can go to another endpoint, signed with the same secret', async (t) => {
    const { world, endpoint, secret } = await subscribed(t);
    await publish(world, '1');
    await endpoint.request(1);
    const drill = await receiver(t);
    await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', to: { url: drill.url } } });
    const { headers, body } = await drill.request(1);
    new Webhook(secret).verify(body.toString(), headers);
    assert.equal(endpoint.requests.length, 1);
  });

  test('ends at a time', async (t) => {
    const { world } = await subscribed(t);
    await publish(world, '1');
    const count = async (until: string): Promise<unknown> =>
      (await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', until, dryRun: true } })).json.count;
    assert.equal(await count('2020-01-01T00:00:00Z'), 0);
    assert.equal(await count('2100-01-01T00:00:00Z'), 1);
  });

  test('as a rewind sets the live lane itself back', async (t) => {
    const { world, endpoint } = await subscribed(t);
    await publish(world, '1', '2');
    await endpoint.request(2);
    const answer = await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', rewind: true } });
    assert.equal(answer.status, 200);
    await endpoint.request(4);
    assert.deepEqual(idsOf(endpoint).slice(2).toSorted(), ['1', '2']);
  });

  test('can be cancelled, and tells so afterwards', async (t) => {
    const { world, endpoint } = await subscribed(t);
    await publish(world, '1');
    await endpoint.request(1);
    const hanging = await receiver(t, () => undefined);
    const { json } = await world.ask('POST /v1/subscriptions/s/replay', { json: { from: 'earliest', to: { url: hanging.url } } });
    await hanging.request(1);
    const cancelled = await world.ask(`POST /v1/operations/${json.id}/cancel`);
    assert.equal(cancelled.json.state, 'cancelled');
    assert.ok(cancelled.json.endedAt);
    assert.equal((await world.ask('GET /v1/operations')).json.data[0].state, 'cancelled');
  });

  test('is refused where it makes no sense', async (t) => {
    const { world } = await subscribed(t);
    const cases: [object, string, string][] = [
      [{}, 'invalid_request', '/from'],
      [{ from: 'x' }, 'invalid_request', '/from'],
      [{ from: '2999-01-01T00:00:00Z' }, 'invalid_request', '/from'],
      [{ from: '2999-01-01T00:00:00Z', dryRun: true }, 'invalid_request', '/from'],
      [{ from: '2999-01-01T00:00:00Z', rewind: true }, 'invalid_request', '/from'],
      [{ from: 'earliest', until: 'x' }, 'invalid_request', '/until'],
      [{ from: '2021-01-01T00:00:00Z', until: '2020-01-01T00:00:00Z' }, 'invalid_request', '/until'],
      [{ from: 'earliest', rewind: true, asNew: true }, 'invalid_request', '/asNew'],
      [{ from: 'earliest', rewind: true, until: '2020-01-01T00:00:00Z' }, 'invalid_request', '/until'],
      [{ from: 'earliest', to: { url: 'ftp://x' } }, 'invalid_url', '/to/url'],
      [{ from: 'earliest', speed: 2 }, 'invalid_request', '/speed'],
    ];
    for (const [json, code, pointer] of cases) {
      const answer = await world.ask('POST /v1/subscriptions/s/replay', { json });
      assert.deepEqual([answer.json.code, answer.json.pointer], [code, pointer], JSON.stringify(json));
    }
    assert.equal((await world.ask('POST /v1/subscriptions/none/replay', { json: { from: 'earliest' } })).status, 404);
    assert.equal((await world.ask('GET /v1/operations/run_x')).status, 404);
  });
});
