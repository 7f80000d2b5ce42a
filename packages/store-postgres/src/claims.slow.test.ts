/** Claims on Postgres that meet trouble; what they share with other stores is in store-postgres.slow.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Claim } from '@millrace/gateway/ports/claims';
import { DAY_MS, hasCode, testProxy, testServer } from './testing.ts';

const server = await testServer();
const { skip } = server;

function claim(id: string, token: string, windowMs = DAY_MS): Claim {
  return { id, digest: 'a', windowMs, token, place: { log: 'l', topics: ['orders.created'], ends: { main: '' } } };
}

const statuses = (answers: readonly { readonly status: string }[]) => answers.map(({ status }) => status);

test('a claim whose answer was lost stands, for its own token when it is asked again', { skip }, async (context) => {
  const schema = server.schema();
  const proxy = await testProxy(context, server.url);
  const { claims } = await server.open(context, { url: proxy.url, schema });
  const broken = proxy.breakAt('COMMIT');
  await assert.rejects(claims.claim([claim('k', 't1')]), hasCode('ledger_unavailable'));
  await broken;
  const { claims: others } = await server.open(context, { schema });
  assert.deepEqual(statuses(await others.claim([claim('k', 't2')])), ['open']);
  assert.deepEqual(statuses(await claims.claim([claim('k', 't1')])), ['claimed']);
});

test('without Postgres claiming and settling are refused, and go on when it is back', { skip }, async (context) => {
  const proxy = await testProxy(context, server.url);
  const { claims } = await server.open(context, { url: proxy.url });
  await claims.claim([claim('k', 't1')]);
  proxy.cut();
  await assert.rejects(claims.claim([claim('other', 't1')]), hasCode('ledger_unavailable'));
  await assert.rejects(claims.settle([{ id: 'k', token: 't1' }]), hasCode('ledger_unavailable'));
  proxy.restore();
  await claims.settle([{ id: 'k', token: 't1' }]);
  assert.deepEqual(statuses(await claims.claim([claim('k', 't2'), claim('other', 't2')])), ['claimed', 'claimed']);
});

test('two nodes that prune at once remove all that is over, however much, and nothing else', { skip }, async (context) => {
  const schema = server.schema();
  const nodes = await Promise.all([1, 2].map(() => server.open(context, { schema })));
  for (let call = 0; call < 2; call++)
    await nodes[call]!.claims.claim(Array.from({ length: 4_096 }, (_, i) => claim(`${call}-${i}`, 't', i === 7 ? DAY_MS : 0)));
  await Promise.all(nodes.map(({ claims }) => claims.prune()));
  const left = await server.query(`SELECT id FROM ${schema}.claims ORDER BY id`);
  assert.deepEqual(
    left.map(({ id }) => id),
    ['0-7', '1-7'],
  );
});

test(
  'nodes that claim, settle and take over the same keys in any order do not lock each other out',
  { skip },
  async (context) => {
    const schema = server.schema();
    const nodes = await Promise.all([1, 2, 3].map(() => server.open(context, { schema })));
    const ids = Array.from({ length: 500 }, (_, i) => `k${i}`);
    const use = { shard: 'main', position: '1', timeMs: 1, eventId: 'e' };
    const rounds = nodes.map(async ({ claims }, node) => {
      const order = node === 1 ? ids.toReversed() : ids;
      let owned = 0;
      for (let round = 0; round < 5; round++) {
        const asked = order.map((id) => ({
          ...claim(id, `${node}.${round}`),
          over: { token: `${(node + 1) % 3}.${round}`, ageMs: 0 },
        }));
        const answers = await claims.claim(asked);
        const ours = order.filter((_, i) => answers[i]!.status === 'claimed');
        owned += ours.length;
        await claims.settle(ours.map((id, i) => ({ id, token: `${node}.${round}`, ...(i % 2 === 0 ? {} : { use }) })));
      }
      return owned;
    });
    assert.ok((await Promise.all(rounds)).reduce((sum, owned) => sum + owned, 0) >= ids.length);
  },
);
