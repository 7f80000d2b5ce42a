/** Several nodes over one log, directory and ledger: who works what, and what becomes of it when one goes, dies, or is frozen. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryCluster } from '@millrace/memory/leases';
import { createMemoryLog } from '@millrace/memory/log';
import { Problem } from '@millrace/core/problem';
import {
  createHandClock,
  createScriptedSender,
  draftOf,
  type HandClock,
  type ScriptedSender,
  settle,
  SUBSCRIPTION,
  TOPIC,
} from '../../test/clock.ts';
import type { Gateway, SubscriptionSpec } from '../api.ts';
import { createGateway } from '../gateway.ts';
import { SLOTS } from '../lanes/subscriber.ts';
import { LIMITS } from '../limits.ts';
import type { Directory } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import { createVault } from '../vault.ts';
import { type ClusterNode, createClusterNode } from './cluster.ts';
import type { NodeNotice } from './node.ts';

const LEASE_MS = 3_000;
const ROUND_MS = LEASE_MS / 3;

interface Member {
  readonly gateway: Gateway;
  readonly node: ClusterNode;
  readonly sender: ScriptedSender;
  /** Its own: it may stand still while others go on. */
  readonly clock: HandClock;
  readonly notices: NodeNotice[];
  slots(): number;
}

interface Cluster {
  readonly clock: HandClock;
  readonly ledger: Ledger;
  /** Refuses everything while it is away. */
  isAway: boolean;
  /** Refuses only what is asked about subscriptions: leases and commits work. */
  isUnreadable: boolean;
  /** The directory refuses the next so many changes. */
  refusedPuts: number;
  /** Whoever joins from now on finds another log, without any event. */
  recreateLog(): void;
  join(name: string, clock?: HandClock): Promise<Member>;
  /** Of the next call of this name to the leases, by any node, the answer is lost: it has had its effect, or has none. */
  lose(call: 'take' | 'release' | 'renew', when: 'before' | 'after'): void;
  /** Events sent by all nodes, each as often as it was. */
  sent(...members: readonly Member[]): string[];
  advance(ms: number): Promise<void>;
}

async function cluster(t: TestContext): Promise<Cluster> {
  const clock = createHandClock();
  const made = { isAway: false, isUnreadable: false, refusedPuts: 0 };
  const directory = refusing(createMemoryDirectory(), made);
  let log = createMemoryLog({ now: clock.now });
  const stored = createMemoryLedger();
  const vault = createVault(new Uint8Array(32).fill(7));
  const lost = new Map<string, 'before' | 'after'>();
  const { commit } = unlessAway(stored, made);
  const unreadable = {
    get isAway() {
      return made.isAway || made.isUnreadable;
    },
  };
  const ledger = { ...unlessAway(stored, unreadable), commit };
  const leases = createMemoryCluster({ ledger, now: clock.now, leaseMs: LEASE_MS });
  for (const app of ['shop', 'crm']) await directory.put('app', 'default', app, { name: app, createdMs: 0 });
  await directory.put('topic', 'default', 'orders.created', TOPIC);

  async function join(name: string, own = clock): Promise<Member> {
    const sender = createScriptedSender(own);
    const notices: NodeNotice[] = [];
    const node = createClusterNode({
      node: name,
      ledger,
      leases: unlessAway(withLosses(leases.join(name, `http://${name}`), lost), made),
      slots: () => gateway.slots,
      clock: own,
      leaseMs: LEASE_MS,
      onNotice: (notice) => notices.push(notice),
    });
    const ports = { log, directory, ledger: node.ledger, sender: node.guard(sender), clock: own, vault };
    const gateway = createGateway({ ports, withoutSlots: true });
    await gateway.start();
    await node.start();
    t.after(() => {
      node.abandon();
      gateway.abandon();
    });
    const slots = (): number => {
      const last = notices.findLast((notice) => 'now' in notice);
      return last !== undefined && 'now' in last ? last.now : 0;
    };
    return { gateway, node, sender, clock: own, notices, slots };
  }

  return Object.assign(made, {
    clock,
    ledger,
    join,
    recreateLog: () => void (log = createMemoryLog({ now: clock.now, identity: 'another' })),
    lose: (call: string, when: 'before' | 'after') => void lost.set(call, when),
    sent: (...members: readonly Member[]) => members.flatMap(({ sender }) => sender.sent.map(({ event }) => event)).toSorted(),
    advance: (ms: number) => clock.advance(ms),
  });
}

/** The same, but it refuses the next `refusedPuts`. */
function refusing(directory: Directory, when: { refusedPuts: number }): Directory {
  return {
    ...directory,
    async put(...args) {
      if (when.refusedPuts === 0) return directory.put(...args);
      when.refusedPuts--;
      throw new Problem('ledger_unavailable', 'it is away');
    },
  };
}

/** The same, but every call is refused while it is away. */
function unlessAway<T extends object>(port: T, when: { readonly isAway: boolean }): T {
  return Object.fromEntries(
    Object.entries(port).map(([name, call]: [string, (...args: unknown[]) => Promise<unknown>]) => [
      name,
      async (...args: unknown[]) => {
        if (when.isAway) throw new Problem('ledger_unavailable', 'it is away');
        return call(...args);
      },
    ]),
  ) as T;
}

/** Loses one answer, or the call itself, for each name in `lost`. */
function withLosses<T extends object>(port: T, lost: Map<string, 'before' | 'after'>): T {
  return Object.fromEntries(
    Object.entries(port).map(([name, call]: [string, (...args: unknown[]) => Promise<unknown>]) => [
      name,
      async (...args: unknown[]) => {
        const when = lost.get(name);
        lost.delete(name);
        if (when === 'before') throw new Problem('ledger_unavailable', 'it never arrived');
        const answer = await call(...args);
        if (when === 'after') throw new Problem('ledger_unavailable', 'the answer was lost');
        return answer;
      },
    ]),
  ) as T;
}

/** By these in turn: a node works what it made. */
async function subscribe(members: readonly Member[], count: number, spec: Partial<SubscriptionSpec> = {}): Promise<void> {
  for (let at = 0; at < count; at++)
    await (members[at % members.length] as Member).gateway.subscriptions.create('default', `s${at}`, {
      ...SUBSCRIPTION,
      ...spec,
      deliver: { webhook: { url: `https://e${at}.example/` } },
    });
  await settle();
}

async function publish({ gateway }: Member, ...ids: readonly string[]): Promise<void> {
  await gateway.publish({ environment: 'default', app: 'shop', events: ids.map(draftOf) });
  await settle();
}

const times = (ids: readonly string[], count: number): string[] =>
  ids.flatMap((id) => Array.from({ length: count }, () => id)).toSorted();

test('three nodes share the slots evenly, and each subscription is worked by one of them', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  assert.equal(a.slots(), SLOTS);
  await subscribe([a], 30);
  const [b, c] = [await all.join('b'), await all.join('c')];
  await all.advance(4 * ROUND_MS);
  assert.deepEqual([a.slots(), b.slots(), c.slots()], [43, 43, 42]);
  await publish(b, '1', '2', '3');
  assert.deepEqual(all.sent(a, b, c), times(['1', '2', '3'], 30));
  for (const { sender } of [a, b, c]) assert.ok(sender.sent.length > 0);
  const owners = new Map<string, Set<Member>>();
  for (const member of [a, b, c])
    for (const { subscription } of member.sender.sent)
      owners.set(subscription, (owners.get(subscription) ?? new Set()).add(member));
  for (const its of owners.values()) assert.equal(its.size, 1);
});

test('what a node made is worked by whoever has its slot later', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  const b = await all.join('b');
  await all.advance(3 * ROUND_MS);
  await subscribe([b], 10);
  await publish(a, '1');
  assert.deepEqual(all.sent(a, b), times(['1'], 10));
  await b.node.stop();
  await all.advance(2 * ROUND_MS);
  await publish(a, '2');
  assert.deepEqual(all.sent(a, b), times(['1', '2'], 10));
});

test('a node that stops has written down all it did: nothing is sent again, and its slots go on at the next round', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([a, b], 12, { ordering: 'key' });
  for (const { sender } of [a, b]) sender.script = ({ event }) => (event === 'k/2' ? 500 : 200);
  await publish(a, 'k/1', 'k/2', 'k/3', 'free');
  const stopping = b.node.stop();
  await all.advance(100);
  await stopping;
  await b.gateway.stop();
  for (const { sender } of [a, b]) sender.script = () => 200;
  await publish(a, 'k/4');
  await all.advance(2 * ROUND_MS);
  assert.equal(a.slots(), SLOTS);
  await all.advance(60_000);
  assert.deepEqual(all.sent(a, b), [...times(['free', 'k/1', 'k/3', 'k/4'], 12), ...times(['k/2'], 24)].toSorted());
  for (let at = 0; at < 12; at++) {
    const its = [...b.sender.sent, ...a.sender.sent].filter(({ headers }) => headers['millrace-subscription'] === `s${at}`);
    const ofKey = its.map(({ event }) => event).filter((event) => event.startsWith('k/'));
    assert.deepEqual(ofKey, ['k/1', 'k/2', 'k/2', 'k/3', 'k/4'], `s${at}`);
  }
});

test('a node that dies: its slots are taken within its lease, what was in flight is sent again under the same id, nothing is lost', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([a, b], 12);
  b.sender.script = () => undefined;
  await publish(a, '1', '2');
  const open = b.sender.sent.map(({ headers }) => headers['webhook-id']);
  assert.ok(open.length > 0);
  b.node.abandon();
  b.gateway.abandon();
  await publish(a, '3');
  await all.advance(LEASE_MS + ROUND_MS);
  assert.equal(a.slots(), SLOTS);
  const byA = new Set(a.sender.sent.map(({ headers }) => headers['webhook-id']));
  for (const id of open) assert.ok(byA.has(id));
  assert.equal(a.sender.sent.length, 36);
});

test('a node that was frozen past its lease writes nothing any more, and sends nothing once it looks', async (t) => {
  const all = await cluster(t);
  const frozen = createHandClock();
  const [a, b] = [await all.join('a'), await all.join('b', frozen)];
  for (let round = 0; round < 3; round++) {
    await all.advance(ROUND_MS);
    await frozen.advance(ROUND_MS);
  }
  assert.deepEqual([a.slots(), b.slots()], [64, 64]);
  await subscribe([a, b], 12);
  b.sender.script = () => undefined;
  await publish(a, '1');
  const [open] = b.sender.sent;
  assert.ok(open !== undefined);
  await all.advance(LEASE_MS + ROUND_MS);
  assert.equal(a.slots(), SLOTS);
  // It goes on where it was: an answer comes in, and it knows of nothing.
  for (const sent of b.sender.sent) sent.answer(500);
  await settle();
  await frozen.advance(10);
  assert.equal(b.slots(), 0);
  const uid = open.subscription;
  const rows = (await all.ledger.attempts({ subscription: uid, limit: 10 })).map(({ outcome }) => outcome);
  assert.deepEqual(rows, ['delivered']);
  assert.deepEqual(await all.ledger.openLanes(), []);
  await publish(a, '2');
  await frozen.advance(2 * ROUND_MS);
  assert.equal(b.sender.sent.filter(({ event }) => event === '2').length, 0);
  assert.equal(a.sender.sent.filter(({ event }) => event === '2').length, 12);
});

test('a node that was frozen past its lease sends nothing though what it waited for comes before its timers', async (t) => {
  const all = await cluster(t);
  const frozen = createHandClock();
  const [a, b] = [await all.join('a'), await all.join('b', frozen)];
  for (let round = 0; round < 3; round++) {
    await all.advance(ROUND_MS);
    await frozen.advance(ROUND_MS);
  }
  await subscribe([b], 12, { ordering: 'key' });
  b.sender.script = () => undefined;
  await publish(a, 'k/1', 'k/2');
  assert.deepEqual(all.sent(b), times(['k/1'], 12));
  frozen.pass(LEASE_MS + ROUND_MS);
  await all.advance(LEASE_MS + ROUND_MS);
  assert.deepEqual(all.sent(a), times(['k/1', 'k/2'], 12));
  // It goes on: the answers stand in its sockets, and its timers come after them.
  for (const sent of b.sender.sent) sent.answer(200);
  await settle();
  assert.deepEqual(all.sent(b), times(['k/1'], 12));
  assert.ok(b.notices.some(({ kind }) => kind === 'lease_over'));
  b.sender.script = () => 200;
  for (let round = 0; round < 4; round++) {
    await frozen.advance(ROUND_MS);
    await all.advance(ROUND_MS);
  }
  assert.deepEqual([a.slots(), b.slots()], [64, 64]);
  await publish(a, 'k/3');
  assert.equal([...a.sender.sent, ...b.sender.sent].filter(({ event }) => event === 'k/3').length, 12);
});

test('while the store is away longer than a lease nothing is sent; then every node goes on with what it had', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([a, b], 12);
  all.isAway = true;
  await all.advance(3 * LEASE_MS);
  await publish(a, '1');
  assert.deepEqual(all.sent(a, b), []);
  for (const { notices } of [a, b]) assert.ok(notices.some(({ kind }) => kind === 'lease_over'));
  all.isAway = false;
  // Commits that failed are repeated after 5 s at the latest.
  await all.advance(8_000);
  assert.deepEqual(all.sent(a, b), times(['1'], 12));
  assert.deepEqual([a.slots(), b.slots()], [64, 64]);
  for (const { notices } of [a, b]) assert.ok(!notices.some(({ kind }) => kind === 'slots_lost'));
});

test('a lease that ends while slots are being taken costs none of their subscriptions what is written of it', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  await subscribe([a], 12, { retry: { schedule: [] } });
  a.sender.script = () => 500;
  await publish(a, '1');
  await all.advance(100);
  assert.equal((await all.ledger.deadLetterCounts()).length, 12);
  a.node.abandon();
  a.gateway.abandon();
  const b = await all.join('b');
  all.isUnreadable = true;
  await all.advance(LEASE_MS + ROUND_MS);
  // It has them, and can't read what is written of them; then its lease ends, too.
  all.isAway = true;
  await all.advance(2 * LEASE_MS);
  assert.ok(b.notices.some(({ kind }) => kind === 'lease_over'));
  all.isAway = false;
  all.isUnreadable = false;
  await all.advance(8_000);
  assert.equal(b.slots(), SLOTS);
  assert.equal((await all.ledger.deadLetterCounts()).length, 12);
  await publish(b, '2');
  assert.deepEqual(all.sent(b), times(['2'], 12));
});

test('where the log is another one and the store fails while slots are taken, what the new log holds is not taken for worked', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  await subscribe([a], 1);
  await publish(a, '1', '2', '3');
  // Until only their slots' rows stand for them.
  await all.advance(20_000);
  assert.equal((await all.ledger.lanes()).filter(({ shard }) => shard !== '').length, 0);
  a.node.abandon();
  a.gateway.abandon();
  all.recreateLog();
  const b = await all.join('b');
  await publish(b, '4', '5', '6');
  all.refusedPuts = 1;
  await all.advance(LEASE_MS + 2 * ROUND_MS);
  assert.equal(all.refusedPuts, 0);
  await all.advance(8_000);
  assert.equal(b.slots(), SLOTS);
  assert.deepEqual(all.sent(b), ['4', '5', '6']);
});

test('settings that change while its slot is taken do not keep a subscription from going on in another log', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  await subscribe([a], 1);
  await publish(a, '1', '2', '3');
  await all.advance(20_000);
  a.node.abandon();
  a.gateway.abandon();
  all.recreateLog();
  const b = await all.join('b');
  await publish(b, '4');
  all.refusedPuts = 1;
  while (all.refusedPuts > 0) await all.advance(10);
  await b.gateway.subscriptions.update('default', 's0', { concurrency: 3 });
  await all.advance(8_000);
  assert.deepEqual(all.sent(b), ['4']);
  assert.equal(b.slots(), SLOTS);
});

test('one that is deleted while its slot is taken keeps no other from going on in another log', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  await subscribe([a], 2);
  await publish(a, '1', '2', '3');
  await all.advance(20_000);
  a.node.abandon();
  a.gateway.abandon();
  all.recreateLog();
  const b = await all.join('b');
  await publish(b, '4');
  all.refusedPuts = 1;
  while (all.refusedPuts > 0) await all.advance(10);
  await b.gateway.subscriptions.delete('default', 's0');
  await all.advance(8_000);
  assert.deepEqual(all.sent(b), ['4']);
  assert.equal(b.slots(), SLOTS);
});

test('a lease that ends while slots are given back passes nothing that is not written down', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([b], 1);
  b.sender.script = () => undefined;
  await publish(a, '1', '2', '3');
  assert.equal(b.sender.sent.length, 3);
  all.isAway = true;
  const stopping = b.node.stop();
  await settle();
  // The first is on its way to the store, which is away; the second waits behind it; the third is still open when the lease ends.
  b.sender.sent[0]?.answer(500);
  await settle();
  b.sender.sent[1]?.answer(500);
  await all.advance(LEASE_MS + ROUND_MS);
  b.sender.sent[2]?.answer(500);
  await settle();
  all.isAway = false;
  await all.advance(60_000);
  await stopping;
  for (const event of ['1', '2', '3']) assert.ok(all.sent(a).includes(event), event);
});

test('a subscription is not made where its node lost the slot before its beginning was written down', async (t) => {
  const all = await cluster(t);
  const a = await all.join('a');
  await subscribe([a], 1);
  all.isAway = true;
  const making = a.gateway.subscriptions.create('default', 'late', SUBSCRIPTION);
  const refused = assert.rejects(making, { code: 'moving' });
  const rewinding = a.gateway.replays.rewind('default', 's0', 'latest');
  const notRewound = assert.rejects(rewinding, { code: 'moving' });
  await all.advance(2 * LEASE_MS);
  all.isAway = false;
  await all.advance(8_000);
  await refused;
  await notRewound;
  await assert.rejects(a.gateway.subscriptions.pause('default', 'late'), { code: 'not_found' });
  await a.gateway.subscriptions.create('default', 'late', SUBSCRIPTION);
  await publish(a, '1');
  assert.deepEqual(all.sent(a), times(['1'], 2));
});

for (const [call, when] of [
  ['take', 'after'],
  ['take', 'before'],
  ['release', 'after'],
  ['release', 'before'],
  ['renew', 'after'],
] as const)
  test(`where ${call} of slots is not answered (${when} it had its effect), all are worked in the end`, async (t) => {
    const all = await cluster(t);
    const a = await all.join('a');
    await subscribe([a], 30);
    all.lose(call, when);
    const b = await all.join('b').catch(() => all.join('c'));
    await all.advance(LEASE_MS + 6 * ROUND_MS);
    await publish(a, '1');
    assert.deepEqual(all.sent(a, b), times(['1'], 30));
  });

test('where a subscription is worked can be told by every node, and others say that it is not here', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([a], 1);
  await all.advance(ROUND_MS);
  await assert.rejects(b.gateway.health('default', 's0'), { code: 'moving' });
  assert.equal((await a.gateway.health('default', 's0')).state, 'active');
  const places = Array.from({ length: SLOTS }, (_, slot) => b.node.addressOf(slot));
  assert.deepEqual(
    [places.filter((one) => one === 'http://a').length, places.filter((one) => one === 'http://b').length],
    [64, 64],
  );
});

test('what a subscription is sent counts as load of the node that works it, and slots that have nothing to do go to others', async (t) => {
  const all = await cluster(t);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.advance(3 * ROUND_MS);
  await subscribe([a], 1);
  const numbers = Array.from({ length: 400 }, (_, at) => String(at));
  for (let round = 0; round < 20; round++) {
    await publish(a, ...numbers.slice(round * 20, round * 20 + 20));
    await all.advance(ROUND_MS);
  }
  assert.equal(b.node.work.load, 0);
  assert.ok(Math.abs(a.node.work.load - 20) < 2, String(a.node.work.load));
  assert.ok(a.slots() < b.slots(), `${a.slots()} ${b.slots()}`);
  assert.equal(a.slots() + b.slots(), SLOTS);
  assert.deepEqual(all.sent(a, b), times(numbers, 1));
});

test('whoever waits for a slot that moves is woken when it is worked, on the node that works it now and on others', async (t) => {
  const all = await cluster(t);
  const [a, b, c] = [await all.join('a'), await all.join('b'), await all.join('c')];
  await all.advance(4 * ROUND_MS);
  const slot = Array.from({ length: SLOTS }, (_, at) => at).find((at) => a.node.addressOf(at) === 'http://a')!;
  const seen = { b: '', c: '' };
  const watch = async (name: 'b' | 'c', { node }: Member): Promise<void> => {
    while (!['http://b', 'http://c'].includes(node.addressOf(slot) ?? '')) await node.changed();
    seen[name] = node.addressOf(slot) ?? '';
  };
  const watching = Promise.all([watch('b', b), watch('c', c)]);
  await a.node.stop();
  await all.advance(2 * ROUND_MS);
  await watching;
  assert.equal(seen.b, seen.c);
  const owner = seen.b === 'http://b' ? b : c;
  assert.equal(owner.node.addressOf(slot), seen.b);
});

test('a node that is stopped while the store is away ends, and what it could not write down is sent again by others', async (t) => {
  const world = await cluster(t);
  const one = await world.join('a');
  await subscribe([one], 1);
  world.isAway = true;
  await publish(one, '1');
  assert.deepEqual(world.sent(one), ['1']);
  let hasEnded = false;
  const stopped = one.node.stop().then(() => (hasEnded = true));
  await world.advance(ROUND_MS);
  assert.equal(hasEnded, false);
  await world.advance(LEASE_MS + 2 * LIMITS.drainMs);
  await stopped;
  one.gateway.abandon();
  world.isAway = false;
  const other = await world.join('b');
  await world.advance(LEASE_MS);
  assert.deepEqual(world.sent(other), ['1']);
});
