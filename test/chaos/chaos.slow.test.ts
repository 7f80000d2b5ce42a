/** A little chaos with every `npm test`; `npm run chaos` has all of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Scenario } from './scenario.ts';
import { kills } from './scenarios/kills.ts';
import { sigterm } from './scenarios/sigterm.ts';

const LIMIT_MS = 180_000;

const SCENARIOS: readonly (readonly [Scenario, string])[] = [
  [kills, 'killed three times under load, nothing is lost, order per key holds, what comes twice was in flight'],
  [sigterm, 'stopped twice under load, nothing is lost and nothing comes twice'],
];

describe('a gateway', { concurrency: true }, () => {
  for (const [scenario, title] of SCENARIOS)
    test(title, { timeout: LIMIT_MS }, async (t) => {
      const seed = Date.now() % 1_000_000;
      const { breaches, kept } = await scenario.run({ seed, kills: 3, quick: true, say: (text) => t.diagnostic(text) });
      assert.deepEqual(breaches, [], `seed ${seed}; what it left is in ${kept}`);
    });
});
