/**
 * Many events, line by line, in batches of NDJSON (`POST /v1/events`). A batch whose answer broke off, and lines the gateway
 * could not take at that moment, are sent again: every line has an id, so none is appended twice.
 */
import { randomBytes } from 'node:crypto';
import { newId } from '@millrace/core/ids';
import { isObject } from '@millrace/core/json-values';
import { type Client, isProblem, type ProblemBody } from './client.ts';
import { EXIT, exitOf } from './exit-codes.ts';
import { type Line, linesOf } from './input.ts';
import { Refusal } from './refusal.ts';
import { backoffMs, pause } from './signals.ts';
import { textOf } from './text.ts';

/** Of one request: the gateway answers it as a whole stream, and this much is in memory. */
const BATCH_LINES = 500;
const BATCH_BYTES = 2 * 1024 * 1024;
/** The largest event with its attributes, in base64, is below it. */
const LINE_BYTES_MAX = 1024 * 1024;
/** Times in a row that nothing of a batch was answered; over half a minute with their pauses. */
const TRIES_MAX = 6;

export interface Sent {
  /** Of the input, from 1. */
  readonly line: number;
  readonly result: LineResult;
  /** The event as it was sent: with its id. Undefined for a line that could not be sent. */
  readonly text: string | undefined;
}

export type LineResult =
  | { readonly id: string; readonly status: string; readonly shard: string; readonly position: string }
  | { readonly problem: ProblemBody };

export interface PublishNeeds {
  readonly client: Client;
  /** With a topic each line is the data of one event; without, the event. */
  readonly topic?: string;
  readonly source?: string;
  /** Lines before this one are passed over. */
  readonly skip: number;
  readonly signal: AbortSignal;
  /** In the order of the lines of each batch. */
  readonly onSent: (sent: Sent) => void;
  readonly onProgress: (lines: number, readBytes: number) => void;
  /** Every line up to this one has a result. */
  readonly onThrough: (line: number) => void;
  readonly onTrouble: (why: string, againMs: number) => void;
}

interface Waiting {
  readonly line: number;
  readonly text: string;
}

/** Resolves when every line has a result, or `signal` aborted. Rejects where the gateway stays away: what has no result was not stored, as far as is known. */
export async function publishLines(chunks: AsyncIterable<Uint8Array>, needs: PublishNeeds): Promise<void> {
  let batch: Waiting[] = [];
  let bytes = 0;
  let lines = 0;
  const flush = async (readBytes: number): Promise<void> => {
    await sendBatch(batch, needs);
    lines += batch.length;
    batch = [];
    bytes = 0;
    needs.onProgress(lines, readBytes);
  };
  let readBytes = 0;
  for await (const line of linesOf(chunks, LINE_BYTES_MAX)) {
    if (needs.signal.aborted) return;
    ({ readBytes } = line);
    if (line.number <= needs.skip) continue;
    const text = eventOf(line, needs);
    if (typeof text !== 'string') {
      needs.onSent({ line: line.number, result: { problem: text }, text: undefined });
      continue;
    }
    batch.push({ line: line.number, text });
    bytes += text.length;
    if (batch.length >= BATCH_LINES || bytes >= BATCH_BYTES) await flush(readBytes);
  }
  if (batch.length > 0 && !needs.signal.aborted) await flush(readBytes);
}

const TOO_LONG: ProblemBody = {
  status: 413,
  code: 'payload_too_large',
  detail: `the line has more than ${LINE_BYTES_MAX} bytes`,
};

const NO_JSON: ProblemBody = { status: 400, code: 'invalid_json', detail: 'the line is not valid JSON' };

/** As it goes out: bytes of payloads stay as they are, only an id is put in where there is none. What is no event, the gateway says. */
function eventOf({ bytes }: Line, { topic, source }: PublishNeeds): string | ProblemBody {
  if (bytes === undefined) return TOO_LONG;
  const text = textOf(bytes).trim();
  const id = JSON.stringify(newId('evt', Date.now(), randomBytes));
  // Only JSON may be put between other members.
  if (topic !== undefined && parsed(text) === undefined) return NO_JSON;
  if (topic !== undefined) return `{"type":${JSON.stringify(topic)},"id":${id}${sourceOf(source)},"data":${text}}`;
  const event = parsed(text);
  if (!isObject(event)) return text;
  const more = `${event['id'] === undefined ? `"id":${id}` : ''}${event['source'] === undefined ? sourceOf(source) : ''}`;
  const members = more.replace(/^,/, '');
  if (members === '') return text;
  return `{${members}${Object.keys(event).length === 0 ? '' : ','}${text.slice(1)}`;
}

function sourceOf(source: string | undefined): string {
  return source === undefined ? '' : `,"source":${JSON.stringify(source)}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the gateway says what is wrong with it
  }
}

async function sendBatch(batch: readonly Waiting[], needs: PublishNeeds): Promise<void> {
  let waiting = batch;
  for (let tries = 0; waiting.length > 0 && !needs.signal.aborted;) {
    const { left, trouble } = await sendOnce(waiting, needs);
    const [first] = left;
    if (first === undefined) return needs.onThrough(batch.at(-1)?.line ?? 0);
    needs.onThrough(first.line - 1);
    tries = left.length < waiting.length ? 1 : tries + 1;
    waiting = left;
    if (tries >= TRIES_MAX) throw trouble;
    const againMs = backoffMs(tries - 1);
    needs.onTrouble(trouble.message, againMs);
    await pause(againMs, needs.signal);
  }
}

/** What has to be sent again, and why. Rejects where sending again can not help. */
async function sendOnce(
  waiting: readonly Waiting[],
  { client, onSent, signal }: PublishNeeds,
): Promise<{ readonly left: readonly Waiting[]; readonly trouble: Refusal }> {
  const left = new Set(waiting);
  let trouble = new Refusal(EXIT.network, 'the answer broke off before its end');
  try {
    const response = await client.stream('POST /v1/events', {
      headers: { 'content-type': 'application/x-ndjson' },
      body: `${waiting.map(({ text }) => text).join('\n')}\n`,
      signal,
    });
    for await (const { bytes } of linesOf((response.body ?? []) as AsyncIterable<Uint8Array>, LINE_BYTES_MAX)) {
      const answer = parsed(textOf(bytes ?? new Uint8Array())) as (LineResult & { readonly line?: number }) | undefined;
      const of = waiting[(answer?.line ?? 0) - 1];
      if (answer === undefined || of === undefined) continue;
      const { line: _line, ...result } = answer;
      if ('problem' in result && isPassing(result.problem)) {
        trouble = new Refusal(EXIT.network, result.problem.detail, { code: result.problem.code });
        continue;
      }
      left.delete(of);
      onSent({ line: of.line, result, text: of.text });
    }
  } catch (error) {
    if (signal.aborted) return { left: [...left], trouble };
    if (error instanceof Refusal && error.exit !== EXIT.network) throw error;
    if (error instanceof Refusal) trouble = error;
  }
  return { left: [...left], trouble };
}

/** The gateway may take it a moment later. */
function isPassing(problem: ProblemBody): boolean {
  return (
    isProblem(problem) &&
    (exitOf(problem.status, problem.code) === EXIT.network || problem.code === 'in_flight') &&
    problem.code !== 'log_full'
  );
}
