/** Slots of a made-up weight, moved by real nodes over real leases: that they come to lie evenly, and then lie still. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createMemoryCluster } from '@millrace/memory/leases';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { chance, createHandClock } from '../../test/clock.ts';
import { SLOTS } from '../lanes/subscriber.ts';
import type { Leases } from '../ports/leases.ts';
import { createNode, type Node } from './node.ts';

const LEASE_MS = 3_000;
const ROUND_MS = LEASE_MS / 3;
/** Until what is given in rounds of eight, measured for six rounds each, lies where it stays, whatever lay where before. */
const SETTLED_ROUNDS = 250;

interface Member {
  readonly node: Node;
  readonly slots: Set<number>;
  /** Deliveries in a second of what it works. */
  load(): number;
}

interface Cluster {
  readonly members: Member[];
  /** Of each slot, in a second. */
  readonly rates: number[];
  /** Slots taken by anybody so far. */
  readonly moves: number;
  join(name: string): Promise<Member>;
  /** A node of another version, or one that is broken: it keeps what it took, and says this of its load. */
  broken(name: string, load: number, slots: number): Promise<void>;
  die(member: Member): void;
  rounds(count: number): Promise<void>;
}

function cluster(t: TestContext, rates: number[]): Cluster {
  const clock = createHandClock();
  const leases = createMemoryCluster({ ledger: createMemoryLedger(), now: clock.now, leaseMs: LEASE_MS });
  const members: Member[] = [];
  const others: { readonly leases: Leases; readonly load: number }[] = [];
  let moves = 0;

  async function join(name: string): Promise<Member> {
    const slots = new Set<number>();
    const counted = new Map<number, number>();
    const sinceMs = new Map<number, number>();
    const count = (slot: number): void => {
      const since = ((clock.monotonic() - (sinceMs.get(slot) ?? clock.monotonic())) / 1_000) * (rates[slot] ?? 0);
      counted.set(slot, (counted.get(slot) ?? 0) + since);
      sinceMs.set(slot, clock.monotonic());
    };
    const remove = (gone: Iterable<number>): void => {
      for (const slot of gone) {
        if (slots.delete(slot)) count(slot);
        sinceMs.delete(slot);
      }
    };
    const node = createNode({
      node: name,
      leases: leases.join(name, `http://${name}`),
      held: new Map(),
      clock,
      leaseMs: LEASE_MS,
      onTaken: () => undefined,
      onBegun: () => undefined,
      onNotice: () => undefined,
      slots: {
        owns: () => false,
        async take(taken) {
          moves += taken.size;
          for (const slot of taken) slots.add(slot);
          for (const slot of taken) sinceMs.set(slot, clock.monotonic());
        },
        leave: async (left) => remove(left),
        lose: remove,
        started(slot) {
          if (slots.has(slot)) count(slot);
          return counted.get(slot) ?? 0;
        },
      },
    });
    await node.start();
    t.after(node.abandon);
    const member = { node, slots, load: () => [...slots].reduce((sum, slot) => sum + (rates[slot] ?? 0), 0) };
    members.push(member);
    return member;
  }

  return {
    members,
    rates,
    get moves() {
      return moves;
    },
    join,
    async broken(name, load, slots) {
      const its = leases.join(name, `http://${name}`);
      await its.renew(load);
      await its.take(Array.from({ length: slots }, (_, at) => at));
      others.push({ leases: its, load });
    },
    die(member) {
      member.node.abandon();
      members.splice(members.indexOf(member), 1);
    },
    async rounds(count) {
      for (let round = 0; round < count; round++) {
        for (const other of others) await other.leases.renew(other.load);
        await clock.advance(ROUND_MS);
      }
    },
  };
}

const equal = (rate: number): number[] => Array.from({ length: SLOTS }, () => rate);

const owned = ({ members }: Cluster): number[] => members.flatMap(({ slots }) => [...slots]).toSorted((a, b) => a - b);

/** Every slot is worked, by one node. */
function allWorked(all: Cluster): void {
  assert.deepEqual(
    owned(all),
    Array.from({ length: SLOTS }, (_, slot) => slot),
  );
}

const spread = (all: Cluster): { readonly most: Member; readonly difference: number } => {
  const sorted = all.members.toSorted((a, b) => weight(a) - weight(b));
  const most = sorted.at(-1)!;
  return { most, difference: weight(most) - weight(sorted[0]!) };
};
/** As in parts.ts: a slot weighs one delivery a second by itself. */
const weight = (member: Member): number => member.load() + member.slots.size;

/** No more apart than a quarter of what the heaviest delivers, or than what one of its slots explains. */
function liesEvenly(all: Cluster, label = ''): void {
  const { most, difference } = spread(all);
  const heaviest = Math.max(...[...most.slots].map((slot) => all.rates[slot]! + 1));
  // A slot of three quarters of the difference is not moved: it would nearly change places with it.
  const bound = Math.max(0.25 * most.load() + 1, heaviest / 0.75);
  assert.ok(difference <= bound * 1.05, `${label} ${difference} of ${bound}: ${all.members.map(weight).join(' ')}`);
}

async function liesStill(all: Cluster): Promise<void> {
  const before = all.moves;
  await all.rounds(40);
  assert.equal(all.moves, before, 'moves went on');
}

test('where some slots have much to do and others nothing, these come to lie evenly in few rounds, and then nothing moves', async (t) => {
  // All that is busy falls to the first of two nodes.
  const all = cluster(t, equal(0));
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.rounds(3);
  assert.deepEqual([a.slots.size, b.slots.size], [64, 64]);
  for (const slot of a.slots) all.rates[slot] = 100;
  const before = all.moves;
  // The new load must count first; then eight slots move, are measured for six rounds, and so on four times.
  await all.rounds(60);
  liesEvenly(all);
  allWorked(all);
  assert.ok(all.moves - before <= 40, `${all.moves - before} moves`);
  await liesStill(all);
});

test('where all slots have as much to do nothing moves', async (t) => {
  const all = cluster(t, equal(50));
  for (const name of ['a', 'b', 'c']) await all.join(name);
  await all.rounds(6);
  assert.deepEqual(
    all.members.map(({ slots }) => slots.size).toSorted((a, b) => a - b),
    [42, 43, 43],
  );
  assert.equal(all.moves, SLOTS + 85);
  await liesStill(all);
});

test('a slot that has more to do than all others stays where it is, and what is beside it gives way', async (t) => {
  const all = cluster(t, equal(10));
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.rounds(10);
  const giant = [...a.slots][5]!;
  all.rates[giant] = 1_000;
  await all.rounds(SETTLED_ROUNDS);
  assert.ok(a.slots.has(giant));
  assert.ok(a.slots.size < 40 && b.slots.size > 88, `${a.slots.size} ${b.slots.size}`);
  liesEvenly(all);
  await liesStill(all);
  const idle = cluster(t, equal(0));
  const [c] = [await idle.join('c'), await idle.join('d')];
  await idle.rounds(10);
  idle.rates[[...c.slots][0]!] = 5_000;
  // Sixty slots with nothing to do are no relief beside it.
  await liesStill(idle);
});

test('one that joins a busy cluster gets its part of the slots and of the load at once', async (t) => {
  const random = chance(3);
  const all = cluster(
    t,
    equal(0).map(() => 10 + 40 * random()),
  );
  for (const name of ['a', 'b']) await all.join(name);
  await all.rounds(20);
  const c = await all.join('c');
  await all.rounds(4);
  assert.equal(c.slots.size, 42);
  liesEvenly(all);
  allWorked(all);
  await liesStill(all);
});

test('the slots of one that dies are taken within its lease, by load, and lie evenly after that', async (t) => {
  const random = chance(4);
  const all = cluster(
    t,
    equal(0).map(() => 100 * random() ** 4),
  );
  for (const name of ['a', 'b', 'c', 'd']) await all.join(name);
  await all.rounds(100);
  all.die(all.members[1]!);
  await all.rounds(5);
  allWorked(all);
  await all.rounds(100);
  liesEvenly(all);
  await liesStill(all);
});

test('what is free goes to whoever has least to do', async (t) => {
  const all = cluster(t, equal(0));
  for (const name of ['a', 'b', 'c']) await all.join(name);
  await all.rounds(10);
  for (const slot of all.members[0]!.slots) all.rates[slot] = 20;
  for (const slot of all.members[2]!.slots) all.rates[slot] = 20;
  all.die(all.members[2]!);
  await all.rounds(5);
  const [a, b] = all.members as [Member, Member];
  allWorked(all);
  assert.ok(b.slots.size - a.slots.size > 30, `${a.slots.size} ${b.slots.size}`);
});

for (const load of [NaN, -1, Infinity, -Infinity, 1e300, 1e8])
  test(`a node that says its load is ${load} keeps others from nothing: they lie evenly, and still`, async (t) => {
    const all = cluster(t, equal(20));
    await all.broken('x', load, 42);
    const [a, b] = [await all.join('a'), await all.join('b')];
    await all.rounds(20);
    for (const slot of a.slots) all.rates[slot] = 60;
    await all.rounds(SETTLED_ROUNDS);
    liesEvenly(all, String(load));
    assert.deepEqual(
      owned(all),
      Array.from({ length: SLOTS - 42 }, (_, at) => at + 42),
    );
    assert.ok(a.slots.size > 10 && b.slots.size > 10);
    await liesStill(all);
  });

test('what is offered to a node that has nothing to do and takes nothing is worked by others', async (t) => {
  const all = cluster(t, equal(20));
  await all.broken('x', 0, 42);
  const [a, b] = [await all.join('a'), await all.join('b')];
  await all.rounds(100);
  // It is offered some again and again: what is seen in the end may be on its way back.
  const seen = new Set(owned(all));
  for (let round = 0; round < 4; round++) {
    await all.rounds(1);
    for (const slot of owned(all)) seen.add(slot);
  }
  assert.equal(seen.size, SLOTS - 42);
  assert.ok(Math.min(a.slots.size, b.slots.size) > 30);
});

test('whatever the loads, they come to lie evenly, few slots move for it, and then none', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const random = chance(seed);
    const steepness = 1 + Math.floor(6 * random());
    const most = 10 ** Math.floor(4 * random());
    const all = cluster(
      t,
      equal(0).map(() => most * random() ** steepness),
    );
    const count = 2 + Math.floor(4 * random());
    for (let at = 0; at < count; at++) await all.join(`n${at}`);
    await all.rounds(SETTLED_ROUNDS);
    liesEvenly(all, `seed ${seed}`);
    allWorked(all);
    assert.ok(all.moves <= 3 * SLOTS, `seed ${seed}: ${all.moves} moves`);
    const before = all.moves;
    // Now others are busy.
    for (let slot = 0; slot < SLOTS; slot++) all.rates[slot] = most * random() ** steepness;
    await all.rounds(SETTLED_ROUNDS);
    liesEvenly(all, `seed ${seed} changed`);
    allWorked(all);
    assert.ok(all.moves - before <= SLOTS, `seed ${seed}: ${all.moves - before} moves after the change`);
    const then = all.moves;
    await all.rounds(40);
    assert.equal(all.moves, then, `seed ${seed}: moves went on`);
  }
});
