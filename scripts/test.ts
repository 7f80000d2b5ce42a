/**
 * `npm test`: every test there is, part after part, each file in a process of its own, two at a time.
 * `npm test -- packages/core scripts/imports.test.ts` runs what lies there; `--quick` leaves out `*.slow.test.ts`, whose
 * tests start processes or wait for a disk. The last line is `N passed, N failed`
 * (`, N skipped`). With MILLRACE_REQUIRE=all a skip is a failure: on a machine that has everything, nothing may be left out.
 * One kind of skip is none of the machine's business: what a driver says it does not do, in its data for the conformance suite.
 * The suite gives such reasons as `gap: …`; they are listed and counted, and never fail.
 */
import { readFileSync } from 'node:fs';
import { run } from 'node:test';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { seconds, together } from './parts.ts';
import { filesIn } from './tree.ts';

const AT_ONCE = 2;
/** A file that takes longer hangs, or left something open that keeps its process alive: both are bugs, and neither may hold up the rest. */
const FILE_MS = 300_000;
const PARTS = ['unit', 'conformance', 'flow', 'simulation'];

type Verdict = 'passed' | 'failed' | 'skipped';

interface Result {
  readonly file: string;
  readonly title: string;
  readonly verdict: Verdict;
  /** Of a failure what happened, of a skip its reason. */
  readonly because?: string;
}

/** The part of node's report of one test that is used here. */
interface Report {
  readonly name: string;
  readonly nesting: number;
  readonly skip?: string | boolean;
  readonly todo?: string | boolean;
  readonly details: { readonly type?: string; readonly error?: unknown };
}

async function main(root: string, { places, quick }: { places: readonly string[]; quick: boolean }): Promise<number> {
  const found = filesIn(root).filter((file) => file.endsWith('.test.ts') && isWanted(file, places));
  const files = quick ? found.filter((file) => !file.endsWith('.slow.test.ts')) : found;
  const results: Result[] = [];
  for (const [part, its] of inParts(root, files)) results.push(...(await runPart(root, part, its)));
  for (const { file, title, because } of chosen(results, 'skipped')) console.log(`skipped: ${file} › ${title}: ${because}`);
  const final = process.env['MILLRACE_REQUIRE'] === 'all' ? results.map(required) : results;
  for (const { file, title } of chosen(final, 'failed').filter((result) => !results.includes(result))) {
    console.log(`✖ ${file} › ${title}: it was skipped, and MILLRACE_REQUIRE=all`);
  }
  if (files.length < found.length) console.log(`left to npm test: ${found.length - files.length} slow files`);
  if (results.length === 0) console.log(`no test file in ${places.join(', ') || 'the repository'}`);
  console.log(countLine(final));
  return results.length > 0 && chosen(final, 'failed').length === 0 ? 0 : 1;
}

function isWanted(file: string, places: readonly string[]): boolean {
  if (places.length === 0) return true;
  return places
    .map((place) => place.replace(/^\.\//, '').replace(/\/$/, ''))
    .some((place) => file === place || file.startsWith(`${place}/`));
}

function inParts(root: string, files: readonly string[]): [string, string[]][] {
  const parts = Object.entries(Object.groupBy(files, (file) => partOf(root, file))).map(([part, its]): [string, string[]] => [
    part,
    its ?? [],
  ]);
  const place = (part: string): number => (PARTS.includes(part) ? PARTS.indexOf(part) : PARTS.length);
  return parts.toSorted(([a], [b]) => place(a) - place(b));
}

/** `test/chaos/kill.test.ts` → chaos, `sdk/js/millrace.test.ts` → sdk, what runs the suite → conformance, what stands beside sources → unit. */
function partOf(root: string, file: string): string {
  if (/^import .* from '@millrace\/conformance\/\w+-conformance'/m.test(readFileSync(join(root, file), 'utf8')))
    return 'conformance';
  const [top = '', next = ''] = file.split('/');
  if (top === 'test') return next.replace(/\.test\.ts$/, '');
  return ['packages', 'scripts', 'bench'].includes(top) ? 'unit' : top;
}

async function runPart(root: string, part: string, files: readonly string[]): Promise<Result[]> {
  const started = performance.now();
  const perFile = await together(AT_ONCE, files, (file) => runFile(root, file));
  const results = perFile.flat();
  console.log(
    `${part.padEnd(12)} ${countLine(results)}  (${files.length} ${files.length === 1 ? 'file' : 'files'}, ${seconds(started)})`,
  );
  return results;
}

async function runFile(root: string, file: string): Promise<Result[]> {
  const results: Result[] = [];
  const printed: string[] = [];
  const stream = run({ files: [join(root, file)], cwd: root, signal: AbortSignal.timeout(FILE_MS) });
  const above: string[] = [];
  stream.on('test:start', ({ name, nesting }) => above.splice(nesting, above.length, name));
  const take = (passed: boolean) => (report: Report) => {
    const result = resultOf(join(root, file), file, report, passed);
    if (result !== undefined) results.push({ ...result, title: [...above.slice(0, report.nesting), result.title].join(' › ') });
  };
  stream.on('test:pass', take(true));
  stream.on('test:fail', take(false));
  stream.on('test:stdout', ({ message }) => printed.push(message));
  stream.on('test:stderr', ({ message }) => printed.push(message));
  await stream.resume().toArray();
  printFailures(results, printed.join(''));
  return results;
}

/** Suites only group, unless they were skipped whole or failed by themselves (a hook). */
function resultOf(path: string, file: string, { name, skip, todo, details }: Report, passed: boolean): Result | undefined {
  const isFile = name === path;
  const title = isFile ? 'the file as a whole' : name;
  const reason = skip === undefined || skip === false ? todo : skip;
  if (reason !== undefined && reason !== false) {
    return { file, title, verdict: 'skipped', because: reason === true || reason === '' ? 'no reason given' : reason };
  }
  if (!passed) {
    const failure = details.error;
    if (details.type === 'suite' && failureType(failure) === 'subtestsFailed') return undefined;
    return { file, title, verdict: 'failed', because: storyOf(failure) };
  }
  if (isFile) return { file, title, verdict: 'failed', because: 'it holds no test' };
  return details.type === 'suite' ? undefined : { file, title, verdict: 'passed' };
}

function storyOf(error: unknown): string {
  if (failureType(error) === 'testAborted') return `it did not end within ${FILE_MS / 1000} s: something hangs, or was left open`;
  if (!(error instanceof Error)) return inspect(error);
  if ('exitCode' in error)
    return `its process ended with ${inspect(error['exitCode'] ?? ('signal' in error ? error['signal'] : undefined))}`;
  return inspect(error.cause ?? error, { colors: process.stdout.isTTY });
}

function failureType(error: unknown): unknown {
  return error instanceof Error && 'failureType' in error ? error.failureType : undefined;
}

function printFailures(results: readonly Result[], printed: string): void {
  const failures = chosen(results, 'failed');
  for (const { file, title, because } of failures) console.log(`✖ ${file} › ${title}\n${indented(because ?? '')}`);
  if (failures.length > 0 && printed.trim() !== '') console.log(`  it printed:\n${indented(printed.trimEnd())}`);
}

function required(result: Result): Result {
  const isGap = result.because?.startsWith('gap: ') === true;
  return result.verdict === 'skipped' && !isGap ? { ...result, verdict: 'failed' } : result;
}

function chosen(results: readonly Result[], verdict: Verdict): Result[] {
  return results.filter((result) => result.verdict === verdict);
}

function countLine(results: readonly Result[]): string {
  const count = (verdict: Verdict): number => chosen(results, verdict).length;
  const skipped = count('skipped') > 0 ? `, ${count('skipped')} skipped` : '';
  return `${count('passed')} passed, ${count('failed')} failed${skipped}`;
}

const indented = (text: string): string => text.replace(/^/gm, '    ');

const args = process.argv.slice(2);
process.exitCode = await main(process.cwd(), {
  places: args.filter((arg) => arg !== '--quick'),
  quick: args.includes('--quick'),
});
