import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from './figure.ts';
import { pageOf, pageWith } from './results.ts';

const outcome = (benchmark: string, ours: number): Outcome => ({
  benchmark,
  method: [`How ${benchmark} is measured.`],
  runs: [[{ name: 'one', unit: 'events/s', ours, raw: 10 }]],
});

test('sections of some benchmarks take the place of those there were, and say that they were measured by themselves', () => {
  const page = pageOf({ lines: ['Date: then.'] }, [outcome('append', 1), outcome('match', 2)]);
  const next = pageWith(page, { lines: ['Date: now.'] }, [outcome('append', 7), outcome('realtime', 9)]);
  assert.deepEqual(next.match(/^## .*|Date: \w+|(?<=one, events\/s \| \*\*)[\d.]+/gm), [
    'Date: then',
    '## append',
    'Date: now',
    '7.00',
    '## match',
    '2.00',
    '## realtime',
    'Date: now',
    '9.00',
  ]);
  assert.equal(pageWith(next, { lines: ['Date: now.'] }, [outcome('append', 7), outcome('realtime', 9)]), next);
});
