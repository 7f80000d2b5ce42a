/** A consumer at one node of a group that another one works. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { createApp } from '../http/app.ts';
import { Elsewhere } from '../look-up.ts';
import { systemClock } from '../system-clock.ts';
import { type Client, clientAt, realtime, type RealtimeDoor } from './test/client.ts';

interface Nodes {
  readonly owner: RealtimeDoor;
  /** At the node that does not work the group. */
  client(): Promise<Client>;
}

async function nodes(t: TestContext): Promise<Nodes> {
  const owner = await realtime(t);
  const { gateway, directory, ledger, vault } = owner;
  const groups = {
    ...gateway.groups,
    join(environment: string, id: string): never {
      void environment;
      throw new Elsewhere(id, 'u');
    },
  };
  const app = await createApp({
    gateway: { ...gateway, groups },
    directory,
    ledger,
    vault,
    clock: systemClock,
    version: '0',
    node: 'b',
    isReady: () => true,
    addressOf: () => owner.app.listeningOrigin,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => app.close());
  await owner.ask('PUT /v1/subscriptions/mailer', {
    json: { topics: ['orders.created'], deliver: { stream: {} }, ordering: 'key' },
  });
  return { owner, client: () => clientAt(t, app.listeningOrigin, owner.admin) };
}

describe('a relay', { timeout: 30_000 }, () => {
  test('carries deliveries and acks under the numbers of its client, and credit once', async (t) => {
    const { owner, client } = await nodes(t);
    const one = await client();
    assert.equal((await one.hello()).node, 'b');
    one.say({ op: 'sub', sub: 7, group: 'mailer', credit: 1 });
    assert.equal((await one.next('subed')).sub, 7);
    for (let n = 0; n < 4; n++) await owner.publish('orders.created', { n });
    const first = await one.next('msg');
    assert.deepEqual([first.sub, first.attempt], [7, 1]);
    one.say({ op: 'ack', sub: 7, ids: [first.id], credit: 1 });
    assert.deepEqual((await one.next('acked')).ids, [first.id]);
    const second = await one.next('msg');
    one.say({ op: 'ping', t: 1 });
    await one.next('pong');
    // One credit, one message: the third waits.
    one.say({ op: 'ack', sub: 7, ids: [second.id] });
    await one.next('acked');
    one.say({ op: 'credit', sub: 7, add: 2 });
    const [third, fourth] = [await one.next('msg'), await one.next('msg')];
    assert.deepEqual(
      [third, fourth].map(({ event, attempt }) => [event.data.n, attempt]),
      [
        [2, 1],
        [3, 1],
      ],
    );
    assert.deepEqual(owner.errors, []);
  });

  test('tells answers apart that come in another order than the questions', async (t) => {
    const { owner, client } = await nodes(t);
    const one = await client();
    await one.hello();
    one.say({ op: 'sub', sub: 1, group: 'mailer', credit: 2 });
    await one.next('subed');
    for (let n = 0; n < 2; n++) await owner.publish('orders.created', { n });
    const [a, b] = [await one.next('msg'), await one.next('msg')];
    one.say({ op: 'ack', sub: 1, ids: [a.id, 'made~up'], ref: 'x' }, { op: 'extend', sub: 1, ids: [b.id], ms: 60_000, ref: 'y' });
    assert.deepEqual(await one.next('extended'), { op: 'extended', sub: 1, ref: 'y', ids: [b.id] });
    assert.deepEqual(await one.next('acked'), { op: 'acked', sub: 1, ref: 'x', ids: [a.id] });
    assert.deepEqual((await one.next('error')).ids, ['made~up']);
  });

  test('lets go of what its client leaves behind, and counts no attempt where it says so', async (t) => {
    const { owner, client } = await nodes(t);
    const one = await client();
    await one.hello();
    one.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 });
    await one.next('subed');
    await owner.publish('orders.created', { n: 1 });
    await one.next('msg');
    one.say({ op: 'unsub', sub: 1 });
    await one.next('unsubed');
    const other = await client();
    await other.hello();
    other.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 });
    assert.equal((await other.next('msg')).attempt, 1);
    other.socket.terminate();
    const third = await owner.client();
    await third.hello();
    third.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 });
    assert.equal((await third.next('msg')).attempt, 2);
  });
});
