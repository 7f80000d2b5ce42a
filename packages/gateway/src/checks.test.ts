/** What log and store are asked, and what becomes of one that does not answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import { Problem } from '@millrace/core/problem';
import { createChecks } from './checks.ts';
import { topicOf } from './http/topic-settings.ts';
import { LIMITS } from './limits.ts';
import type { Finding, Demands } from './ports/finding.ts';
import { createRejects } from './rejects.ts';
import { createRegistry } from './registry.ts';
import { systemClock } from './system-clock.ts';

const finding: Finding = { level: 'note', code: 'log_full_soon', problem: 'it is so', advice: 'Do that.' };

async function made(findings: (wanted: Demands) => Promise<readonly Finding[]>, hasClaims = false) {
  const directory = createMemoryDirectory();
  await directory.put('topic', 'default', 'orders.created', topicOf({}, { owner: 'shop', nowMs: 0, limits: LIMITS }));
  const registry = createRegistry({ directory, onChange: () => undefined });
  await registry.start();
  const log = { ...createMemoryLog(), findings };
  const ledger = { ...createMemoryLedger(), findings: async () => [finding] };
  const rejects = createRejects({ log, clock: systemClock, limits: LIMITS, onNotice: () => undefined });
  return createChecks({ log, ledger, registry, rejects, limits: LIMITS, hasClaims });
}

test('the log is told which topics it is wanted for', async () => {
  let told: Demands | undefined;
  const checks = await made(async (wanted) => {
    told = wanted;
    return [];
  });
  assert.deepEqual(await checks(), [
    { name: 'log', findings: [] },
    { name: 'store', findings: [finding] },
  ]);
  const { dedupeWindowMs } = LIMITS;
  const topics = [{ environment: 'default', topic: 'orders.created', retentionMs: 7 * 86_400_000 }];
  assert.deepEqual(told, { topics, patterns: [], dedupeWindowMs });
});

test('a log whose keys the store remembers is to know only its own appends again', async () => {
  let told: Demands | undefined;
  const look = async (wanted: Demands): Promise<readonly Finding[]> => {
    told = wanted;
    return [];
  };
  await (
    await made(look, true)
  )();
  assert.equal(told?.dedupeWindowMs, LIMITS.claimMs);
});

test('one that can not be reached is a problem, and the other is asked all the same', async () => {
  const checks = await made(() => Promise.reject(new Problem('log_unavailable', 'NATS is away')));
  const [log, store] = await checks();
  assert.deepEqual([log?.findings[0]?.code, log?.findings[0]?.problem], ['log_unavailable', 'NATS is away']);
  assert.deepEqual(store?.findings, [finding]);
});
