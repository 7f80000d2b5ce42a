import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFindings } from './findings.ts';

const GB = 1024 ** 3;
const disk = (freeGb: number, gb: number) => async () => ({
  bsize: 4_096,
  bavail: (freeGb * GB) / 4_096,
  blocks: (gb * GB) / 4_096,
});

test('a synced store on a disk with room has nothing to say; a relaxed one says what a power loss takes', async () => {
  const spaceOf = disk(10, 100);
  assert.deepEqual(await createFindings({ directory: '/data', durability: 'fsync', spaceOf })(), []);
  const [finding] = await createFindings({ directory: '/data', durability: 'relaxed', spaceOf })();
  assert.deepEqual([finding?.level, finding?.code], ['note', 'durability_relaxed']);
});

test('a disk with less than a gigabyte, or a twentieth, is a problem', async () => {
  for (const spaceOf of [disk(0.5, 4), disk(10, 1_000)]) {
    const [finding] = await createFindings({ directory: '/data', durability: 'fsync', spaceOf })();
    assert.match(finding?.problem ?? '', /^the disk under \/data has \d+ MB left$/);
  }
});
