/** Asks the gateway over its HTTP API. What it refuses, and what stands between, becomes a Refusal with an exit code. */
import { adviceOf } from './advice.ts';
import { EXIT, exitOf } from './exit-codes.ts';
import { Refusal } from './refusal.ts';
import type { Settings } from './settings.ts';

/** Until an answer is whole. Longer than the gateway itself waits for anything. */
const ANSWER_TIMEOUT_MS = 60_000;
/** Of one answer: a list of 500 large events stays below it. */
const ANSWER_BYTES_MAX = 512 * 1024 * 1024;

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Asked {
  readonly query?: Query;
  /** Sent as application/json, unless a content type is among the headers. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: Uint8Array | string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Answer<Body> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
  /** As it came: payloads in it may not survive being parsed and written again. */
  readonly bytes: Uint8Array;
}

export interface Client {
  /** `GET /v1/topics`. Rejects with a Refusal, also for every answer of 400 and above. */
  ask<Body = unknown>(route: string, asked?: Asked): Promise<Answer<Body>>;
  /** The answer as it streams in; the caller reads it to its end. */
  stream(route: string, asked?: Asked): Promise<Response>;
  readonly settings: Settings;
}

export function createClient(settings: Settings): Client {
  async function send(route: string, { query = {}, json, body, headers = {}, timeoutMs, signal }: Asked): Promise<Response> {
    const [method = 'GET', path = '/'] = route.split(' ');
    const address = settings.address();
    const key = settings.key();
    const timeout = AbortSignal.timeout(timeoutMs ?? ANSWER_TIMEOUT_MS);
    try {
      return await fetch(address + path + textOf(query), {
        method,
        headers: {
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(json === undefined ? (body === undefined ? {} : { body: body as string }) : { body: JSON.stringify(json) }),
        redirect: 'manual',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
    } catch (error) {
      throw refusalOf(error, settings);
    }
  }

  return {
    settings,
    async ask<Body>(route: string, asked: Asked = {}) {
      const response = await send(route, asked);
      const bytes = await bytesOf(response).catch((error: unknown) => {
        throw refusalOf(error, settings);
      });
      const body = parsed(bytes);
      if (!response.ok) throw refusalOfAnswer(response, body, settings);
      return { status: response.status, headers: response.headers, body: body as Body, bytes };
    },
    async stream(route, asked = {}) {
      const response = await send(route, asked);
      if (response.ok) return response;
      const bytes = await bytesOf(response).catch((error: unknown) => {
        throw refusalOf(error, settings);
      });
      throw refusalOfAnswer(response, parsed(bytes), settings);
    },
  };
}

function textOf(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs).toString()}`;
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer has more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch {
    return undefined; // not JSON: what it is, its status says
  }
}

/** RFC 9457, as the gateway writes it. */
export interface ProblemBody {
  readonly code: string;
  readonly detail: string;
  readonly status: number;
  readonly advice?: string | undefined;
  readonly pointer?: string | undefined;
}

export function isProblem(body: unknown): body is ProblemBody {
  const { code, detail } = (body ?? {}) as { readonly code?: unknown; readonly detail?: unknown };
  return typeof code === 'string' && typeof detail === 'string';
}

/** For one that came otherwise than as an answer of its own. */
export function refusalOfProblem({ status, code, detail, advice, pointer }: ProblemBody): Refusal {
  return new Refusal(exitOf(status, code), detail, { code, pointer, advice: adviceOf(advice) });
}

function refusalOfAnswer({ status }: Response, body: unknown, settings: Settings): Refusal {
  if (!isProblem(body)) {
    return new Refusal(EXIT.network, `${settings.address()} answers with status ${status}, but not as Millrace does`, {
      advice: 'Is another program listening there? Name the gateway: --url.',
    });
  }
  const { code, detail, advice, pointer } = body;
  return new Refusal(exitOf(status, code), detail, { code, pointer, advice: keyAdviceOf(code, settings) ?? adviceOf(advice) });
}

/** Where a key is refused: which one it was, by where it came from. */
function keyAdviceOf(code: string, { keyFrom, noKey }: Settings): string | undefined {
  const from = keyFrom();
  if (code !== 'unauthorized') return undefined;
  if (from === undefined)
    return `${noKey === undefined ? '' : `${noKey}. `}Name a key: --key mr_… or MILLRACE_KEY; in the directory of a \`millrace dev\` it is found by itself.`;
  return `The key that was sent (from ${from}) is no key of this gateway (any more). Name another one: --key mr_… or MILLRACE_KEY.`;
}

function refusalOf(error: unknown, settings: Settings): unknown {
  if (error instanceof Refusal) return error;
  const { name, message, cause } = error as Error & { readonly cause?: { readonly code?: unknown; readonly message?: unknown } };
  // Whoever aborted knows why.
  if (name === 'AbortError') return error;
  const address = settings.address();
  if (name === 'TimeoutError')
    return new Refusal(EXIT.network, `${address} did not answer in time`, {
      advice: 'millrace doctor looks closer.',
      cause: error,
    });
  const code = typeof cause?.code === 'string' ? cause.code : undefined;
  const why = WHY[code ?? ''] ?? code ?? (typeof cause?.message === 'string' ? cause.message : message);
  return new Refusal(EXIT.network, `the gateway at ${address} can not be reached: ${why}`, {
    advice: `Is it running? Start one with "millrace dev", or name it: --url.`,
    cause: error,
  });
}

const WHY: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection broke',
  UND_ERR_SOCKET: 'the connection broke',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'its name can not be looked up now',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ETIMEDOUT: 'it does not answer',
  UND_ERR_CONNECT_TIMEOUT: 'it does not answer',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by nobody but itself',
  CERT_HAS_EXPIRED: 'its certificate has expired',
};
