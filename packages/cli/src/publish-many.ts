/** Many events from a file or standard input, and what to say of them. */
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { adviceOf } from './advice.ts';
import { EXIT, type Exit, exitOf } from './exit-codes.ts';
import { chunksOf, sizeOf } from './input.ts';
import { createProgress } from './progress.ts';
import { given, type PublishCall, type PublishOptions } from './publish-one.ts';
import { publishLines, type Sent } from './publishing.ts';
import { misused, Refusal } from './refusal.ts';
import type { Terminal } from './terminal.ts';
import { count, number, spanOf } from './text.ts';

/** Refused lines that are shown to people. */
const SHOWN_MAX = 20;

/** What was stored is told line by line; what was not is named, kept where that is asked for, and can be gone on with. */
export async function publishMany(call: PublishCall, file: string): Promise<Exit> {
  const { options, terminal, world } = call;
  const { topic, data } = given(call);
  if (data !== undefined) throw misused('--file brings the data: leave the other data out');
  refuseOfOne(options);
  const chunks = await chunksOf(file, world);
  const counts = createCounts(terminal, failedFile(call));
  const size = await sizeOf(file, world);
  const progress = createProgress(terminal, 'event');
  const signal = world.interrupted();
  let failure: Error | undefined;
  try {
    await publishLines(chunks, {
      client: call.client(),
      ...(topic === undefined ? {} : { topic }),
      ...(options.source === undefined ? {} : { source: options.source }),
      skip: options.skip ?? 0,
      signal,
      onSent: counts.add,
      onThrough: counts.through,
      onProgress: (lines, readBytes) => progress.at(lines, size === undefined ? undefined : readBytes / size),
      onTrouble: (why, againMs) => terminal.warn(`${why}; sending again in ${spanOf(againMs)}`),
    });
  } catch (error) {
    failure = error as Error;
  } finally {
    progress.end();
    await counts.end();
  }
  return verdict(call, { counts, failure, file, interrupted: signal.aborted });
}

function refuseOfOne({ id, subject, partitionKey, contentType, attribute, header }: PublishOptions): void {
  for (const [name, value] of Object.entries({ id, subject, partitionKey, contentType, attribute, header }))
    if (value !== undefined)
      throw misused(
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is for one event`,
        'In a file each line has its own members, such as "partitionkey".',
      );
}

function failedFile({ options: { failed }, world }: PublishCall): WriteStream | undefined {
  return failed === undefined ? undefined : createWriteStream(resolve(world.directory, failed));
}

interface Counts {
  add(sent: Sent): void;
  /** Every line up to this one has a result. */
  through(line: number): void;
  end(): Promise<void>;
  readonly of: { appended: number; duplicate: number; refused: number };
  /** Where to go on, and the last line that has a result: not the same where one in between has none. */
  place(): { readonly skip: number; readonly last: number };
  firstProblem(): Refusal | undefined;
}

function createCounts(terminal: Terminal, failed: WriteStream | undefined): Counts {
  const of = { appended: 0, duplicate: 0, refused: 0 };
  let skip = 0;
  let last = 0;
  let first: Refusal | undefined;
  return {
    of,
    through: (line) => void (skip = Math.max(skip, line)),
    place: () => ({ skip, last }),
    firstProblem: () => first,
    add({ line, result, text }) {
      terminal.record({ line, ...result });
      last = Math.max(last, line);
      if ('id' in result) {
        of[result.status === 'duplicate' ? 'duplicate' : 'appended']++;
        return;
      }
      of.refused++;
      const { status, code, detail, advice } = result.problem;
      first ??= new Refusal(exitOf(status, code), `line ${line}: ${detail}`, { code, advice: adviceOf(advice) });
      if (of.refused <= SHOWN_MAX && !terminal.json) terminal.warn(`line ${line}: ${detail} (${code})`);
      if (text !== undefined) failed?.write(`${text}\n`);
    },
    async end() {
      if (of.refused > SHOWN_MAX && !terminal.json) terminal.warn(`… and ${of.refused - SHOWN_MAX} more lines`);
      if (failed === undefined) return;
      failed.end();
      await once(failed, 'close');
    },
  };
}

function verdict(
  { terminal, options }: PublishCall,
  {
    counts,
    failure,
    file,
    interrupted,
  }: { readonly counts: Counts; readonly failure: Error | undefined; readonly file: string; readonly interrupted: boolean },
): Exit {
  const { appended, duplicate, refused } = counts.of;
  const lines = appended + duplicate + refused;
  terminal.data({ done: { lines, appended, duplicate, refused } }, () =>
    [
      count(lines, 'event'),
      `${number(appended)} appended`,
      ...(duplicate > 0 ? [`${number(duplicate)} were there already`] : []),
      ...(refused > 0 ? [`${number(refused)} refused`] : []),
    ].join('  '),
  );
  const stored = appended + duplicate;
  if (refused > 0 && options.failed !== undefined)
    terminal.hint(`Those that were not stored: millrace publish --file ${options.failed}`);
  if (failure !== undefined || interrupted) {
    const { skip, last } = counts.place();
    const again = file === '-' ? undefined : `Go on with: millrace publish --file ${file} --skip ${skip}`;
    if (last > skip)
      terminal.warn(`line ${skip + 1} has no answer, some after it have: without ids of their own they would be stored again`);
    if (failure === undefined) {
      if (again !== undefined) terminal.hint(again);
      return EXIT.interrupted;
    }
    if (stored === 0 || !(failure instanceof Refusal)) throw failure;
    throw new Refusal(EXIT.partly, `stopped after line ${skip}: ${failure.message}`, {
      advice: again ?? failure.advice,
      code: failure.code,
    });
  }
  const problem = counts.firstProblem();
  if (problem === undefined) return EXIT.ok;
  // To people it was said already, line by line.
  if (stored === 0) throw terminal.json ? problem : new Refusal(problem.exit, 'nothing was stored', { advice: problem.advice });
  return EXIT.partly;
}
