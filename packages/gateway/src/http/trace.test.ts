/** Traces: the context of the call that published an event goes along with it. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { type Ask, world } from '../../test/world.ts';
import { LIMITS } from '../limits.ts';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const OTHER = '00-11111111111111111111111111111111-2222222222222222-00';

/** The headers of trace with which each webhook came, by the event's id. */
async function received(t: TestContext, ...asks: readonly (Ask & { readonly route?: string })[]) {
  const { ask } = await world(t);
  const endpoint = await receiver(t);
  await ask('PUT /v1/subscriptions/all', { json: { topics: ['>'], deliver: { webhook: { url: `${endpoint.url}/hook` } } } });
  const answers = [];
  for (const { route = 'POST /v1/events', ...one } of asks) answers.push(await ask(route, one));
  for (const { status, text } of answers) assert.ok(status < 300, text);
  await endpoint.request(answers.length);
  const traces = endpoint.requests.map(({ headers }) => ({
    parent: headers['ce-traceparent'],
    state: headers['ce-tracestate'],
  }));
  return { answers, traces };
}

describe('the trace of a call', { timeout: 30_000 }, () => {
  test('goes along with its event, and what of it can be read of its state', async (t) => {
    const headers = { traceparent: PARENT, tracestate: 'vendor=x,  other=y' };
    const { traces } = await received(t, { json: { type: 'orders.created', data: 1 }, headers });
    assert.deepEqual(traces, [{ parent: PARENT, state: 'vendor=x,other=y' }]);
  });

  test('goes along with each of several, and with a payload alone', async (t) => {
    const { traces } = await received(
      t,
      { json: [{ type: 'orders.created' }], headers: { traceparent: PARENT } },
      { route: 'POST /v1/topics/orders.created/events', json: { n: 1 }, headers: { traceparent: PARENT } },
    );
    assert.deepEqual(
      traces.map(({ parent }) => parent),
      [PARENT, PARENT],
    );
  });

  test('is left where the event says where it comes from: neither its parent nor its state is rewritten', async (t) => {
    const json = { type: 'orders.created', traceparent: OTHER };
    const { traces } = await received(t, { json, headers: { traceparent: PARENT, tracestate: 'vendor=x' } });
    assert.deepEqual(traces, [{ parent: OTHER, state: undefined }]);
  });

  test('is none where it can not be read, and nothing fails for it', async (t) => {
    const { traces, answers } = await received(t, {
      json: { type: 'orders.created' },
      headers: { traceparent: 'something else' },
    });
    assert.equal(answers[0]?.status, 202);
    assert.deepEqual(traces, [{ parent: undefined, state: undefined }]);
  });

  test('makes no other event of the same one, sent again in another trace', async (t) => {
    const json = { type: 'orders.created', id: '1', source: '/s' };
    const { answers } = await received(t, { json, headers: { traceparent: PARENT } });
    assert.equal(answers[0]?.json.status, 'appended');
    const { ask } = await world(t);
    const [first, second] = [
      await ask('POST /v1/events', { json, headers: { traceparent: PARENT } }),
      await ask('POST /v1/events', { json, headers: { traceparent: OTHER } }),
    ];
    assert.deepEqual([first.json.status, second.json.status], ['appended', 'duplicate']);
  });

  test('is left out where the event has no room for it: none is refused for the trace of its call', async (t) => {
    const { ask } = await world(t);
    const json = { type: 'orders.created', id: '1', note: 'x'.repeat(LIMITS.attributeBytes - 300), data: 1 };
    for (const [headers, status] of [
      [{ traceparent: PARENT, tracestate: `a=${'b'.repeat(250)}` }, 'appended'],
      [{}, 'duplicate'],
    ] as const)
      assert.equal((await ask('POST /v1/events', { json, headers })).json.status, status);
    const { data } = (await ask('GET /v1/events?from=earliest')).json;
    assert.equal(data[0].event.traceparent, undefined);
  });
});
