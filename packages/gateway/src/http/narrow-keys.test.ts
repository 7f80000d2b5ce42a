/** Keys for some topics, after a broader one has changed the topics of a subscription: what is not theirs is not there for them. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { type Answer, type World, world } from '../../test/world.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

interface Scene extends World {
  /** As a key for `orders.created` alone. */
  narrow(route: string, json?: object): Promise<Answer>;
  /** Ids of events, page by page, two to a page. */
  pages(route: string, by?: 'narrow'): Promise<string[]>;
}

/** Three dead deliveries of each topic, whose subscription is now for `orders.created` alone. */
async function scene(t: TestContext): Promise<Scene> {
  const made = await world(t);
  const endpoint = await receiver(t, (response) => void response.writeHead(400).end('no'));
  const deliver = { webhook: { url: endpoint.url } };
  const wide = { app: 'shop', topics: ['orders.*'], deliver, retry: { schedule: [] }, breaker: false };
  assert.equal((await made.ask('PUT /v1/subscriptions/s', { json: wide })).status, 201);
  const types = ['created', 'paid', 'created', 'paid', 'created', 'paid'];
  await made.ask('POST /v1/events', {
    json: types.map((type, at) => ({ type: `orders.${type}`, source: '/s', id: `${type}${at}` })),
  });
  while ((await made.ask('GET /v1/dead-letters?subscription=s')).json.data.length < 6) await new Promise(setImmediate);
  assert.equal((await made.ask('PATCH /v1/subscriptions/s', { json: { topics: ['orders.created'] } })).status, 200);
  const grant = { scopes: ['subscribe', 'manage'], topics: ['orders.created'] };
  const { key } = (await made.ask('POST /v1/apps/shop/keys', { json: grant })).json;
  return {
    ...made,
    narrow: (route, json) => made.ask(route, { key, ...(json === undefined ? {} : { json }) }),
    async pages(route, by) {
      const ids: string[] = [];
      for (let cursor = ''; cursor !== null;) {
        const place = cursor === '' ? '' : `&cursor=${cursor}`;
        const { json } = await made.ask(`GET ${route}&limit=2${place}`, by === undefined ? {} : { key });
        ids.push(...json.data.map(({ event }: Json) => event.id));
        cursor = json.next;
      }
      return ids.toSorted();
    },
  };
}

const OWN = ['created0', 'created2', 'created4'];
const ALL = [...OWN, 'paid1', 'paid3', 'paid5'];

describe('a key for some topics', { timeout: 30_000 }, () => {
  test('finds no deliveries of others in lists, and the lists end', async (t) => {
    const { pages } = await scene(t);
    for (const list of ['deliveries', 'dead-letters']) {
      assert.deepEqual(await pages(`/v1/${list}?subscription=s`), ALL);
      assert.deepEqual(await pages(`/v1/${list}?subscription=s`, 'narrow'), OWN, list);
    }
    assert.deepEqual(await pages('/v1/deliveries?subscription=s&outcome=dead', 'narrow'), OWN);
    assert.deepEqual(await pages('/v1/deliveries?subscription=s&event=paid1', 'narrow'), []);
  });

  test('neither reads nor decides on a single one of others: it is as if it were not there', async (t) => {
    const { ask, narrow } = await scene(t);
    for (const list of ['deliveries', 'dead-letters']) {
      const { data } = (await ask(`GET /v1/${list}?subscription=s`)).json;
      for (const { id, event } of data) {
        const answer = await narrow(`GET /v1/${list}/${id}`);
        assert.equal(answer.status, event.type === 'orders.created' ? 200 : 404, event.id);
      }
      const { id } = data.find(({ event }: Json) => event.type === 'orders.paid');
      for (const verb of list === 'deliveries' ? ['retry'] : ['redrive', 'discard']) {
        const refused = await narrow(`POST /v1/${list}/${id}/${verb}`);
        assert.deepEqual([refused.status, refused.json.code], [404, 'not_found'], verb);
      }
      if (list === 'deliveries') continue;
      const { json } = await narrow(`GET /v1/${list}/${id}`);
      const missing = await narrow(`GET /v1/${list}/dl_none`);
      assert.equal(json.detail.replace(id, 'x'), missing.json.detail.replace('dl_none', 'x'));
    }
    assert.equal((await ask('GET /v1/dead-letters?subscription=s')).json.data.length, 6);
  });

  test('redrives and discards many of its own alone, and counts no others', async (t) => {
    const { ask, narrow, pages } = await scene(t);
    for (const kind of ['redrive', 'discard']) {
      const { json } = await narrow(`POST /v1/dead-letters/${kind}`, { subscription: 's', dryRun: true });
      assert.deepEqual(json, { count: 3 });
      const others = { subscription: 's', topic: 'orders.paid', dryRun: true };
      assert.deepEqual((await narrow(`POST /v1/dead-letters/${kind}`, others)).json, { count: 0 });
    }
    const job = (await narrow('POST /v1/dead-letters/discard', { subscription: 's' })).json;
    assert.equal(job.progress.total, 3);
    while ((await ask(`GET /v1/operations/${job.id}`)).json.state === 'running') await new Promise(setImmediate);
    assert.deepEqual(await pages('/v1/dead-letters?subscription=s'), ['paid1', 'paid3', 'paid5']);
  });

  test('sees what stands for a range, which is of no topic alone', async (t) => {
    const { ask, narrow, ledger, directory } = await scene(t);
    const uid = (await directory.get('subscription', 'default', 's'))?.value.uid ?? '';
    const range = { through: '0000000000000009', throughTimeMs: 5 };
    await ledger.commit({
      bury: [
        {
          lane: `${uid}.p0`,
          shard: '0',
          position: '0000000000000008',
          id: 'dl_range',
          cause: 'expired',
          detail: '',
          attempts: 0,
          eventId: '',
          topic: '',
          timeMs: 1,
          diedMs: 2,
          range,
        },
      ],
    });
    assert.equal((await narrow('GET /v1/dead-letters/dl_range')).json.cause, 'expired');
    assert.equal((await narrow('GET /v1/dead-letters?subscription=s')).json.data.length, 4);
    assert.equal((await ask('GET /v1/dead-letters?subscription=s')).json.data.length, 7);
  });
});
