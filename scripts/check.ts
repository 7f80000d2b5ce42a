/**
 * `npm run check`: what must hold before a commit, in well under a minute. `npm run check -- types lint` runs only these
 * parts, `npm run check -- --without tests` all others. The last line is `N passed, N failed`, counting parts.
 */
import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { staleFiles } from './generated.ts';
import { houseBreaches } from './house.ts';
import { importBreaches } from './imports.ts';
import { seconds, together } from './parts.ts';
import { sizeBreaches } from './sdk-size.ts';
import { filesIn, ROOT } from './tree.ts';

interface Part {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

interface Outcome {
  readonly good: boolean;
  readonly output: string;
}

const AT_ONCE = 2;
const BIN = join(ROOT, 'node_modules', '.bin');

/** The longest first, so that the short ones fill the other core. */
const PARTS: readonly Part[] = [
  command('tests', process.execPath, ['scripts/test.ts', '--quick', 'packages', 'scripts', 'sdk']),
  command('types', 'tsc', ['-p', 'tsconfig.json']),
  ...portablePackages().map((folder) => command(`types ${folder}`, 'tsc', ['-p', `${folder}/tsconfig.json`])),
  command('lint', 'oxlint', ['--deny-warnings', '--format=unix']),
  command('format', 'oxfmt', ['--list-different']),
  list('imports', importBreaches),
  list('house', houseBreaches),
  list('generated', staleFiles),
  list('sizes', sizeBreaches),
];

async function main(args: readonly string[]): Promise<number> {
  const without = args[0] === '--without';
  const names = without ? args.slice(1) : args;
  const unknown = names.filter((name) => !PARTS.some((part) => kindOf(part) === name));
  if (unknown.length > 0) {
    console.log(`no such part: ${unknown.join(', ')}; there are ${[...new Set(PARTS.map(kindOf))].join(', ')}`);
    return 1;
  }
  const parts = names.length === 0 ? PARTS : PARTS.filter((part) => names.includes(kindOf(part)) !== without);
  const started = performance.now();
  const outcomes = await together(AT_ONCE, parts, runPart);
  const failed = outcomes.filter((good) => !good).length;
  console.log(`${outcomes.length} parts in ${seconds(started)}`);
  console.log(`${outcomes.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** `types packages/core` is chosen as `types`. */
function kindOf(part: Part): string {
  return part.name.split(' ')[0] ?? part.name;
}

async function runPart({ name, run }: Part): Promise<boolean> {
  const started = performance.now();
  const { good, output } = await run();
  console.log(`${good ? '✔' : '✖'} ${name.padEnd(22)} ${seconds(started).padStart(7)}`);
  if (!good) console.log(output.trimEnd().replace(/^/gm, '    '));
  return good;
}

/** A package with a tsconfig of its own says there what it may not know: core has no Node types. */
function portablePackages(): string[] {
  return filesIn(ROOT).flatMap((file) => /^((?:packages|examples|sdk)\/[^/]+)\/tsconfig\.json$/.exec(file)?.[1] ?? []);
}

function command(name: string, program: string, args: readonly string[]): Part {
  return { name, run: () => outcomeOf(program, args) };
}

function list(name: string, breaches: () => readonly string[] | Promise<readonly string[]>): Part {
  return {
    name,
    run: async () => {
      const lines = await breaches();
      return { good: lines.length === 0, output: lines.join('\n') };
    },
  };
}

function outcomeOf(program: string, args: readonly string[]): Promise<Outcome> {
  const env = { ...process.env, PATH: `${BIN}${delimiter}${process.env['PATH'] ?? ''}` };
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.on('error', (error) => resolve({ good: false, output: `${program} does not start: ${error.message}. Was it npm ci?` }));
    child.on('close', (code) => resolve({ good: code === 0, output }));
  });
}

process.exitCode = await main(process.argv.slice(2));
