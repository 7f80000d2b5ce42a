import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeeds } from './jobs.ts';
import { failureText } from './report.ts';
import { runSeed } from './seed.ts';
import type { SeedResult } from './seed.ts';

/** Few, because the tests must stay quick: `npm run simulate` runs thousands. */
const SEEDS = 40;

test('every promise holds over crashes, faults and failing endpoints', { timeout: 120_000 }, async () => {
  const broken: SeedResult[] = [];
  await runSeeds({ from: 1, count: SEEDS }, (result) => {
    if (result.broken.length > 0) broken.push(result);
    return broken.length === 0;
  });
  assert.equal(broken.length, 0, broken.map(failureText).join('\n'));
});

test('a seed is one exact sequence: run twice, it leaves the same trace', async () => {
  const first = await runSeed(7, { steps: 800 });
  const second = await runSeed(7, { steps: 800 });
  assert.equal(first.hash, second.hash);
  assert.equal(first.steps, second.steps);
  const other = await runSeed(8, { steps: 800 });
  assert.notEqual(first.hash, other.hash);
});
