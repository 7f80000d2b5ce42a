/** What happened, over HTTP: deliveries with their attempts, and dead letters in a person's hands. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test, type TestContext } from 'node:test';
import { type Receiver, receiver } from '../../test/receivers.ts';
import { type Answer, type World, world } from '../../test/world.ts';

interface Scene {
  readonly world: World;
  readonly endpoint: Receiver;
  /** From now on the endpoint takes everything. */
  heal(): void;
}

/** A subscription `s` whose endpoint refuses with 400 until it is healed. */
async function failing(t: TestContext, members: object = { retry: { schedule: [] } }): Promise<Scene> {
  const made = await world(t);
  let healed = false;
  const endpoint = await receiver(
    t,
    (response: ServerResponse) => void response.writeHead(healed ? 204 : 400).end(healed ? undefined : 'not like this'),
  );
  const created = await made.ask('PUT /v1/subscriptions/s', {
    json: { topics: ['>'], deliver: { webhook: { url: endpoint.url } }, ...members },
  });
  assert.equal(created.status, 201, created.text);
  return { world: made, endpoint, heal: () => (healed = true) };
}

async function publish({ ask }: World, count: number): Promise<void> {
  await ask('POST /v1/events', {
    json: Array.from({ length: count }, (_, at) => ({ type: 'orders.created', source: '/s', id: `${at + 1}`, data: at })),
  });
}

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

/** Asks until it is so: the ledger is written after the answer of the endpoint. */
async function until({ ask }: World, route: string, isSo: (json: Json) => boolean): Promise<Json> {
  for (;;) {
    const { json } = await ask(`GET ${route}`);
    if (isSo(json)) return json;
    await new Promise(setImmediate);
  }
}

function list(world: World, route: string, count: number): Promise<Json> {
  return until(world, route, ({ data }) => data.length >= count);
}

describe('deliveries', { timeout: 30_000 }, () => {
  test('come newest first, each once, with all its attempts', async (t) => {
    const { world, heal, endpoint } = await failing(t, { retry: { schedule: ['200ms'], jitter: 0 } });
    await publish(world, 1);
    await endpoint.request(1);
    heal();
    await endpoint.request(2);
    const [delivery] = (await until(world, '/v1/deliveries?subscription=s', ({ data }) => data[0]?.attempts.length === 2)).data;
    assert.deepEqual(delivery.event, { id: '1', type: 'orders.created' });
    assert.equal(delivery.outcome, 'delivered');
    assert.deepEqual(
      delivery.attempts.map(({ n, outcome, cause, status, snippet }: Json) => [n, outcome, cause, status, snippet]),
      [
        [1, 'retry', 'http_400', 400, 'not like this'],
        [2, 'delivered', '', 204, ''],
      ],
    );
    assert.deepEqual((await world.ask(`GET /v1/deliveries/${delivery.id}`)).json, delivery);
  });

  test('that wait say when they are tried next', async (t) => {
    const { world } = await failing(t, { retry: { schedule: ['1h'], jitter: 0 } });
    await publish(world, 1);
    const { data } = await list(world, '/v1/deliveries?subscription=s', 1);
    const json = await until(world, `/v1/deliveries/${data[0].id}`, ({ nextAttemptAt }) => nextAttemptAt !== undefined);
    assert.equal(json.outcome, 'retry');
    assert.deepEqual((await world.ask('GET /v1/deliveries?subscription=s')).json.data, [json]);
    assert.ok(Math.abs(Date.parse(json.nextAttemptAt) - Date.now() - 3_600_000) < 60_000);
  });

  test('are paged without one twice, also where one has many attempts', async (t) => {
    const { world, heal } = await failing(t, { retry: { schedule: ['1ms', '1ms', '1ms'] }, breaker: false });
    await publish(world, 7);
    await list(world, '/v1/dead-letters?subscription=s', 7);
    heal();
    const seen: string[] = [];
    for (let cursor = ''; cursor !== null;) {
      const { json } = await world.ask(`GET /v1/deliveries?subscription=s&limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`);
      assert.ok(json.data.length <= 3);
      for (const { event, attempts } of json.data) {
        seen.push(event.id);
        assert.equal(attempts.length, 4);
      }
      cursor = json.next;
    }
    assert.deepEqual(seen.toSorted(), ['1', '2', '3', '4', '5', '6', '7']);
  });

  test('are found by what receivers know them by, and by their event', async (t) => {
    const { world, endpoint, heal } = await failing(t);
    heal();
    await publish(world, 5);
    await endpoint.request(5);
    await list(world, '/v1/deliveries?subscription=s', 5);
    const { headers } = endpoint.requests[2] as { headers: Record<string, string> };
    const [webhookId = '', event = ''] = [headers['webhook-id'], headers['ce-id']];
    for (const query of [`webhookId=${webhookId}`, `event=${event}`, `event=${event}&webhookId=${webhookId}&limit=1`]) {
      const { data } = (await world.ask(`GET /v1/deliveries?subscription=s&${query}`)).json;
      assert.deepEqual(
        data.map((one: Json) => [one.event.id, one.webhookId]),
        [[event, webhookId]],
        query,
      );
    }
    for (const query of ['webhookId=msg_none', 'event=none', `event=none&webhookId=${webhookId}`])
      assert.deepEqual((await world.ask(`GET /v1/deliveries?subscription=s&${query}`)).json, { data: [], next: null });
    const named = await world.ask(`GET /v1/deliveries/${webhookId}`);
    assert.equal(named.status, 404);
    assert.match(named.json.advice, /webhookId=/);
  });

  test('are found by what became of them last, each on one page', async (t) => {
    const { world, endpoint, heal } = await failing(t, { retry: { schedule: ['1ms'] }, breaker: false });
    await publish(world, 4);
    await list(world, '/v1/dead-letters?subscription=s', 4);
    heal();
    const [letter] = (await world.ask('GET /v1/dead-letters?subscription=s')).json.data;
    await world.ask(`POST /v1/dead-letters/${letter.id}/redrive`);
    await endpoint.request(9);
    await list(world, '/v1/deliveries?subscription=s&outcome=delivered', 1);
    const found = async (query: string): Promise<string[]> => {
      const ids: string[] = [];
      for (let cursor = ''; cursor !== null;) {
        const route = `GET /v1/deliveries?subscription=s&limit=1&${query}${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { json } = await world.ask(route);
        ids.push(...json.data.map(({ event }: Json) => event.id));
        cursor = json.next;
      }
      return ids.toSorted();
    };
    const redriven = letter.event.id;
    const others = ['1', '2', '3', '4'].filter((id) => id !== redriven);
    assert.deepEqual(await found('outcome=dead'), others);
    assert.deepEqual(await found('outcome=delivered'), [redriven]);
    assert.deepEqual(await found('outcome=retry'), []);
    assert.deepEqual(await found(`outcome=dead&event=${others[0]}`), [others[0]]);
    assert.deepEqual(await found(`outcome=dead&event=${redriven}`), []);
    const unknown = await world.ask('GET /v1/deliveries?subscription=s&outcome=failed');
    assert.deepEqual([unknown.status, unknown.json.pointer], [400, '/query/outcome']);
    assert.match(unknown.text, /delivered.*retry.*dead/);
  });

  test('are found however many came after, by a bounded look at a time', async (t) => {
    const { world, endpoint, heal } = await failing(t);
    heal();
    await publish(world, 1);
    await endpoint.request(1);
    const first = (await list(world, '/v1/deliveries?subscription=s', 1)).data[0];
    // More than the log is read for in one answer. (The source makes them other events than the first one.)
    for (const source of ['/a', '/b', '/c'])
      await world.ask('POST /v1/events', {
        json: Array.from({ length: 200 }, (_, at) => ({ type: 'orders.created', source, id: `${at}` })),
      });
    await endpoint.request(601);
    const subscription = (await world.directory.get('subscription', 'default', 's'))?.value.uid ?? '';
    while ((await world.ledger.attempts({ subscription, limit: 1_000 })).length < 601) await new Promise(setImmediate);
    const pages: number[] = [];
    let found: Json;
    for (let cursor = ''; cursor !== null && found === undefined;) {
      const at = cursor === '' ? '' : `&cursor=${cursor}`;
      const { json } = await world.ask(`GET /v1/deliveries?subscription=s&webhookId=${first.webhookId}${at}`);
      pages.push(json.data.length);
      [found] = json.data;
      cursor = json.next;
    }
    assert.equal(found?.id, first.id);
    assert.deepEqual(pages, [0, 1]);
  });

  test('are those of a subscription that is named and there', async (t) => {
    const { ask } = await world(t);
    assert.equal((await ask('GET /v1/deliveries')).json.pointer, '/query/subscription');
    assert.equal((await ask('GET /v1/deliveries?subscription=none')).status, 404);
    for (const id of ['x', 'e30', 'a~b~c', 'a~%25~c', 'x'.repeat(600)])
      assert.equal((await ask(`GET /v1/deliveries/${id}`)).status, 404);
  });
});

describe('dead letters', { timeout: 30_000 }, () => {
  test('say why, and are sent again once the endpoint is healed', async (t) => {
    const { world, endpoint, heal } = await failing(t);
    await publish(world, 1);
    const [letter] = (await list(world, '/v1/dead-letters?subscription=s', 1)).data;
    assert.deepEqual([letter.cause, letter.attempts, letter.redrivable, letter.event.id], ['http_400', 1, true, '1']);
    heal();
    const redriven = await world.ask(`POST /v1/dead-letters/${letter.id}/redrive`);
    assert.equal(redriven.status, 202, redriven.text);
    const { id, event, attempts } = redriven.json;
    assert.deepEqual([event.id, attempts[0].cause], ['1', 'http_400']);
    assert.equal((await world.ask(`GET /v1/deliveries/${id}`)).json.id, id);
    const again = await endpoint.request(2);
    assert.equal(again.headers['webhook-id'], endpoint.requests[0]?.headers['webhook-id']);
    assert.equal((await world.ask(`GET /v1/dead-letters/${letter.id}`)).status, 404);
    assert.equal((await world.ask(`POST /v1/dead-letters/${letter.id}/redrive`)).status, 404);
  });

  test('are redriven, and answered with their delivery, also when its attempts are forgotten', async (t) => {
    const { world, endpoint, heal } = await failing(t);
    await publish(world, 1);
    const [letter] = (await list(world, '/v1/dead-letters?subscription=s', 1)).data;
    await world.ledger.pruneAttempts(Infinity);
    heal();
    const { status, json } = await world.ask(`POST /v1/dead-letters/${letter.id}/redrive`);
    assert.deepEqual([status, json.event, json.outcome], [202, letter.event, 'retry']);
    await endpoint.request(2);
    const after = await until(world, `/v1/deliveries/${json.id}`, ({ outcome }) => outcome === 'delivered');
    assert.equal(after.webhookId, json.webhookId);
  });

  test('are discarded by a person', async (t) => {
    const { world } = await failing(t);
    await publish(world, 1);
    const [letter] = (await list(world, '/v1/dead-letters?subscription=s', 1)).data;
    assert.equal((await world.ask(`POST /v1/dead-letters/${letter.id}/discard`)).status, 204);
    assert.deepEqual((await world.ask('GET /v1/dead-letters?subscription=s')).json, { data: [], next: null });
    assert.equal((await world.ask('GET /v1/subscriptions/s')).json.health.deadLetters, 0);
  });

  test('are counted, then redriven all at once', async (t) => {
    const { world, endpoint, heal } = await failing(t, { retry: { schedule: [] }, breaker: false });
    await publish(world, 5);
    await list(world, '/v1/dead-letters?subscription=s', 5);
    const redrive = (json: object): Promise<Answer> =>
      world.ask('POST /v1/dead-letters/redrive', { json: { subscription: 's', ...json } });
    const count = async (json: object): Promise<Json> => (await redrive({ dryRun: true, ...json })).json;
    assert.deepEqual(await count({}), { count: 5 });
    assert.deepEqual(await count({ cause: 'timeout' }), { count: 0 });
    assert.deepEqual(await count({ topic: 'orders.created', since: '2026-01-01T00:00:00Z' }), { count: 5 });
    assert.deepEqual(await count({ until: '2026-01-01T00:00:00Z' }), { count: 0 });
    assert.equal((await redrive({ since: 'yesterday' })).json.pointer, '/since');
    for (const cause of ['http_600', 'expired', 'blocked_address']) assert.deepEqual(await count({ cause }), { count: 0 }, cause);
    for (const cause of ['http_60', 'http_204', 'connect_refused', 'toString', 'aborted', '']) {
      const { status, json } = await redrive({ cause });
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', '/cause'], cause);
      assert.match(json.advice, /http_.*refused.*log_changed/);
    }
    heal();
    const started = await redrive({});
    assert.deepEqual([started.status, started.json.kind, started.json.progress.total], [202, 'redrive', 5]);
    assert.equal(started.headers.location, `/v1/operations/${started.json.id}`);
    const done = await until(world, `/v1/operations/${started.json.id}`, ({ state }) => state !== 'running');
    assert.deepEqual([done.state, done.progress], ['done', { done: 5, refused: 0, total: 5 }]);
    await endpoint.request(10);
    assert.deepEqual((await world.ask('GET /v1/dead-letters?subscription=s')).json.data, []);
  });

  test('are discarded many at a time', async (t) => {
    const { world } = await failing(t, { retry: { schedule: [] }, breaker: false });
    await publish(world, 5);
    await list(world, '/v1/dead-letters?subscription=s', 5);
    const { json } = await world.ask('POST /v1/dead-letters/discard', { json: { subscription: 's', cause: 'http_400' } });
    await until(world, `/v1/operations/${json.id}`, ({ state }) => state === 'done');
    assert.deepEqual((await world.ask('GET /v1/dead-letters?subscription=s')).json.data, []);
    const listed = (await world.ask('GET /v1/operations')).json.data;
    assert.deepEqual([listed.length, listed[0].kind, listed[0].id], [1, 'discard', json.id]);
    const shop = await world.key('shop', ['manage']);
    assert.equal((await world.ask(`GET /v1/operations/${json.id}`, { key: shop })).status, 404);
    assert.equal((await world.ask(`POST /v1/operations/${json.id}/cancel`)).json.state, 'done');
  });

  test('are paged', async (t) => {
    const { world } = await failing(t, { retry: { schedule: [] }, breaker: false });
    await publish(world, 3);
    await list(world, '/v1/dead-letters?subscription=s', 3);
    const first = (await world.ask('GET /v1/dead-letters?subscription=s&limit=2')).json;
    const second = (await world.ask(`GET /v1/dead-letters?subscription=s&limit=2&cursor=${first.next}`)).json;
    assert.equal(new Set([...first.data, ...second.data].map(({ id }: Json) => id)).size, 3);
    assert.equal(second.next, null);
  });
});
