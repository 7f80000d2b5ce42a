/** The bin as it is, copied beside a made-up entry, started by an old Node and by this one. */
import assert from 'node:assert/strict';
import type { ChildProcess, SpawnSyncReturns } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, test } from 'node:test';

const LATEST = dirname(createRequire(import.meta.url).resolve('node/package.json'));

const ENTRY = `
const [verb, value]: string[] = process.argv.slice(2);
if (verb === 'tell') console.log(JSON.stringify({ major: Number.parseInt(process.versions.node), args: process.argv.slice(2) }));
if (verb === 'exit') process.exit(Number(value));
if (verb === 'kill') process.kill(process.pid, value);
if (verb === 'wait') {
  const open = setInterval(() => {}, 1_000);
  process.on(value, () => {
    clearInterval(open);
    process.exitCode = 7;
  });
  console.log('ready');
}
`;

interface Start {
  readonly program: string;
  readonly args: readonly string[];
}

const START_NEW: Start = { program: process.execPath, args: [] };
const START_OLD = oldNode();

/** A Node before 26 from the PATH; where there is none, this one under a false name. */
function oldNode(): Start {
  const program = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find((path) => isExecutable(path) && majorOf(path) < 26);
  if (program !== undefined) return { program, args: [] };
  const pretend = "Object.defineProperty(process, 'versions', { value: { node: '20.20.2' } })";
  return { program: process.execPath, args: ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`] };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function majorOf(program: string): number {
  return Number.parseInt(spawnSync(program, ['-p', 'process.versions.node'], { encoding: 'utf8' }).stdout, 10);
}

/** A package with the bin and an entry; `node` says what its node_modules hold. */
function packageWith(t: TestContext, node: 'working' | 'missing' | 'not set up' | 'old'): string {
  const root = mkdtempSync(join(tmpdir(), 'millrace-bin-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const folder of ['bin', 'src', 'node_modules']) mkdirSync(join(root, folder));
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(root, 'src', 'main.ts'), ENTRY);
  copyFileSync(join(import.meta.dirname, 'millrace.js'), join(root, 'bin', 'millrace.js'));
  if (node === 'working') symlinkSync(LATEST, join(root, 'node_modules', 'node'));
  if (node === 'not set up' || node === 'old') {
    mkdirSync(join(root, 'node_modules', 'node'));
    writeFileSync(
      join(root, 'node_modules', 'node', 'package.json'),
      `{ "version": "${node === 'old' ? '18.0.0' : '26.10.0'}" }`,
    );
  }
  return root;
}

function runBin(start: Start, root: string, ...args: readonly string[]): SpawnSyncReturns<string> {
  return spawnSync(start.program, [...start.args, join(root, 'bin', 'millrace.js'), ...args], {
    cwd: tmpdir(),
    encoding: 'utf8',
  });
}

function startBin(start: Start, root: string, ...args: readonly string[]): ChildProcess {
  const argv = [...start.args, join(root, 'bin', 'millrace.js'), ...args];
  return spawn(start.program, argv, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Resolves once the child printed `text`. */
async function printed(child: ChildProcess, text: string): Promise<void> {
  let output = '';
  for await (const chunk of child.stdout ?? []) {
    output += String(chunk);
    if (output.includes(text)) return;
  }
  assert.fail(`it ended without printing '${text}': ${output}`);
}

describe('millrace, the bin', { timeout: 30_000 }, () => {
  for (const [name, start] of Object.entries({ 'an old Node': START_OLD, 'Node 26': START_NEW })) {
    test(`started by ${name}, it runs its entry on Node 26 with the same arguments`, (t) => {
      const { stdout, stderr, status } = runBin(start, packageWith(t, 'working'), 'tell', '--port', '8080', 'a b');
      assert.equal(stderr, '');
      assert.deepEqual(JSON.parse(stdout), { major: 26, args: ['tell', '--port', '8080', 'a b'] });
      assert.equal(status, 0);
    });

    test(`started by ${name}, it ends with the exit code of its entry`, (t) => {
      assert.equal(runBin(start, packageWith(t, 'working'), 'exit', '42').status, 42);
    });

    test(`started by ${name}, it dies of the signal its entry died of`, (t) => {
      const root = packageWith(t, 'working');
      for (const signal of ['SIGKILL', 'SIGTERM']) assert.equal(runBin(start, root, 'kill', signal).signal, signal);
    });

    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      test(`started by ${name}, its entry gets ${signal} and decides how to end`, async (t) => {
        const child = startBin(start, packageWith(t, 'working'), 'wait', signal);
        await printed(child, 'ready');
        child.kill(signal);
        assert.deepEqual(await once(child, 'exit'), [7, null]);
      });
    }
  }

  test('without a Node 26 it says in one sentence what to do', (t) => {
    for (const node of ['missing', 'old'] as const) {
      const { stderr, status } = runBin(START_OLD, packageWith(t, node), 'tell');
      assert.match(
        stderr,
        /^Millrace needs Node 26 and was started by v[\d.]+: install it, or run "npm install node@26" here\.\n$/,
      );
      assert.equal(status, 1);
    }
  });

  test('where the install script of the package node was skipped it says so', (t) => {
    const { stderr, status } = runBin(START_OLD, packageWith(t, 'not set up'), 'tell');
    assert.match(stderr, /its install script was skipped; run "npm rebuild node"\.\n$/);
    assert.equal(status, 1);
  });

  test('the package node may be in the working directory instead', (t) => {
    const root = packageWith(t, 'missing');
    const elsewhere = packageWith(t, 'working');
    const argv = [...START_OLD.args, join(root, 'bin', 'millrace.js'), 'tell'];
    const { stdout } = spawnSync(START_OLD.program, argv, { cwd: elsewhere, encoding: 'utf8' });
    assert.equal(JSON.parse(stdout).major, 26);
  });

  test('a published package has no sources: the built entry runs', (t) => {
    const root = packageWith(t, 'working');
    rmSync(join(root, 'src'), { recursive: true });
    mkdirSync(join(root, 'dist'));
    writeFileSync(join(root, 'dist', 'main.js'), "console.log('built');");
    assert.equal(runBin(START_OLD, root).stdout, 'built\n');
  });
});
