/** Idempotency keys: settled in the append where the log supports it, left to the gateway where it does not. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { Appended, Dedupe, Entry, LogRecord } from '@millrace/gateway/ports/log';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import { holdsExactly } from './walk.ts';
import { BEFORE_ALL, DAY_MS, entry, MB, placed } from './world.ts';
import type { Given, LogWorld, Placed } from './world.ts';

const HOUR_MS = 3_600_000;

function keyed(key: string, digest = 'a', given: Given = {}): Entry {
  const dedupe: Dedupe = { key, digest, windowMs: DAY_MS };
  return entry({ ...given, dedupe });
}

/** What a repeat of `first` must be answered. */
function duplicateOf({ entry: { event }, shard, position, timeMs }: Placed): Appended {
  return { status: 'duplicate', shard, position, timeMs, id: event.id };
}

async function answer(world: LogWorld, repeat: Entry): Promise<Appended | undefined> {
  return (await world.log.append([repeat]))[0];
}

const deduping: Behaviours<LogWorld> = {
  'answers a repeat with the place and id of the first': async (world) => {
    const [first] = await world.append(keyed('k', 'a', { id: 'first' }));
    world.clock.ms += HOUR_MS;
    assert.deepEqual(await answer(world, keyed('k', 'a', { id: 'second' })), duplicateOf(first!));
    await holdsExactly(world.log, [first!]);
  },

  'refuses other content under a used key': async (world) => {
    const [first] = await world.append(keyed('k', 'a'));
    assert.deepEqual(await answer(world, keyed('k', 'b')), { status: 'conflict' });
    assert.deepEqual(await answer(world, keyed('k', 'a')), duplicateOf(first!));
    await holdsExactly(world.log, [first!]);
  },

  'remembers a key for its window and no longer': async (world) => {
    const [first] = await world.append(keyed('k'));
    world.clock.ms += DAY_MS - 1;
    assert.deepEqual(await answer(world, keyed('k')), duplicateOf(first!));
    world.clock.ms += 2;
    const [second] = await world.append(keyed('k', 'b', { id: '2' }));
    assert.deepEqual(await answer(world, keyed('k', 'b')), duplicateOf(second!));
    await holdsExactly(world.log, [first!, second!]);
  },

  'counts the window from the first use, however often it is repeated': async (world) => {
    await world.append(keyed('k'));
    for (let i = 0; i < 3; i++) {
      world.clock.ms += DAY_MS / 4;
      assert.equal((await answer(world, keyed('k')))?.status, 'duplicate');
    }
    world.clock.ms += DAY_MS / 4 + 1;
    assert.equal((await answer(world, keyed('k')))?.status, 'appended');
  },

  'forgets a key only at the end of its window when space is given back': async (world) => {
    const [first] = await world.append(keyed('k'));
    world.clock.ms += DAY_MS - 1;
    await world.log.trim();
    assert.deepEqual(await answer(world, keyed('k')), duplicateOf(first!));
    world.clock.ms += 2;
    await world.log.trim();
    assert.equal((await answer(world, keyed('k')))?.status, 'appended');
  },

  'settles keys within one call': async (world) => {
    const call = [
      keyed('k', 'a', { id: '1' }),
      keyed('k', 'a', { id: '2' }),
      keyed('k', 'b', { id: '3' }),
      keyed('other', 'a', { id: '4' }),
      entry({ id: '5' }),
    ];
    const results = await world.log.append(call);
    await world.settle();
    const first = placed([call[0]!], [results[0]!])[0]!;
    assert.deepEqual(results.slice(1, 3), [duplicateOf(first), { status: 'conflict' }]);
    await holdsExactly(world.log, [first, ...placed(call.slice(3), results.slice(3))]);
  },

  'appends once among appends with one key that run together': async (world) => {
    const calls = Array.from({ length: 16 }, (_, i) => keyed('k', 'a', { id: `${i}` }));
    const answers = await Promise.all(calls.map((call) => answer(world, call)));
    await world.settle();
    const at = answers.findIndex((each) => each?.status === 'appended');
    const [first] = placed([calls[at]!], [answers[at]!]);
    assert.deepEqual(
      answers.toSpliced(at, 1),
      Array.from({ length: 15 }, () => duplicateOf(first!)),
    );
    await holdsExactly(world.log, [first!]);
  },

  'keeps the keys of apps and environments apart': async (world) => {
    const owners = [
      { app: 'shop' },
      { app: 'crm' },
      { app: 'shop', environment: 'staging' },
      { app: 'crm', environment: 'staging' },
    ];
    await world.append(...owners.map((owner) => keyed('k', JSON.stringify(owner), owner)));
  },

  'shares a key among the topics and shards of an app': async (world) => {
    const [first] = await world.append(keyed('k', 'a', { topic: 'orders.created', key: '1' }));
    for (const key of ['2', '3', '4', '5']) {
      assert.deepEqual(await answer(world, keyed('k', 'a', { topic: 'orders.paid', key })), duplicateOf(first!));
    }
  },

  'takes any text of up to 512 bytes as a key': async (world) => {
    const keys = [
      'a',
      'A',
      'a ',
      ' a',
      'é',
      'e\u0301',
      '😀',
      '__proto__',
      'constructor',
      '%',
      '_',
      '"',
      "'",
      '\\',
      'x'.repeat(512),
      `${'x'.repeat(511)}y`,
    ];
    const all = await world.append(...keys.map((key, i) => keyed(key, `${i}`, { id: `${i}` })));
    for (const [i, key] of keys.entries()) assert.deepEqual(await answer(world, keyed(key, `${i}`)), duplicateOf(all[i]!));
  },

  'keeps windows of different lengths apart': async (world) => {
    const short = entry({ id: 'short', dedupe: { key: 'short', digest: 'a', windowMs: 1_000 } });
    await world.append(short, keyed('long'));
    world.clock.ms += 1_001;
    assert.equal((await answer(world, short))?.status, 'appended');
    assert.equal((await answer(world, keyed('long')))?.status, 'duplicate');
  },

  'knows a key when its event is gone': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: HOUR_MS });
    const [first] = await world.append(keyed('k'));
    world.clock.ms += 2 * HOUR_MS;
    await world.log.trim();
    assert.deepEqual(await answer(world, keyed('k')), duplicateOf(first!));
  },

  'knows a key when the clock was set back': async (world) => {
    const [first] = await world.append(keyed('k'));
    world.clock.ms -= HOUR_MS;
    assert.deepEqual(await answer(world, keyed('k')), duplicateOf(first!));
  },
};

const leavingIt: Behaviours<LogWorld> = {
  'appends every entry, whatever its key': async (world) => {
    const all = await world.append(keyed('k', 'a', { id: '1' }), keyed('k', 'a', { id: '2' }), keyed('k', 'b', { id: '3' }));
    await holdsExactly(world.log, all);
  },
};

/** What the gateway finds an append by whose answer nobody heard. */
const keysShown: Behaviours<LogWorld> = {
  'names the key of each record, digested with whose it is': async (world) => {
    const owners: Given[] = [{ app: 'shop' }, { app: 'crm' }, { app: 'shop', environment: 'staging' }];
    const all = [...owners.map((owner) => keyed('k', 'a', owner)), keyed('é "\u{1f600}"', 'b/c+d=='), keyed('x'.repeat(512))];
    const placed = await world.append(...all, entry({ id: 'without' }));
    const page = await world.log.read({ shard: placed[0]!.shard, after: BEFORE_ALL, limit: 100, maxBytes: MB });
    assert.deepEqual(
      page.records.map((record) => record.keyed),
      [...all.map(keyOfRecord), undefined],
    );
  },

  'names it in what lies further back, and where it is fetched': async (world) => {
    const placed = await world.append(keyed('k'), ...Array.from({ length: 50 }, (_, i) => entry({ id: `${i}` })));
    await world.reopen?.();
    const [first] = placed;
    assert.deepEqual((await world.log.fetch(first!.shard, first!.position))?.keyed, keyOfRecord(first!.entry));
    const only = { environment: 'default', topics: ['orders.created'] };
    const page = await world.log.read({ shard: first!.shard, after: BEFORE_ALL, only, limit: 1, maxBytes: MB });
    assert.deepEqual(page.records[0]?.keyed, keyOfRecord(first!.entry));
  },
};

function keyOfRecord({ environment, app, dedupe: given }: Entry): LogRecord['keyed'] {
  const key = hash('sha256', JSON.stringify([environment, app, given!.key]), 'base64url');
  return { key, digest: given!.digest };
}

function forgetsKeys({ log: { supports } }: LogWorld): boolean {
  return !supports.dedupe || supports.dedupeWindowMs !== undefined;
}

export const keysOfRecords = only(keysShown, forgetsKeys, 'it remembers keys for any window');
export const dedupe = only(deduping, (world) => world.log.supports.dedupe, 'this log leaves dedupe to the gateway');
export const noDedupe = only(leavingIt, (world) => !world.log.supports.dedupe, 'this log dedupes');

/** Behaviours of logs with, or without, an optional power. */
function only(behaviours: Behaviours<LogWorld>, able: (world: LogWorld) => boolean, why: string): Behaviours<LogWorld> {
  const guarded = Object.entries(behaviours).map(([title, show]) => {
    return [title, async (world, context) => (able(world) ? show(world, context) : context.skip(gap(why)))] satisfies [
      string,
      typeof show,
    ];
  });
  return Object.fromEntries(guarded);
}
