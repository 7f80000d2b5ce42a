/** A receiver that acknowledged first reports a failure, over HTTP: with the token of that delivery and nothing else. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { receiver, type Receiver } from '../../test/receivers.ts';
import { type Answer, type World, world } from '../../test/world.ts';

interface Scene {
  readonly made: World;
  readonly endpoint: Receiver;
  /** As the receiver of the request with this number, from 1. */
  report(
    count: number,
    json: unknown,
    how?: { readonly token?: string; readonly of?: number; readonly query?: string },
  ): Promise<Answer>;
}

async function scene(t: TestContext): Promise<Scene> {
  const made = await world(t, { publicUrl: 'https://events.example/millrace' });
  const endpoint = await receiver(t);
  const deliver = { webhook: { url: endpoint.url } };
  const spec = { topics: ['>'], retry: { schedule: ['1h'], jitter: 0 }, deliver };
  assert.equal((await made.ask('PUT /v1/subscriptions/s', { json: spec })).status, 201);
  return {
    made,
    endpoint,
    async report(count, json, { token, of = count, query = '' } = {}) {
      const [address = ''] = (await endpoint.request(of)).headers['millrace-failed']?.split(' ') ?? [];
      const own = (await endpoint.request(count)).headers['millrace-failed']?.split(' ')[1];
      assert.match(address, /^https:\/\/events\.example\/millrace\/v1\/deliveries\/[^/]+\/failed$/);
      const route = `POST ${new URL(address).pathname.replace('/millrace', '')}${query}`;
      let answer = await made.ask(route, { json, key: token ?? own });
      // Its own answer may not be written down yet.
      while (answer.json.code === 'in_flight') answer = await made.ask(route, { json, key: token ?? own });
      return answer;
    },
  };
}

const publish = ({ ask }: World, id: string) =>
  ask('POST /v1/events', { json: { type: 'orders.created', source: '/s', id, data: { id } } });

describe('POST /v1/deliveries/{id}/failed', { timeout: 30_000 }, () => {
  test('parks the delivery, which people see as one that was answered and failed', async (t) => {
    const { made, report } = await scene(t);
    await publish(made, 'a');
    const { status, json } = await report(1, { reason: 'the mail server refused it' });
    assert.deepEqual([status, json.outcome], [202, 'retry']);
    const shown = (await made.ask(`GET /v1/deliveries/${json.id}`)).json;
    assert.deepEqual([shown.outcome, shown.nextAttemptAt], ['retry', json.nextAttemptAt]);
    assert.deepEqual(
      shown.attempts.map(({ n, outcome, cause, snippet }: Record<string, unknown>) => [n, outcome, cause, snippet]),
      [
        [1, 'delivered', '', ''],
        [1, 'retry', 'reported_failed', 'the mail server refused it'],
      ],
    );
    const { data } = (await made.ask('GET /v1/deliveries?subscription=s')).json;
    assert.equal(data.length, 1, 'one delivery, whatever was said of it');
    assert.equal((await made.ask('GET /v1/deliveries?subscription=s&outcome=delivered')).json.data.length, 0);
  });

  test('with dead makes a dead letter that is found by its cause', async (t) => {
    const { made, report } = await scene(t);
    await publish(made, 'a');
    const { json } = await report(1, { reason: 'no such customer', dead: true });
    assert.equal(json.outcome, 'dead');
    const { data } = (await made.ask('GET /v1/dead-letters?subscription=s')).json;
    assert.deepEqual([data[0].cause, data[0].detail, data[0].event.id], ['reported_failed', 'no such customer', 'a']);
    const many = { subscription: 's', cause: 'reported_failed', dryRun: true };
    assert.equal((await made.ask('POST /v1/dead-letters/redrive', { json: many })).json.count, 1);
  });

  test('takes the token of that delivery alone: not that of another one, no key, and nothing', async (t) => {
    const { made, endpoint, report } = await scene(t);
    await publish(made, 'a');
    await publish(made, 'b');
    await endpoint.request(2);
    const body = { reason: 'no' };
    const codes = async (answer: Promise<Answer>) => {
      const { status, json, headers } = await answer;
      return [status, json.code, headers['www-authenticate'] !== undefined];
    };
    assert.deepEqual(await codes(report(1, body, { of: 2 })), [401, 'unauthorized', true]);
    assert.deepEqual(await codes(report(1, body, { token: made.admin })), [401, 'unauthorized', true]);
    assert.deepEqual(await codes(report(1, body, { token: '' })), [401, 'unauthorized', true]);
    const token = endpoint.requests[0]?.headers['millrace-failed']?.split(' ')[1] ?? '';
    assert.deepEqual(await codes(made.ask('GET /v1/deliveries?subscription=s', { key: token })), [401, 'unauthorized', true]);
    assert.equal((await made.ask('GET /v1/subscriptions/s')).json.health.parked, 0);
  });

  test('refuses bodies that say something else, before anything is done', async (t) => {
    const { made, report } = await scene(t);
    await publish(made, 'a');
    for (const [body, pointer] of [
      [{}, '/reason'],
      [{ reason: '' }, '/reason'],
      [{ reason: 'a'.repeat(501) }, '/reason'],
      [{ reason: 1 }, '/reason'],
      [{ reason: 'no', dead: 'yes' }, '/dead'],
      [{ reason: 'no', delayMs: -1 }, '/delayMs'],
      [{ reason: 'no', delayMs: 2_592_000_001 }, '/delayMs'],
      [{ reason: 'no', dead: true, delayMs: 1 }, '/delayMs'],
      [{ reason: 'no', later: true }, '/later'],
    ] as const) {
      const { status, json } = await report(1, body);
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', pointer], JSON.stringify(body));
    }
    assert.equal((await report(1, { reason: 'no' }, { query: '?colour=red' })).json.pointer, '/query/colour');
    assert.equal((await made.ask('GET /v1/subscriptions/s')).json.health.parked, 0);
    assert.equal((await report(1, { reason: 'a'.repeat(500), delayMs: 0 })).status, 202);
  });

  test('of a subscription that was deleted finds nothing', async (t) => {
    const { made, endpoint, report } = await scene(t);
    await publish(made, 'a');
    await endpoint.request(1);
    await made.ask('DELETE /v1/subscriptions/s');
    const { status, json } = await report(1, { reason: 'no' });
    assert.deepEqual([status, json.code], [404, 'not_found']);
  });

  test('does not go through the headers that people set', async (t) => {
    const { made, endpoint } = await scene(t);
    const deliver = { webhook: { headers: { 'millrace-failed': 'https://evil.example x' } } };
    assert.equal((await made.ask('PATCH /v1/subscriptions/s', { json: { deliver } })).status, 400);
    await publish(made, 'a');
    assert.match((await endpoint.request(1)).headers['millrace-failed'] ?? '', /^https:\/\/events\.example\//);
  });
});
