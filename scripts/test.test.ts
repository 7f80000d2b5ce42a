/** `npm test` on made-up repositories: what it runs, counts, lists, and how it ends. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';

const HEAD = "import { describe, test } from 'node:test';\n";
const PASSES = `${HEAD}test('adds', () => {});`;
const FAILS = `${HEAD}describe('sums', () => test('carries', () => { throw new Error('nine and one'); }));`;
const SKIPS = `${HEAD}test('asks a broker', { skip: 'no broker here' }, () => {});`;

interface Ran {
  readonly status: number | null;
  readonly lines: readonly string[];
  readonly last: string | undefined;
}

function runTests(t: TestContext, files: Readonly<Record<string, string>>, args: readonly string[] = [], require = ''): Ran {
  const root = mkdtempSync(join(tmpdir(), 'millrace-test-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [file, source] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), source);
  }
  // Without this node:test would take the inner run for a part of this one and leave it out.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout, status } = spawnSync(process.execPath, [join(import.meta.dirname, 'test.ts'), ...args], {
    cwd: root,
    env: { ...env, MILLRACE_REQUIRE: require },
    encoding: 'utf8',
  });
  const lines = stdout.trimEnd().split('\n');
  return { status, lines, last: lines.at(-1) };
}

test('every part is named with its count, conformance, flow and simulation after unit', (t) => {
  const { status, lines, last } = runTests(t, {
    'test/simulation/seeds.test.ts': PASSES,
    'test/chaos/kill.test.ts': PASSES,
    'test/flow.test.ts': PASSES,
    'packages/memory/src/memory.test.ts': `${PASSES}\nimport type {} from '@millrace/conformance/log-conformance';`,
    'packages/core/src/sum.test.ts': PASSES,
    'packages/core/node_modules/other/sum.test.ts': FAILS,
  });
  assert.deepEqual(
    lines.slice(0, -1).map((line) => line.replace(/,[^,]*$/, '')),
    ['unit', 'conformance', 'flow', 'simulation', 'chaos'].map((part) => `${part.padEnd(12)} 1 passed, 0 failed  (1 file`),
  );
  assert.deepEqual([status, last], [0, '5 passed, 0 failed']);
});

test('--quick leaves out slow files and says so; without it they run', (t) => {
  const files = { 'packages/a/a.test.ts': PASSES, 'packages/a/a.slow.test.ts': FAILS };
  const quick = runTests(t, files, ['--quick', 'packages']);
  assert.ok(quick.lines.includes('left to npm test: 1 slow files'));
  assert.deepEqual([quick.status, quick.last], [0, '1 passed, 0 failed']);
  assert.deepEqual(runTests(t, files).last, '1 passed, 1 failed');
});

test('a failure is shown with its suite and its error, and ends the run as failed', (t) => {
  const { status, lines, last } = runTests(t, { 'packages/a/a.test.ts': FAILS, 'packages/b/b.test.ts': PASSES });
  assert.ok(lines.includes('✖ packages/a/a.test.ts › sums › carries'));
  assert.ok(lines.some((line) => line.includes('nine and one')));
  assert.deepEqual([status, last], [1, '1 passed, 1 failed']);
});

test('a file that breaks, ends early or holds no test is a failure', (t) => {
  for (const source of ["throw new Error('at load');", 'process.exit(0);', 'const a: string = 1;', 'process.exit(3);']) {
    assert.deepEqual(runTests(t, { 'packages/a/a.test.ts': source }).last, '0 passed, 1 failed', source);
  }
});

test('a skip is listed with its reason and counted; where everything is required it is a failure', (t) => {
  const files = { 'packages/a/a.test.ts': SKIPS, 'packages/b/b.test.ts': PASSES };
  const { status, lines, last } = runTests(t, files);
  assert.ok(lines.includes('skipped: packages/a/a.test.ts › asks a broker: no broker here'));
  assert.deepEqual([status, last], [0, '1 passed, 0 failed, 1 skipped']);

  const strict = runTests(t, files, [], 'all');
  assert.deepEqual([strict.status, strict.last], [1, '1 passed, 1 failed']);
});

test('a gap that a driver states is listed and counted, also where everything is required', (t) => {
  const gap = `${HEAD}test('keeps events', { skip: 'gap: memory forgets' }, () => {});\ntest('adds', () => {});`;
  const { status, last } = runTests(t, { 'packages/a/a.test.ts': gap }, [], 'all');
  assert.deepEqual([status, last], [0, '1 passed, 0 failed, 1 skipped']);
});

test('a place chooses what lies there, and a place without tests is a failure', (t) => {
  const files = { 'packages/core/src/a.test.ts': PASSES, 'packages/core-more/a.test.ts': FAILS, 'scripts/b.test.ts': PASSES };
  assert.equal(runTests(t, files, ['./packages/core/', 'scripts/b.test.ts']).last, '2 passed, 0 failed');
  const { status, last } = runTests(t, files, ['packages/none']);
  assert.deepEqual([status, last], [1, '0 passed, 0 failed']);
});
