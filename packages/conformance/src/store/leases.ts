/** Leases: which node works which slots, and that nobody writes about what is another's by now. */
import assert from 'node:assert/strict';
import type { Ledger } from '@millrace/gateway/ports/ledger';
import type { Fence, Leases } from '@millrace/gateway/ports/leases';
import type { Behaviours } from '../behaviours.ts';
import { rejectsWith } from '../log/world.ts';
import { attempt, UID } from './world.ts';

export interface LeasesWorld {
  /** What commits go to. */
  readonly ledger: Ledger;
  /** Another process of that name at each call. */
  join(node: string): Leases;
  /** From now on the leases that run are over. */
  expire(): void;
  close(): Promise<void>;
}

const ALL = Array.from({ length: 128 }, (_, slot) => slot);
const numbers = (fences: readonly Fence[]): number[] => fences.map(({ slot }) => slot).toSorted((a, b) => a - b);

async function joined(world: LeasesWorld, node: string): Promise<Leases> {
  const leases = world.join(node);
  await leases.renew(0);
  return leases;
}

const outcomes = async ({ ledger }: LeasesWorld): Promise<number> =>
  (await ledger.attempts({ subscription: UID, limit: 10 })).length;

export const holding: Behaviours<LeasesWorld> = {
  'a node takes slots that nobody has, each with an epoch, and has them at every renewal': async (world) => {
    const a = world.join('a');
    assert.deepEqual(await a.renew(0.5), []);
    const fences = await a.take([3, 1, 2]);
    assert.deepEqual(numbers(fences), [1, 2, 3]);
    assert.equal(new Set(fences.map(({ token }) => token)).size, 3);
    assert.deepEqual(numbers(await a.renew(0.5)), [1, 2, 3]);
    assert.deepEqual(await a.take([3, 1, 2]), fences);
  },

  'without a lease that runs a node takes nothing': async (world) => {
    const a = world.join('a');
    assert.deepEqual(await a.take(ALL), []);
    await a.renew(0);
    world.expire();
    assert.deepEqual(await a.take(ALL), []);
  },

  'what a lease covers is not taken by another node': async (world) => {
    const [a, b] = [await joined(world, 'a'), await joined(world, 'b')];
    await a.take([1, 2]);
    assert.deepEqual(numbers(await b.take([1, 2, 3])), [3]);
    assert.deepEqual(numbers(await a.renew(0)), [1, 2]);
  },

  'of nodes that take the same slots together each slot goes to one': async (world) => {
    const nodes = await Promise.all(['a', 'b', 'c', 'd'].map((name) => joined(world, name)));
    const taken = await Promise.all(nodes.map((one, at) => one.take(at % 2 === 0 ? ALL : ALL.toReversed())));
    assert.deepEqual(
      taken.flatMap(numbers).toSorted((a, b) => a - b),
      ALL,
    );
  },

  'the slots of a node whose lease is over are taken at another epoch, and it learns so when it renews': async (world) => {
    const a = await joined(world, 'a');
    const [before] = await a.take([1]);
    await a.take([2]);
    world.expire();
    const b = await joined(world, 'b');
    const [now] = await b.take([1]);
    assert.ok(now!.epoch > before!.epoch && now!.token !== before!.token);
    assert.deepEqual(numbers(await a.renew(0)), [2]);
  },

  'a lease that ended and that nobody made use of goes on with what it had': async (world) => {
    const a = await joined(world, 'a');
    const fences = await a.take([1, 2]);
    world.expire();
    assert.deepEqual(await a.renew(0), fences);
  },

  'what is released is taken by another at once': async (world) => {
    const [a, b] = [await joined(world, 'a'), await joined(world, 'b')];
    await a.take([1, 2]);
    await b.release([1]);
    assert.deepEqual(numbers(await b.take([1])), []);
    await a.release([1]);
    assert.deepEqual(numbers(await b.take([1, 2])), [1]);
  },

  'a node that leaves is gone, and all it had is free': async (world) => {
    const [a, b] = [await joined(world, 'a'), await joined(world, 'b')];
    await a.take([1, 2]);
    await a.leave();
    assert.deepEqual(
      (await b.nodes()).map(({ node }) => node),
      ['b'],
    );
    assert.deepEqual(numbers(await b.take([1, 2])), [1, 2]);
  },

  'a name belongs to its process while the lease runs; then to the next one, which has nothing of it': async (world) => {
    const a = await joined(world, 'a');
    await a.take([1]);
    const again = world.join('a');
    await rejectsWith('conflict', again.renew(0));
    world.expire();
    assert.deepEqual(await again.renew(0), []);
    assert.deepEqual(numbers(await again.take([1])), [1]);
    await rejectsWith('conflict', a.renew(0));
  },

  'everybody sees who is there and who has what': async (world) => {
    const [a, b] = [await joined(world, 'a'), await joined(world, 'b')];
    await a.renew(0.5);
    await a.take([1]);
    const [first] = await b.nodes().then((nodes) => nodes.filter(({ node }) => node === 'a'));
    assert.equal(first?.load, 0.5);
    assert.equal(first.address, 'http://a');
    assert.ok(first.leftMs > 0);
    const owned = async () => (await b.slots()).find(({ slot }) => slot === 1);
    assert.deepEqual([(await owned())?.owner, (await owned())?.covered], ['a', true]);
    world.expire();
    await b.renew(0);
    assert.equal((await owned())?.covered, false);
    assert.ok((await b.nodes()).every(({ node, leftMs }) => leftMs > 0 === (node === 'b')));
  },
};

export const fencing: Behaviours<LeasesWorld> = {
  'a commit is written while its slots are as it says': async (world) => {
    const a = await joined(world, 'a');
    await a.commit({ attempts: [attempt(1)] }, await a.take([1, 2]));
    assert.equal(await outcomes(world), 1);
  },

  'a commit changes nothing where one of its slots is at another epoch': async (world) => {
    const a = await joined(world, 'a');
    const fences = await a.take([1, 2]);
    world.expire();
    const b = await joined(world, 'b');
    const now = await b.take([2]);
    await rejectsWith('stale_epoch', a.commit({ attempts: [attempt(1)] }, fences));
    assert.equal(await outcomes(world), 0);
    await a.commit(
      { attempts: [attempt(1)] },
      fences.filter(({ slot }) => slot === 1),
    );
    await b.commit({ attempts: [attempt(2)] }, now);
    assert.equal(await outcomes(world), 2);
  },

  'an epoch that comes back is another one: what was begun before it went is refused': async (world) => {
    const [a, b] = [await joined(world, 'a'), await joined(world, 'b')];
    const before = await a.take([1]);
    await a.release([1]);
    await b.take([1]);
    await b.release([1]);
    const now = await a.take([1]);
    await rejectsWith('stale_epoch', a.commit({ attempts: [attempt(1)] }, before));
    await a.commit({ attempts: [attempt(1)] }, now);
    assert.equal(await outcomes(world), 1);
  },
};
