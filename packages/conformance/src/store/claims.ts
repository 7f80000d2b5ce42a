/** Claims on idempotency keys: one owner each, what became of them, and how they pass from one that died to one other. */
import assert from 'node:assert/strict';
import type { Claim, Claimed, Claims, Use } from '@millrace/gateway/ports/claims';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import { at, START_MS } from './world.ts';
import type { OpenedStores } from './world.ts';

const DAY_MS = 86_400_000;
const PLACE = { log: 'log-1', topics: ['orders.created'], ends: { main: at(7), other: '' } };

function claim(id: string, token: string, change: Partial<Claim> = {}): Claim {
  return { id, digest: 'a', windowMs: DAY_MS, token, place: PLACE, ...change };
}

function use(n: number): Use {
  return { shard: 'main', position: at(n), timeMs: START_MS + n, eventId: `event-${n}` };
}

async function claimOne({ claims }: { readonly claims: Claims }, one: Claim): Promise<Claimed> {
  const answers = await claims.claim([one]);
  assert.equal(answers.length, 1);
  return answers[0]!;
}

/** Without the times, which are the driver's. */
async function seen(world: { readonly claims: Claims }, id: string): Promise<unknown> {
  const answer = await claimOne(world, claim(id, 'looker', { digest: 'looker' }));
  if (answer.status !== 'open') return answer;
  const { ageMs, heldMs, ...rest } = answer;
  assert.ok(ageMs >= heldMs && heldMs >= 0, `${ageMs} ms since the first claim, ${heldMs} ms since the last`);
  return rest;
}

const openAs = (token: string, digest = 'a', place: Claim['place'] = PLACE) => ({ status: 'open', digest, token, place });
const CLAIMED = { status: 'claimed' };

export const claiming: Behaviours<OpenedStores> = {
  'gives a key to who claims it first, and tells all others where to look for its event': async (world) => {
    assert.deepEqual(await claimOne(world, claim('k', 't1')), CLAIMED);
    assert.deepEqual(await seen(world, 'k'), openAs('t1'));
    assert.deepEqual(await claimOne(world, claim('other', 't2')), CLAIMED);
  },

  'gives a key again to the same token: an answer may have been lost': async (world) => {
    for (let i = 0; i < 2; i++) assert.deepEqual(await claimOne(world, claim('k', 't1')), CLAIMED);
  },

  'answers each of many claims in its place': async (world) => {
    await world.claims.claim([claim('3', 'before')]);
    const ids = Array.from({ length: 4_096 }, (_, i) => String((i * 7) % 4_096));
    const answers = await world.claims.claim(ids.map((id) => claim(id, `t${id}`)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      ids.map((id) => (id === '3' ? 'open' : 'claimed')),
    );
    await world.claims.settle(ids.map((id) => ({ id, token: `t${id}`, use: use(Number(id)) })));
    assert.deepEqual(await seen(world, '4095'), { status: 'settled', digest: 'a', use: use(4_095) });
    assert.deepEqual(await seen(world, '3'), openAs('before'));
  },

  'tells what came of a key': async (world) => {
    await claimOne(world, claim('k', 't1', { digest: 'mine' }));
    await world.claims.settle([{ id: 'k', token: 't1', use: use(8) }]);
    for (let i = 0; i < 2; i++) assert.deepEqual(await seen(world, 'k'), { status: 'settled', digest: 'mine', use: use(8) });
  },

  'settles once: what is known of a key stays': async (world) => {
    await claimOne(world, claim('k', 't1'));
    await world.claims.settle([{ id: 'k', token: 't1', use: use(8) }]);
    await world.claims.settle([{ id: 'k', token: 't1', use: use(9) }]);
    await world.claims.settle([{ id: 'k', token: 't1' }]);
    assert.deepEqual(await seen(world, 'k'), { status: 'settled', digest: 'a', use: use(8) });
  },

  'frees a key of which nothing came': async (world) => {
    await world.claims.claim([claim('k', 't1'), claim('kept', 't2')]);
    await world.claims.settle([{ id: 'k', token: 't1' }]);
    assert.deepEqual(await claimOne(world, claim('k', 't3', { digest: 'b' })), CLAIMED);
    assert.deepEqual(await seen(world, 'k'), openAs('t3', 'b'));
    assert.deepEqual(await seen(world, 'kept'), openAs('t2'));
  },

  'takes the word of a claim for that claim alone': async (world) => {
    await claimOne(world, claim('k', 't1'));
    await world.claims.settle([
      { id: 'k', token: 'another', use: use(8) },
      { id: 'nobody', token: 't1', use: use(8) },
    ]);
    await world.claims.settle([{ id: 'k', token: 'another' }]);
    assert.deepEqual(await seen(world, 'k'), openAs('t1'));
    assert.deepEqual(await claimOne(world, claim('nobody', 't2')), CLAIMED);
  },
};

export const takingOver: Behaviours<OpenedStores> = {
  'passes an open claim on to who names its token, with another place': async (world) => {
    await claimOne(world, claim('k', 't1'));
    const place = { log: 'log-1', topics: ['orders.paid'], ends: { main: at(9) } };
    assert.deepEqual(await claimOne(world, claim('k', 't2', { digest: 'b', place, over: { token: 't1', ageMs: 0 } })), CLAIMED);
    assert.deepEqual(await seen(world, 'k'), openAs('t2', 'b', place));
    await world.claims.settle([{ id: 'k', token: 't1', use: use(8) }]);
    assert.deepEqual(await seen(world, 'k'), openAs('t2', 'b', place));
    await world.claims.settle([{ id: 'k', token: 't2', use: use(10) }]);
    assert.deepEqual(await seen(world, 'k'), { status: 'settled', digest: 'b', use: use(10) });
  },

  'passes it on to one of several who try': async (world) => {
    await claimOne(world, claim('k', 't1'));
    const takers = Array.from({ length: 8 }, (_, i) => claim('k', `taker${i}`, { over: { token: 't1', ageMs: 0 } }));
    const answers = await Promise.all(takers.map((taker) => claimOne(world, taker)));
    const taken = answers.flatMap(({ status }, i) => (status === 'claimed' ? [`taker${i}`] : []));
    assert.equal(taken.length, 1);
    assert.deepEqual(await seen(world, 'k'), openAs(taken[0]!));
  },

  'keeps what is settled from who would take it over': async (world) => {
    await claimOne(world, claim('k', 't1'));
    await world.claims.settle([{ id: 'k', token: 't1', use: use(8) }]);
    const answer = await claimOne(world, claim('k', 't2', { over: { token: 't1', ageMs: 0 } }));
    assert.deepEqual(answer, { status: 'settled', digest: 'a', use: use(8) });
  },

  'gives a key that was freed meanwhile to who would take it over': async (world) => {
    assert.deepEqual(await claimOne(world, claim('k', 't2', { over: { token: 't1', ageMs: 0 } })), CLAIMED);
    assert.deepEqual(await seen(world, 'k'), openAs('t2'));
  },

  'counts from the first claim of a place, and from the last one': async (world) => {
    await claimOne(world, claim('k', 't1'));
    await claimOne(world, claim('k', 't2', { over: { token: 't1', ageMs: DAY_MS } }));
    const answer = await claimOne(world, claim('k', 't3'));
    assert.ok(answer.status === 'open' && answer.ageMs >= DAY_MS && answer.heldMs < DAY_MS);
  },
};

export const claimWindows: Behaviours<OpenedStores> = {
  'frees a key when its window is over, settled or not': async (world) => {
    await world.claims.claim([claim('open', 't1', { windowMs: 0 }), claim('settled', 't2', { windowMs: 0 })]);
    await world.claims.settle([{ id: 'settled', token: 't2', use: use(8) }]);
    for (const id of ['open', 'settled']) {
      assert.deepEqual(await claimOne(world, claim(id, 't3', { digest: 'b' })), CLAIMED);
      assert.deepEqual(await seen(world, id), openAs('t3', 'b'));
    }
  },

  'gives back the room of those whose window is over, and of no others': async (world) => {
    await world.claims.claim([claim('over', 't1', { windowMs: 0 }), claim('open', 't2'), claim('settled', 't3')]);
    await world.claims.settle([{ id: 'settled', token: 't3', use: use(8) }]);
    for (let i = 0; i < 2; i++) await world.claims.prune();
    assert.deepEqual(await seen(world, 'open'), openAs('t2'));
    assert.deepEqual(await seen(world, 'settled'), { status: 'settled', digest: 'a', use: use(8) });
    assert.deepEqual(await claimOne(world, claim('over', 't4')), CLAIMED);
  },
};

export const claimsHeld: Behaviours<OpenedStores> = {
  'gives each key to one of many who claim them at once, in any order': async (world) => {
    const other = world.peer === undefined ? world : await world.peer();
    const ids = Array.from({ length: 200 }, (_, i) => `k${i}`);
    const call = async (store: { readonly claims: Claims }, by: string, order: readonly string[]) => {
      const answers = await store.claims.claim(order.map((id) => claim(id, `${by}-${id}`)));
      return order.filter((_, i) => answers[i]!.status === 'claimed');
    };
    const calls = Array.from({ length: 6 }, (_, i) =>
      call(i % 2 === 0 ? world : other, `c${i}`, i % 3 === 0 ? ids : ids.toReversed()),
    );
    assert.deepEqual((await Promise.all(calls)).flat().toSorted(), ids.toSorted());
  },

  'shows a claim, and what came of it, to every node once it is answered': async (world, context) => {
    if (world.peer === undefined) return context.skip(gap('one process has it alone'));
    const other = await world.peer();
    await claimOne(world, claim('k', 't1'));
    assert.deepEqual(await seen(other, 'k'), openAs('t1'));
    await world.claims.settle([{ id: 'k', token: 't1', use: use(8) }]);
    assert.deepEqual(await seen(other, 'k'), { status: 'settled', digest: 'a', use: use(8) });
  },

  'keeps claims over a restart': async (world, context) => {
    if (world.reopen === undefined) return context.skip(gap('it forgets at exit'));
    await world.claims.claim([claim('open', 't1'), claim('settled', 't2')]);
    await world.claims.settle([{ id: 'settled', token: 't2', use: use(8) }]);
    const again = await world.reopen();
    assert.deepEqual(await seen(again, 'open'), openAs('t1'));
    assert.deepEqual(await seen(again, 'settled'), { status: 'settled', digest: 'a', use: use(8) });
  },

  'keeps the texts of brokers and publishers as they are': async (world) => {
    const place = {
      log: 'l',
      topics: ['a', "it's.b"],
      ends: Object.fromEntries(['"', '\\', '\u{1f600}', 'é'].map((one) => [one, at(1)])),
    };
    const odd = { shard: '"\u{1f600}', position: at(1), timeMs: 0, eventId: `'\\"é\u0301 %_` };
    await world.claims.claim([claim('open', 't1', { place, digest: '\\' }), claim('settled', 't2')]);
    await world.claims.settle([{ id: 'settled', token: 't2', use: odd }]);
    assert.deepEqual(await seen(world, 'open'), openAs('t1', '\\', place));
    assert.deepEqual(await seen(world, 'settled'), { status: 'settled', digest: 'a', use: odd });
  },
};
