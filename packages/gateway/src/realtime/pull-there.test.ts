/** Pulls at one node of a group that another one works. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { createApp } from '../http/app.ts';
import { turnsUntil } from '../http/test/door.ts';
import { LIMITS } from '../limits.ts';
import { Elsewhere } from '../look-up.ts';
import { systemClock } from '../system-clock.ts';
import { pullThere } from './pull-there.ts';
import { RELAYED } from './relay.ts';
import { type Frame, realtime, type RealtimeDoor } from './test/client.ts';

interface Nodes {
  readonly owner: RealtimeDoor;
  /** How often somebody came to the group at its owner, and wanted no more of it. */
  readonly joins: () => number;
  readonly ends: () => number;
  /** How often it was asked who works it. */
  readonly looks: () => number;
  /** At the node that does not work the group. */
  pull(frames: readonly object[], signal?: AbortSignal): Promise<Frame[]>;
  /** From now on it is known, or not, who works it. */
  move(isKnown: boolean): void;
}

async function nodes(t: TestContext): Promise<Nodes> {
  const owner = await realtime(t);
  const { gateway, directory, ledger, vault } = owner;
  const really = gateway.groups.join;
  let [joins, ends, looks] = [0, 0, 0];
  t.mock.method(gateway.groups, 'join', (...given: Parameters<typeof really>) => {
    joins++;
    const member = really(...given);
    const { drain } = member;
    return Object.assign(member, { drain: () => (ends++, drain()) });
  });
  const elsewhere = {
    ...gateway.groups,
    join(environment: string, id: string): never {
      void environment;
      throw new Elsewhere(id, 'u');
    },
  };
  let isKnown = true;
  let changed = Promise.withResolvers<void>();
  const app = await createApp({
    gateway: { ...gateway, groups: elsewhere },
    directory,
    ledger,
    vault,
    clock: {
      ...systemClock,
      monotonic: owner.hand.monotonic,
      after: (delayMs, work) => (delayMs === 0 ? systemClock : owner.hand).after(delayMs, work),
    },
    version: '0',
    isReady: () => true,
    addressOf: () => (looks++, isKnown ? owner.app.listeningOrigin : undefined),
    changed: () => changed.promise,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  const json = { topics: ['orders.created'], deliver: { stream: {} }, ordering: 'key' };
  await owner.ask('PUT /v1/subscriptions/mailer', { json });
  return {
    owner,
    joins: () => joins,
    ends: () => ends,
    looks: () => looks,
    move(known) {
      isKnown = known;
      changed.resolve();
      changed = Promise.withResolvers();
    },
    async pull(frames, signal) {
      const answer = await fetch(`${app.listeningOrigin}/v1/pull`, {
        method: 'POST',
        headers: { authorization: `Bearer ${owner.admin}`, 'content-type': 'application/json' },
        body: JSON.stringify(frames),
        ...(signal === undefined ? {} : { signal }),
      });
      assert.equal(answer.status, 200);
      return (await answer.json()) as Frame[];
    },
  };
}

const sub = (more: object = {}): object => ({ op: 'sub', group: 'mailer', credit: 1, waitMs: 60_000, ...more });

describe('a pull at another node', { timeout: 30_000 }, () => {
  test('is told the topics of the group where it asked for others', async (t) => {
    const { owner, pull } = await nodes(t);
    await owner.publish('orders.created', { n: 0 });
    const [subed] = await pull([sub({ topics: ['orders.paid'] })]);
    assert.deepEqual([subed.op, subed.topics], ['subed', ['orders.created']]);
  });

  test('gets what the owner hands over, byte for byte, and acks by any node', async (t) => {
    const { owner, pull } = await nodes(t);
    for (let n = 0; n < 3; n++) await owner.publish('orders.created', { n });
    const [subed, first] = await pull([sub({ sub: 7 })]);
    assert.deepEqual([subed.op, subed.sub, first.sub, first.attempt, first.event.data], ['subed', 7, 7, 1, { n: 0 }]);
    // Pulled here, acked at the owner; pulled there, acked here.
    const [acked, , second] = (
      await owner.ask('POST /v1/pull', {
        json: [{ op: 'ack', group: 'mailer', ids: [first.id] }, sub()],
      })
    ).json;
    assert.deepEqual([acked.ids, second.event.data], [[first.id], { n: 1 }]);
    const [there, error, , third] = await pull([{ op: 'ack', group: 'mailer', ids: [second.id, 'made~up'], ref: 'x' }, sub()]);
    assert.deepEqual([there.op, there.ids, there.ref], ['acked', [second.id], 'x']);
    assert.deepEqual([error.code, error.ids, third.event.data], ['unknown_delivery', ['made~up'], { n: 2 }]);
    assert.equal((await owner.ask(`GET /v1/deliveries/${second.id}`)).json.outcome, 'delivered');
    assert.deepEqual(owner.errors, []);
  });

  test('whose client goes leaves nothing at the owner', async (t) => {
    const { owner, pull, joins, ends } = await nodes(t);
    const gone = new AbortController();
    const waiting = pull([sub()], gone.signal);
    await turnsUntil(() => joins() === 1);
    gone.abort();
    await assert.rejects(waiting);
    await turnsUntil(() => ends() === 1);
    await owner.publish('orders.created', { n: 1 });
    const [, msg] = await pull([sub()]);
    assert.deepEqual([msg.attempt, msg.event.data], [1, { n: 1 }]);
  });

  test('gives back what its client did not live to see: it comes again at once', async (t) => {
    const { owner, pull } = await nodes(t);
    await owner.publish('orders.created', { n: 1 });
    const part = await pullThere({
      address: owner.app.listeningOrigin,
      frames: [{ op: 'sub', sub: 1, group: 'mailer', credit: 1, waitMs: 60_000 }],
      waitMs: 60_000,
      credentials: `Bearer ${owner.admin}`,
      proof: () => owner.vault.seal(`${RELAYED} ${Date.now()}`),
      ended: new AbortController().signal,
      limits: LIMITS,
    });
    assert.match(part.frames.map(String).join(), /"attempt":1/);
    part.lost('returned');
    const [, again] = await pull([sub()]);
    assert.deepEqual([again.attempt, again.event.data], [2, { n: 1 }]);
  });

  test('waits for a group that moves, and says so where that takes too long', async (t) => {
    const { owner, pull, move, looks } = await nodes(t);
    await owner.publish('orders.created', { n: 1 });
    move(false);
    const waiting = pull([sub()]);
    await turnsUntil(() => looks() === 1);
    move(true);
    const [, msg] = await waiting;
    assert.deepEqual(msg.event.data, { n: 1 });
    move(false);
    const before = looks();
    const inVain = pull([{ op: 'ack', group: 'mailer', ids: [msg.id] }, sub({ waitMs: 0 })]);
    await turnsUntil(() => looks() > before);
    await owner.hand.advance(LIMITS.movingMs);
    const answer = await inVain;
    assert.deepEqual(
      answer.map(({ op, code, retryable, ids }) => [op, code, retryable, ids]),
      [
        ['error', 'moving', true, [msg.id]],
        ['error', 'moving', true, undefined],
      ],
    );
  });

  test('is asked by a node alone: whoever says so without proof is a client, and is counted', async (t) => {
    const { owner } = await nodes(t);
    await owner.ask('PATCH /v1/apps/shop', { json: { quotas: { connections: 1 } } });
    const key = await owner.key('shop', ['subscribe']);
    await (await owner.client()).hello(key);
    const headers = { [RELAYED]: 'made up' };
    assert.equal((await owner.ask('POST /v1/pull', { key, json: [], headers })).json.code, 'quota_exceeded');
    const proof = { [RELAYED]: owner.vault.seal(`${RELAYED} ${Date.now()}`) };
    assert.deepEqual((await owner.ask('POST /v1/pull', { key, json: [], headers: proof })).json, []);
  });
});
