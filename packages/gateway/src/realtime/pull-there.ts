/**
 * A pull of a group that another node works: that node is asked the same, over a call like the client's own and with the client's own token.
 * What it hands over is with it as it would be here; an ack may come by any node, as each asks the owner.
 */
import { Problem, type ProblemCode, PROBLEMS } from '@millrace/core/problem';
import { request as send } from 'undici';
import type { Limits } from '../limits.ts';
import { FRAME_BOUNDS } from './frame-reader.ts';
import type { PullSettle, PullSub } from './pull-frames.ts';
import type { Part } from './pull-here.ts';
import { RELAYED } from './relay.ts';

export interface Asked {
  readonly address: string;
  readonly frames: readonly (PullSettle | PullSub)[];
  readonly waitMs: number;
  /** The client's own, as an Authorization header. */
  readonly credentials: string;
  /** That a node asks, and no client. */
  readonly proof: () => string;
  readonly ended: AbortSignal;
  readonly limits: Limits;
}

export const PULL_PATH = '/v1/pull';
/** Beyond the wait: until what was acked is written down there, and the log was looked at. */
const ANSWER_MS = 30_000;

/** Throws `moving` where the node does not work it, or can't be asked now. */
export async function pullThere(asked: Asked): Promise<Part> {
  const answer = await ask(asked);
  return {
    frames: [answer],
    // It has left the hands of the owner: said by name, as a client would, it comes again at once.
    lost: () => void ask({ ...asked, ...giveBack(asked, answer) }).catch(() => undefined),
  };
}

/** What is between the brackets of its answer, byte for byte. */
async function ask({ address, frames, waitMs, credentials, proof, ended, limits }: Asked): Promise<Buffer> {
  const headers = { authorization: credentials, 'content-type': 'application/json', [RELAYED]: proof() };
  const ms = waitMs + ANSWER_MS;
  const body = JSON.stringify(frames);
  const url = new URL(PULL_PATH, address);
  const answer = await send(url, { method: 'POST', headers, body, headersTimeout: ms, bodyTimeout: ms, signal: ended }).catch(
    () => {
      throw notNow();
    },
  );
  // Its ids are no longer than ours, and of messages there is one at most beyond the bound.
  const bytes = await bytesOf(answer.body, 2 * limits.frameBytes + limits.unsentBytes + 2 * limits.payloadBytes);
  if (answer.statusCode === 200) return bytes.subarray(1, -1);
  throw problemIn(bytes);
}

async function bytesOf(body: AsyncIterable<Buffer>, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.length;
      if (bytes > most) throw notNow();
      chunks.push(chunk);
    }
  } catch {
    throw notNow();
  }
  return Buffer.concat(chunks);
}

function giveBack({ frames }: Asked, answer: Buffer): Pick<Asked, 'frames' | 'waitMs' | 'ended'> {
  const said = JSON.parse(`[${answer.toString()}]`) as { readonly op: string; readonly id?: string }[];
  const all = said.flatMap(({ op, id }) => (op === 'msg' && id !== undefined ? [id] : []));
  const group = frames[0]?.group ?? '';
  const nacks: PullSettle[] = [];
  for (let at = 0; at < all.length; at += FRAME_BOUNDS.ids) {
    const ids = all.slice(at, at + FRAME_BOUNDS.ids);
    nacks.push({ op: 'nack', group, ids, delayMs: 0, reason: 'its client was gone before it was answered' });
  }
  return { frames: nacks, waitMs: 0, ended: new AbortController().signal };
}

function problemIn(bytes: Buffer): Problem {
  try {
    const { code, detail } = JSON.parse(bytes.toString()) as { readonly code: ProblemCode; readonly detail: string };
    if (code !== 'moving' && Object.hasOwn(PROBLEMS, code)) return new Problem(code, detail);
  } catch {
    // Somebody else answers at that address by now.
  }
  return notNow();
}

const notNow = (): Problem =>
  new Problem('moving', 'the group is being moved to another node, or the node that works it could not be asked', {
    retryAfterMs: 1_000,
    advice: 'Pull again.',
  });
