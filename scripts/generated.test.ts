import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Generator } from './generated.ts';
import { staleFiles, writeFiles } from './generated.ts';

test('a generated file is stale while missing or other than its generator makes it, and fresh once written', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'millrace-generated-'));
  t.after(() => rmSync(root, { recursive: true }));
  const making = (text: string): Generator[] => [{ file: 'list.txt', from: 'the test', render: () => text }];

  assert.deepEqual(await staleFiles(root, making('one')), [
    'list.txt is not what the test makes now: npx node scripts/generated.ts --write',
  ]);
  await writeFiles(root, making('one'));
  assert.deepEqual(await staleFiles(root, making('one')), []);
  assert.equal((await staleFiles(root, making('two'))).length, 1);
});
