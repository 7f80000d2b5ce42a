/**
 * `POST /v1/events` as NDJSON: events line by line, for as long as the publisher has some. Each line is answered by one, in
 * order, when its event is durable. Nothing is read on while the answers are not read: what is held is one chunk of lines, and
 * the beginning of the next one.
 */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { decodeJsonEvent } from '@millrace/core/cloud-events-json';
import { Problem } from '@millrace/core/problem';
import type { TraceContext } from '@millrace/core/trace';
import type { Draft, Published } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { Caller } from './access.ts';
import type { Publish } from './publish.ts';
import { type Hold, noRoom } from './room.ts';
import { traceOf } from './trace.ts';

export const LINES_TYPES = ['application/x-ndjson', 'application/ndjson'];

/** The body stays a stream: whoever handles the request reads it. */
export function takeLines(app: FastifyInstance): void {
  app.addContentTypeParser(LINES_TYPES, (_request, _payload, done) => done(null));
}

export function isLines(request: FastifyRequest): boolean {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  return type !== undefined && LINES_TYPES.includes(type);
}

export function publishLines(request: FastifyRequest, reply: FastifyReply, publish: Publish): FastifyReply {
  if (request.headers['idempotency-key'] !== undefined)
    throw new Problem('invalid_request', 'an idempotency key is for one event', {
      advice: 'Give each event an id: it dedupes together with its source.',
    });
  // Neither a line nor an answer taken for so long: the other side is gone, or was never there.
  request.raw.socket.setTimeout(publish.limits.linesIdleMs);
  const answers = answersTo(request, publish);
  return reply.type('application/x-ndjson').send(Readable.from(answers, { objectMode: true, highWaterMark: 1 }));
}

interface Line {
  readonly number: number;
  readonly draft: Draft | Problem;
}

const COUNTED = { appended: 0, duplicate: 0, refused: 0 };

async function* answersTo(request: FastifyRequest, publish: Publish): AsyncGenerator<string> {
  const { raw, caller, hold } = request;
  const trace = traceOf(request);
  const counts = { lines: 0, ...COUNTED };
  for await (const lines of linesOf(chunksOf(raw), publish.limits, hold)) {
    const published = await publishAll(lines, { caller, trace }, publish);
    counts.lines = lines.at(-1)?.number ?? counts.lines;
    for (const { status } of published) counts[status]++;
    yield published.map((one, at) => `${answerTo(lines[at] as Line, one)}\n`).join('');
  }
  yield `${JSON.stringify({ done: counts })}\n`;
}

/** Ends where the publisher has gone in the middle of it: nobody is there who could be told. */
async function* chunksOf(raw: AsyncIterable<Buffer> & { readonly aborted: boolean }): AsyncGenerator<Buffer> {
  try {
    yield* raw;
  } catch (error) {
    if (!raw.aborted) throw error;
  }
}

/** What refuses the whole call is the answer to each of its lines. */
async function publishAll(
  lines: readonly Line[],
  { caller, trace }: { readonly caller: Caller; readonly trace: TraceContext | undefined },
  publish: Publish,
): Promise<readonly Published[]> {
  try {
    const published = await publish(
      caller,
      lines.map(({ draft }) => draft),
      { trace },
    );
    if (lines.length === 1) return published;
    return published.map((one, at) =>
      one.status === 'refused' && one.problem !== lines[at]?.draft ? { status: 'refused', problem: inLine(one.problem) } : one,
    );
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    return lines.map(() => ({ status: 'refused', problem }));
  }
}

/** Pointers of a batch begin with the place in it. */
function inLine(problem: Problem): Problem {
  const { code, message, advice, retryAfterMs, pointer } = problem;
  if (pointer === undefined) return problem;
  return new Problem(code, message, {
    pointer: pointer.replace(/^\/\d+(?=\/|$)/, ''),
    ...(advice === undefined ? {} : { advice }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function answerTo({ number }: Line, published: Published): string {
  if (published.status === 'refused') return JSON.stringify({ line: number, problem: published.problem });
  const { id, status, shard, position } = published;
  return JSON.stringify({ line: number, id, status, shard, position });
}

/**
 * Lines with what they hold, empty ones left out; as many at a time as one chunk brought, at most `most`. A line for which there
 * is no room is answered so, like one that is too long.
 */
async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  { batchEvents: most, lineBytes }: Limits,
  hold: Hold | undefined,
): AsyncGenerator<readonly Line[]> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let number = 0;
  let skipping: Problem | undefined;
  let lines: Line[] = [];

  function endLine(last: Buffer): void {
    number++;
    if (restBytes + last.length > lineBytes) skipping ??= tooLong(lineBytes);
    const text = skipping === undefined ? Buffer.concat([...rest, last]) : EMPTY;
    if (skipping !== undefined) lines.push({ number, draft: skipping });
    else if (!isBlank(text)) lines.push({ number, draft: draftOf(text) });
    skipping = undefined;
    dropRest();
  }

  function dropRest(): void {
    if (rest.length > 0) hold?.remove(restBytes);
    rest = [];
    restBytes = 0;
  }

  function keep(left: Buffer): void {
    if (skipping === undefined && restBytes + left.length > lineBytes) skip(tooLong(lineBytes));
    if (skipping === undefined && left.length > 0 && hold?.add(left.length) === false) skip(noRoom());
    if (skipping !== undefined || left.length === 0) return;
    rest.push(left);
    restBytes += left.length;
  }

  function skip(problem: Problem): void {
    dropRest();
    skipping = problem;
  }

  for await (const chunk of chunks) {
    // Held until its lines are answered. Where there is no room, they all are refused.
    const isHeld = hold?.add(chunk.length) !== false;
    if (!isHeld) skip(noRoom());
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      endLine(chunk.subarray(at, end));
      at = end + 1;
      if (!isHeld && at < chunk.length) skipping = noRoom();
      if (lines.length < most) continue;
      yield lines;
      lines = [];
    }
    keep(chunk.subarray(at));
    if (lines.length > 0) yield lines;
    lines = [];
    if (isHeld) hold?.remove(chunk.length);
  }
  if (restBytes > 0 || skipping !== undefined) endLine(EMPTY);
  if (lines.length > 0) yield lines;
}

const NEWLINE = 0x0a;
const EMPTY = Buffer.alloc(0);

function isBlank(text: Buffer): boolean {
  return text.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

function draftOf(text: Buffer): Draft | Problem {
  try {
    return decodeJsonEvent(text, 'plain');
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

const tooLong = (lineBytes: number): Problem => new Problem('payload_too_large', `a line has at most ${lineBytes} bytes`);
