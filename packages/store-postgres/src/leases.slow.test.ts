import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { openLeases } from './leases.ts';
import type { Fence, Leases } from '@millrace/gateway/ports/leases';
import { attempt, hasCode, testProxy, testServer } from './testing.ts';

const server = await testServer();
const { skip } = server;
const ALL = Array.from({ length: 128 }, (_, slot) => slot);
const stale = hasCode('stale_epoch');
const nameTaken = hasCode('conflict');
const numbers = (fences: readonly Fence[]) => fences.map(({ slot }) => slot);

/** Nodes of one cluster. No lease ends by itself: `expire` moves its end. */
async function cluster(context: TestContext) {
  const schema = server.schema();
  const { ledger } = await server.open(context, { schema });
  const node = (name: string): Leases => {
    const leases = openLeases({ url: server.url, schema, node: name, address: `http://${name}`, leaseMs: 3_600_000 });
    context.after(() => leases.close());
    return leases;
  };
  const expire = (name: string) =>
    server.query(`UPDATE ${schema}.nodes SET expires_at = now() - interval '1 s' WHERE node = '${name}'`);
  return { schema, ledger, node, expire };
}

test('a node takes slots that nobody has, each with an epoch, and has them at every renewal', { skip }, async (context) => {
  const { node } = await cluster(context);
  const a = node('a');
  assert.deepEqual(await a.renew(0.5), []);
  const fences = await a.take([3, 1, 2]);
  assert.deepEqual(
    fences.map(({ slot, epoch }) => [slot, epoch]),
    [
      [1, 1],
      [2, 1],
      [3, 1],
    ],
  );
  assert.equal(new Set(fences.map(({ token }) => token)).size, 3);
  assert.deepEqual(await a.renew(0.5), fences);
  assert.deepEqual(await a.take([1, 2, 3]), fences, 'taken again, after an answer that was lost, they are the same');
});

test('without a lease a node takes nothing', { skip }, async (context) => {
  const { node, expire } = await cluster(context);
  const a = node('a');
  assert.deepEqual(await a.take(ALL), []);
  await a.renew(0);
  await expire('a');
  assert.deepEqual(await a.take(ALL), []);
  assert.ok((await a.slots()).every(({ epoch, owner, covered }) => epoch === 0 && owner === undefined && !covered));
});

test('what a lease covers is not taken by another node', { skip }, async (context) => {
  const { node } = await cluster(context);
  const [a, b] = [node('a'), node('b')];
  await Promise.all([a.renew(0), b.renew(0)]);
  const held = await a.take([1, 2]);
  assert.deepEqual(numbers(await b.take([1, 2, 3])), [3]);
  assert.deepEqual(await a.renew(0), held);
});

test('of nodes that take the same slots together each slot goes to one', { skip }, async (context) => {
  const { node } = await cluster(context);
  const nodes = ['a', 'b', 'c', 'd'].map(node);
  await Promise.all(nodes.map((one) => one.renew(0)));
  const taken = await Promise.all(nodes.map((one, i) => one.take(i % 2 === 0 ? ALL : ALL.toReversed())));
  assert.deepEqual(
    taken.flatMap(numbers).toSorted((a, b) => a - b),
    ALL,
  );
  assert.deepEqual(await Promise.all(nodes.map((one) => one.renew(0))), taken);
});

test(
  'the slots of a node whose lease is over are taken at the next epoch, and it learns so when it renews',
  { skip },
  async (context) => {
    const { node, expire } = await cluster(context);
    const [a, b] = [node('a'), node('b')];
    await Promise.all([a.renew(0), b.renew(0)]);
    const before = await a.take([1, 2, 3]);
    await expire('a');
    const taken = await b.take([1, 2]);
    assert.deepEqual(
      taken.map(({ slot, epoch }) => [slot, epoch]),
      [
        [1, 2],
        [2, 2],
      ],
    );
    assert.notEqual(taken[0]!.token, before[0]!.token);
    assert.deepEqual(await a.renew(0), [before[2]]);
    assert.deepEqual(await a.take([1, 2]), []);
  },
);

test('a lease that is over, of which nobody made use, is renewed with all it had', { skip }, async (context) => {
  const { node, expire, ledger } = await cluster(context);
  const a = node('a');
  await a.renew(0);
  const held = await a.take(ALL);
  await expire('a');
  await a.commit({ attempts: [attempt(1)] }, held);
  assert.deepEqual(await a.renew(0), held);
  assert.equal((await ledger.attempts({ subscription: 'sub', limit: 10 })).length, 1);
});

test('a commit at an epoch that is over is refused, and nothing of it is there', { skip }, async (context) => {
  const { node, expire, ledger } = await cluster(context);
  const [a, b] = [node('a'), node('b')];
  await Promise.all([a.renew(0), b.renew(0)]);
  const old = await a.take([1, 2]);
  await a.commit({ attempts: [attempt(1)] }, old);
  await expire('a');
  const now = await b.take([2]);
  const cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
  await assert.rejects(
    a.commit({ attempts: [attempt(2)], slots: [{ slot: 2, shard: 'main', cursor }], dropLanes: ['sub.0'] }, old),
    (error: Error & { code: string }) => stale(error) && /Slot 2/.test(error.message),
  );
  assert.equal((await ledger.attempts({ subscription: 'sub', limit: 10 })).length, 1);
  assert.deepEqual(await ledger.slots(), []);
  await a.commit({ attempts: [attempt(3)] }, old.slice(0, 1));
  await b.commit({ attempts: [attempt(4)] }, now);
  assert.equal((await ledger.attempts({ subscription: 'sub', limit: 10 })).length, 3);
});

test('the same number with another token is another epoch, as after a failover that lost one', { skip }, async (context) => {
  const { node, schema } = await cluster(context);
  const a = node('a');
  await a.renew(0);
  const [fence] = await a.take([1]);
  await server.query(`UPDATE ${schema}.slots SET token = 'another' WHERE slot = 1`);
  await assert.rejects(a.commit({}, [fence!]), stale);
  await assert.rejects(a.commit({}, [{ ...fence!, epoch: 2 }]), stale);
  await assert.rejects(a.commit({}, [{ ...fence!, slot: 999 }]), stale);
});

test(
  'a node that was frozen in the middle of a commit can not complete it once its slot was taken',
  { skip },
  async (context) => {
    const { node, expire, schema, ledger } = await cluster(context);
    const [a, b] = [node('a'), node('b')];
    await Promise.all([a.renew(0), b.renew(0)]);
    const held = await a.take([1]);
    // A commit waits in front of the check, as of a process that stopped there; meanwhile its slot is taken.
    const holder = new Client({ connectionString: server.url });
    await holder.connect();
    context.after(() => holder.end());
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM ${schema}.slots WHERE slot = 1 FOR UPDATE`);
    const refused = assert.rejects(a.commit({ attempts: [attempt(1)] }, held), stale);
    await waitsForALock(`SELECT ${schema}.fence%`);
    await expire('a');
    await holder.query(`UPDATE ${schema}.slots SET owner = 'b', owner_token = 'x', epoch = 2, token = 'y' WHERE slot = 1`);
    await holder.query('COMMIT');
    await refused;
    assert.deepEqual(await ledger.attempts({ subscription: 'sub', limit: 10 }), []);
  },
);

test('a slot is not taken while a commit of its owner is under way', { skip }, async (context) => {
  const { node, expire, schema, ledger } = await cluster(context);
  const [a, b] = [node('a'), node('b')];
  await Promise.all([a.renew(0), b.renew(0)]);
  const held = await a.take([1]);
  const holder = new Client({ connectionString: server.url });
  await holder.connect();
  context.after(() => holder.end());
  await holder.query('BEGIN');
  await holder.query(`LOCK TABLE ${schema}.lane_cursors`);
  const cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
  const committed = a.commit({ lanes: [{ lane: 'sub.0', shard: 'main', cursor }] }, held);
  await waitsForALock(`INSERT INTO ${schema}.lane_cursors%`);
  await expire('a');
  const taken = b.take([1]);
  await waitsForALock(`SELECT slot FROM ${schema}.slots%`);
  assert.equal((await b.slots())[1]?.epoch, 1);
  await holder.query('COMMIT');
  await committed;
  assert.equal((await taken)[0]?.epoch, 2);
  assert.equal((await ledger.lanes()).length, 1);
});

/** There is no signal for it; each round is a question to the server. */
async function waitsForALock(query: string): Promise<void> {
  while (
    (await server.query(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '${query}'`)).length === 0
  );
}

test('slots that were given back are free at once, and only the owner gives them back', { skip }, async (context) => {
  const { node } = await cluster(context);
  const [a, b] = [node('a'), node('b')];
  await Promise.all([a.renew(0), b.renew(0)]);
  const held = await a.take([1, 2]);
  await b.release([1, 2]);
  assert.deepEqual(await a.renew(0), held);
  await a.release([1]);
  const taken = await b.take([1, 2]);
  assert.deepEqual(
    taken.map(({ slot, epoch }) => [slot, epoch]),
    [[1, 2]],
  );
  await assert.rejects(a.commit({}, held), stale);
});

test('a node that leaves is gone with all its slots free', { skip }, async (context) => {
  const { node } = await cluster(context);
  const [a, b] = [node('a'), node('b')];
  await Promise.all([a.renew(0), b.renew(0)]);
  await a.take(ALL);
  await a.leave();
  assert.deepEqual(
    (await b.nodes()).map(({ node }) => node),
    ['b'],
  );
  assert.deepEqual(numbers(await b.take(ALL)), ALL);
});

test(
  'a name whose lease runs belongs to its process; when it is over another may have it, not the slots with it',
  { skip },
  async (context) => {
    const { node, expire } = await cluster(context);
    const [first, second] = [node('a'), node('a')];
    await first.renew(0);
    const held = await first.take([1]);
    await assert.rejects(second.renew(0), nameTaken);
    await expire('a');
    assert.deepEqual(await second.renew(0), []);
    await assert.rejects(first.renew(0), nameTaken);
    assert.deepEqual(await first.take([2]), []);
    const taken = await second.take([1]);
    assert.equal(taken[0]!.epoch, 2);
    await assert.rejects(first.commit({}, held), stale);
    await first.leave();
    assert.deepEqual(await second.renew(0), taken);
  },
);

test(
  'all nodes see who there is, with load, address and what is left of the lease, and who owns what',
  { skip },
  async (context) => {
    const { node, expire } = await cluster(context);
    const [a, b] = [node('a'), node('b')];
    await a.renew(0.25);
    await b.renew(7);
    await b.renew(1.5);
    await a.take([0, 127]);
    await b.take([5]);
    await expire('b');
    const nodes = await a.nodes();
    assert.deepEqual(
      nodes.map(({ node, address, load, leftMs }) => [node, address, load, leftMs > 0]),
      [
        ['a', 'http://a', 0.25, true],
        ['b', 'http://b', 1.5, false],
      ],
    );
    const slots = await b.slots();
    assert.deepEqual(
      slots.map(({ slot }) => slot),
      ALL,
    );
    assert.deepEqual(
      slots.filter(({ owner }) => owner !== undefined),
      [
        { slot: 0, epoch: 1, owner: 'a', covered: true },
        { slot: 5, epoch: 1, owner: 'b', covered: false },
        { slot: 127, epoch: 1, owner: 'a', covered: true },
      ],
    );
  },
);

test('a renewal that gets no answer is refused while there is time for another, and then holds', { skip }, async (context) => {
  const { node, schema } = await cluster(context);
  const proxy = await testProxy(context, server.url);
  const a = openLeases({ url: proxy.url, schema, node: 'a', address: 'http://a', leaseMs: 3_000 });
  context.after(() => a.close());
  await a.renew(0);
  proxy.freeze();
  await assert.rejects(a.renew(0), hasCode('ledger_unavailable'));
  proxy.cut();
  await assert.rejects(a.renew(0), hasCode('ledger_unavailable'));
  proxy.restore();
  await a.renew(0.75);
  assert.equal((await node('b').nodes())[0]?.load, 0.75);
});
