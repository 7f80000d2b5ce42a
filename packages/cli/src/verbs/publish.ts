/** `millrace publish`: one event from the command line, or many from a file or standard input. */
import { randomBytes } from 'node:crypto';
import { createWriteStream, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { isJsonType } from '@millrace/core/attributes';
import { newId } from '@millrace/core/ids';
import { isJson } from '@millrace/core/json-scan';
import { type Call, type Cli, exampled } from '../cli.ts';
import { EXIT, type Exit, exitOf } from '../exit-codes.ts';
import { textOf } from '../following.ts';
import { chunksOf, readWhole, sizeOf } from '../input.ts';
import { createProgress } from '../progress.ts';
import { type LineResult, publishLines, type Sent } from '../publishing.ts';
import { headers, pairs, wholeNumber } from '../readers.ts';
import { misused, Refusal } from '../refusal.ts';
import type { Terminal } from '../terminal.ts';
import { count, number, spanOf } from '../text.ts';

/** Of one event's data: the gateway's own limit, below this, is said by the gateway. */
const DATA_BYTES_MAX = 16 * 1024 * 1024;
/** Refused lines that are shown to people. */
const SHOWN_MAX = 20;

interface PublishOptions {
  readonly type?: string;
  readonly data?: string;
  readonly file?: string;
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly partitionKey?: string;
  readonly contentType?: string;
  readonly attribute?: Readonly<Record<string, string>>;
  readonly header?: Readonly<Record<string, string>>;
  readonly skip?: number;
  readonly failed?: string;
}

type PublishCall = Call<[string | undefined, string | undefined], PublishOptions>;

export function publishVerb(program: Command, { act }: Cli): void {
  exampled(
    program
      .command('publish [topic] [data]')
      .description('one event, or many with --file')
      .option('--type <topic>', 'the topic, instead of the first argument')
      .option('--data <data>', 'the data, instead of the second argument; @path is a file, - standard input')
      .option('--file <path>', 'NDJSON, one event per line (- is standard input); with a topic each line is the data of one')
      .option('--partition-key <key>', "the event's key, for order")
      .option('--id <id>', 'its id; published twice, it is stored once')
      .option('--source <source>', 'where it comes from, a URI reference')
      .option('--subject <text>', 'what it is about')
      .option('--content-type <type>', 'of the data (default application/json)')
      .addOption(new Option('--attribute <name=value>', 'an extension attribute; repeatable').argParser(pairs))
      .addOption(new Option('--header <pair>', "'Name: value', a header of the request; repeatable").argParser(headers))
      .addOption(
        new Option('--skip <n>', 'of a file: pass over so many lines').argParser(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
      )
      .option('--failed <path>', 'of a file: where events go that were not stored, to be published again'),
    [
      'millrace publish orders.created \'{"id":42}\'',
      'millrace publish orders.created \'{"id":43}\' --partition-key customer-7',
      'jq -c .rows[] rows.json | millrace publish rows.added --file -',
      'millrace publish --file events.ndjson --failed again.ndjson',
    ],
  ).action(
    act<[string | undefined, string | undefined], PublishOptions>((call) =>
      call.options.file === undefined ? one(call) : many(call, call.options.file),
    ),
  );
}

async function one(call: PublishCall): Promise<void> {
  const { options, terminal } = call;
  const { topic, data } = given(call);
  if (topic === undefined)
    throw misused(
      'say which topic: millrace publish orders.created \'{"id":42}\'',
      'Many events: --file PATH, or --file - for standard input.',
    );
  if (options.skip !== undefined || options.failed !== undefined) throw misused('--skip and --failed go with --file');
  const bytes = data === undefined ? undefined : await bytesOf(data, call);
  const { id, status, shard, position } = await send(call, { topic, bytes });
  terminal.data({ id, status, shard, position }, () => `${id}  ${status}  ${topic}`);
  if (status === 'duplicate') terminal.hint('It was published before: nothing was added.');
}

function given({ args: [topic, data], options }: PublishCall): { readonly topic?: string; readonly data?: string } {
  if (topic !== undefined && options.type !== undefined) throw misused('the topic is there twice: as an argument and as --type');
  if (data !== undefined && options.data !== undefined) throw misused('the data are there twice: as an argument and as --data');
  const type = options.type ?? topic;
  const payload = options.data ?? data;
  return { ...(type === undefined ? {} : { topic: type }), ...(payload === undefined ? {} : { data: payload }) };
}

async function bytesOf(data: string, { world }: PublishCall): Promise<Uint8Array> {
  if (data === '-') return readWhole('-', world, DATA_BYTES_MAX);
  if (data.startsWith('@')) return readWhole(data.slice(1), world, DATA_BYTES_MAX);
  return Buffer.from(data);
}

type Stored = Extract<LineResult, { readonly id: string }>;

/** As a structured CloudEvent: JSON stands in it as it was typed, everything else in base64. */
async function send(
  { options, client }: PublishCall,
  { topic, bytes }: { readonly topic: string; readonly bytes: Uint8Array | undefined },
): Promise<Stored> {
  const { id, source, subject, partitionKey, contentType, attribute, header } = options;
  if (bytes !== undefined && (contentType === undefined || isJsonType(contentType)) && !isJson(bytes))
    throw misused(
      'the data are not JSON',
      'Text in JSON has quotes: \'"hello"\'. For something else say what it is: --content-type text/plain.',
    );
  const attributes = JSON.stringify({
    specversion: '1.0',
    type: topic,
    // Made here, so that it could be sent again without being stored twice.
    id: id ?? newId('evt', Date.now(), randomBytes),
    ...attribute,
    ...Object.fromEntries(
      Object.entries({ source, subject, partitionkey: partitionKey, datacontenttype: contentType }).filter(
        ([, value]) => value !== undefined,
      ),
    ),
  }).slice(0, -1);
  const isData = contentType === undefined || isJsonType(contentType);
  const payload =
    bytes === undefined ? '' : isData ? `,"data":${textOf(bytes)}` : `,"data_base64":"${Buffer.from(bytes).toString('base64')}"`;
  const { body } = await client().ask<Stored>('POST /v1/events', {
    body: `${attributes}${payload}}`,
    headers: { 'content-type': 'application/cloudevents+json', ...header },
  });
  return body;
}

async function many(call: PublishCall, file: string): Promise<Exit> {
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
      first ??= new Refusal(exitOf(status, code), `line ${line}: ${detail}`, { code, advice });
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
  if (stored === 0) throw problem;
  return EXIT.partly;
}
