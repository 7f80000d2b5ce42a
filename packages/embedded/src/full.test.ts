import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AttemptRow } from '@millrace/gateway/ports/ledger';
import { openEmbedded } from './embedded.ts';
import type { Embedded } from './embedded.ts';
import { entries, entry, hasCode, keyed, positionsIn, positionsOf, START_MS, temporaryDirectory, testStore } from './testing.ts';
import type { TemporaryDirectory } from './testing.ts';

/** 16 KiB each. */
const FEW_PAGES = 150;

/** Appends until there is no space, and returns the positions of what was taken. */
async function fill({ log }: Embedded, prefix = ''): Promise<string[]> {
  const positions: string[] = [];
  for (let i = 0; i < 10_000; i++) {
    try {
      positions.push(
        ...positionsOf(await log.append(Array.from({ length: 10 }, (_, n) => keyed(`${prefix}${i}.${n}`, { bytes: 2_000 })))),
      );
    } catch (error) {
      assert.ok(hasCode('log_full')(error), String(error));
      return positions;
    }
  }
  throw new Error('the disk was never full');
}

function attempts(count: number): AttemptRow[] {
  return Array.from({ length: count }, (_, i) => ({
    lane: 'sub.0', shard: '0', position: String(i).padStart(16, '0'), n: 1, startedMs: START_MS, durationMs: 1,
    outcome: 'delivered', cause: '', status: 200, snippet: 'x'.repeat(500), eventId: `${i}`, topic: 't',
  })); // prettier-ignore
}

test('a full disk refuses appends and commits whole, and takes them again when there is space', async (context) => {
  const store = testStore(context);
  let embedded = await store.open({ maxPageCount: FEW_PAGES });
  const positions = await fill(embedded);
  assert.ok(positions.length >= 100);
  await assert.rejects(embedded.ledger.commit({ attempts: attempts(3_000), unbury: [] }), { code: 'ledger_full' });
  assert.deepEqual(await embedded.ledger.attempts({ subscription: 'sub', limit: 10 }), []);
  assert.deepEqual(await positionsIn(embedded.log), positions);

  embedded = await store.open();
  assert.deepEqual(await positionsIn(embedded.log), positions);
  const [next] = positionsOf(await embedded.log.append([entry()]));
  assert.equal(Number(next), positions.length + 1);
  await embedded.ledger.commit({ attempts: attempts(3_000) });
  assert.equal((await embedded.ledger.attempts({ subscription: 'sub', limit: 10_000 })).length, 3_000);
});

test('what was refused for space can be sent again with its key', async (context) => {
  const store = testStore(context);
  let embedded = await store.open({ maxPageCount: FEW_PAGES });
  const positions = await fill(embedded, 'again.');
  const refused = keyed(`again.${positions.length / 10}.0`, { bytes: 2_000 });
  embedded = await store.open();
  assert.equal((await embedded.log.append([refused]))[0]?.status, 'appended');
  assert.equal((await embedded.log.append([refused]))[0]?.status, 'duplicate');
});

test('what has room is not refused for what has none, though they came together', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ maxPageCount: FEW_PAGES });
  await embedded.log.append([entry()]);
  const results = await Promise.allSettled([
    embedded.log.append([entry()]),
    embedded.ledger.commit({ attempts: attempts(8_000) }),
    embedded.directory.put('app', 'default', 'shop', { name: 'Shop', createdMs: START_MS }),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.equal((await positionsIn(embedded.log)).length, 2);
  assert.equal((await embedded.directory.get('app', 'default', 'shop'))?.version, 1);
});

test('in one process, freed space is used again', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ maxPageCount: FEW_PAGES, segmentBytes: 500_000 });
  const positions: string[] = [];
  for (let i = 0; i < 40; i++) {
    positions.push(...positionsOf(await embedded.log.append(entries(100, { bytes: 2_000 }))));
    await embedded.log.trim();
  }
  assert.deepEqual(await positionsIn(embedded.log), positions);
});

test('a file system without space left is a full disk', async (context) => {
  const disk = smallDisk();
  if (disk === undefined) return context.skip('needs to be root on Linux, to mount a small disk');
  const ballast = join(disk.path, 'ballast');
  writeFileSync(ballast, new Uint8Array(4 * 2 ** 20));
  const embedded = await openEmbedded({ directory: join(disk.path, 'data'), now: () => START_MS, tailBytes: 0 });
  context.after(async () => {
    await embedded.close();
    disk.remove();
  });
  const positions = await fill(embedded);
  await assert.rejects(embedded.ledger.commit({ attempts: attempts(8_000) }), { code: 'ledger_full' });
  assert.deepEqual(await positionsIn(embedded.log), positions);
  rmSync(ballast);
  positions.push(...positionsOf(await embedded.log.append(entries(100, { bytes: 2_000 }))));
  assert.deepEqual(await positionsIn(embedded.log), positions);
});

function smallDisk(): TemporaryDirectory | undefined {
  const directory = temporaryDirectory();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', directory.path], { stdio: 'ignore' });
  } catch {
    directory.remove();
    return undefined;
  }
  return {
    path: directory.path,
    remove() {
      execFileSync('umount', ['-l', directory.path]);
      directory.remove();
    },
  };
}
