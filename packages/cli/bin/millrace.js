#!/usr/bin/env node
// Plain JavaScript for any Node from 18 on. Millrace runs on Node 26; where an older one starts this file, it finds the
// npm package `node` (a dependency of this package) and starts itself again on that.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import * as module from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NEEDED = 26;
/** Set for the process that this one starts again. */
const CHILD = 'MILLRACE_STARTED_AGAIN';
const here = fileURLToPath(import.meta.url);

if (majorOf(process.versions.node) >= NEEDED) {
  // Before anything else is loaded: what was stripped of its types and compiled is kept, which halves the next start.
  module.enableCompileCache();
  endWithParent();
  await import(entry());
} else startAgain();

/** A supervisor knows the first of the two processes: where that one is killed, the second must not go on holding data and port. */
function endWithParent() {
  if (process.env[CHILD] !== '1' || process.channel === undefined) return;
  delete process.env[CHILD];
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.channel.unref();
}

/** The sources where they are, else what was built of them: a published package has no sources, Node strips no types there. */
function entry() {
  const source = join(dirname(here), '..', 'src', 'main.ts');
  return pathToFileURL(existsSync(source) ? source : join(dirname(here), '..', 'dist', 'main.js')).href;
}

function startAgain() {
  const { program, advice } = findNode();
  if (program === undefined) {
    process.stderr.write(`Millrace needs Node ${NEEDED} and was started by ${process.version}: ${advice}.\n`);
    process.exit(1);
  }
  const child = spawn(program, [here, ...process.argv.slice(2)], {
    // The last one is how it learns that we are gone, also where nobody could tell it: kill -9.
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, [CHILD]: '1' },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => forward(child, signal));
  child.on('error', (error) => {
    process.stderr.write(`Millrace can not start ${program}: ${error.message}.\n`);
    process.exit(1);
  });
  child.on('exit', endLike);
}

/** The npm package `node`, as seen from this file, then from the working directory. */
function findNode() {
  let advice = `install it, or run "npm install node@${NEEDED}" here`;
  for (const from of [here, join(process.cwd(), 'package.json')]) {
    const manifest = resolveFrom(from);
    if (manifest === undefined || majorOf(JSON.parse(readFileSync(manifest, 'utf8')).version) < NEEDED) continue;
    const program = ['node', 'node.exe'].map((name) => join(dirname(manifest), 'bin', name)).find((path) => existsSync(path));
    if (program !== undefined) return { program };
    // npm was told to run no install scripts, or not this one
    advice = 'the npm package "node" is here, but its install script was skipped; run "npm rebuild node"';
  }
  return { advice };
}

function resolveFrom(path) {
  try {
    return module.createRequire(path).resolve('node/package.json');
  } catch {
    return undefined; // not installed there
  }
}

/** A terminal sends Ctrl-C to both processes; passed on as well, it would arrive twice, and the second one means "at once". */
function forward(child, signal) {
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  if (signal === 'SIGINT' && atTerminal) return;
  child.kill(signal);
}

/** Whoever started this process learns what became of the other one, as if there were only one. */
function endLike(code, signal) {
  if (signal === null) process.exit(code);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

function majorOf(version) {
  return Number.parseInt(version, 10);
}
