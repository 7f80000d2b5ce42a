/** A delivery tried again by a person, whatever became of it. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type Receiver, receiver } from '../../test/receivers.ts';
import { type World, world } from '../../test/world.ts';

interface Scene {
  readonly made: World;
  readonly endpoint: Receiver;
  answer(status: number): void;
}

async function scene(t: TestContext, members: object): Promise<Scene> {
  const made = await world(t);
  let status = 500;
  const endpoint = await receiver(t, (response) => void response.writeHead(status).end());
  const deliver = { webhook: { url: endpoint.url } };
  const { status: created, text } = await made.ask('PUT /v1/subscriptions/s', { json: { topics: ['>'], deliver, ...members } });
  assert.equal(created, 201, text);
  return { made, endpoint, answer: (next) => void (status = next) };
}

async function publish({ ask }: World, id: string, members: object = {}): Promise<void> {
  const { status } = await ask('POST /v1/events', { json: { type: 'orders.created', source: '/s', id, ...members } });
  assert.equal(status, 202);
}

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

/** Asks until it is so: the ledger is written after the answer of the endpoint. */
async function delivery({ ask }: World, id: string, isSo: (delivery: Json) => boolean): Promise<Json> {
  for (;;) {
    const { data } = (await ask('GET /v1/deliveries?subscription=s')).json;
    const found = data.find(({ event }: Json) => event.id === id);
    if (found !== undefined && isSo(found)) return found;
    await new Promise(setImmediate);
  }
}

const idOf = ({ requests }: Receiver, at: number): string | undefined => requests[at]?.headers['webhook-id'];

describe('retrying a delivery', { timeout: 30_000 }, () => {
  test('that is parked sends it now, as its next attempt, with the same id', async (t) => {
    const { made, endpoint, answer } = await scene(t, { retry: { schedule: ['1h', '1h'], jitter: 0 } });
    await publish(made, 'a');
    const parked = await delivery(made, 'a', ({ outcome }) => outcome === 'retry');
    assert.equal(parked.webhookId, idOf(endpoint, 0));
    answer(204);
    const retried = await made.ask(`POST /v1/deliveries/${parked.id}/retry`);
    assert.equal(retried.status, 202, retried.text);
    const done = await delivery(made, 'a', ({ outcome }) => outcome === 'delivered');
    assert.deepEqual([done.id, done.attempts.length, idOf(endpoint, 1)], [parked.id, 2, idOf(endpoint, 0)]);
    assert.equal((await made.ask('GET /v1/subscriptions/s')).json.health.parked, 0);
  });

  test('that is delivered sends it once more', async (t) => {
    const { made, endpoint, answer } = await scene(t, {});
    answer(204);
    await publish(made, 'a');
    const first = await delivery(made, 'a', ({ outcome }) => outcome === 'delivered');
    assert.equal((await made.ask(`POST /v1/deliveries/${first.id}/retry`)).status, 202);
    const again = await delivery(made, 'a', ({ attempts }) => attempts.length === 2);
    assert.deepEqual([again.attempts[1].n, again.outcome, idOf(endpoint, 1)], [2, 'delivered', idOf(endpoint, 0)]);
    assert.equal((await made.ask('GET /v1/subscriptions/s')).json.health.parked, 0);
  });

  test('that is dead redrives it', async (t) => {
    const { made, endpoint, answer } = await scene(t, { retry: { schedule: [] } });
    await publish(made, 'a');
    const dead = await delivery(made, 'a', ({ outcome }) => outcome === 'dead');
    answer(204);
    assert.equal((await made.ask(`POST /v1/deliveries/${dead.id}/retry`)).status, 202);
    await delivery(made, 'a', ({ outcome }) => outcome === 'delivered');
    assert.equal(endpoint.requests.length, 2);
    assert.deepEqual((await made.ask('GET /v1/dead-letters?subscription=s')).json.data, []);
  });

  test('at an open breaker sends a probe', async (t) => {
    const { made, endpoint, answer } = await scene(t, { breaker: { events: 2 }, retry: { schedule: ['1h'] } });
    await publish(made, 'a');
    await publish(made, 'b');
    await made.notice('breaker_open');
    answer(204);
    const { id } = await delivery(made, 'a', ({ outcome }) => outcome === 'retry');
    assert.equal((await made.ask(`POST /v1/deliveries/${id}/retry`)).status, 202);
    await made.notice('breaker_closed');
    await delivery(made, 'a', ({ outcome }) => outcome === 'delivered');
    assert.ok(endpoint.requests.length >= 3);
  });

  test('again while it is under way, or of nobody, is refused', async (t) => {
    const { made } = await scene(t, { retry: { schedule: ['1h'] } });
    await publish(made, 'a');
    const { id } = await delivery(made, 'a', ({ outcome }) => outcome === 'retry');
    const shop = await made.key('shop', ['manage']);
    assert.equal((await made.ask(`POST /v1/deliveries/${id}/retry`, { key: shop })).status, 404);
    for (const none of ['x', 'x.p0~main~1']) assert.equal((await made.ask(`POST /v1/deliveries/${none}/retry`)).status, 404);
    const answers = await Promise.all([1, 2].map(() => made.ask(`POST /v1/deliveries/${id}/retry`)));
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [202, 409],
    );
  });
});
