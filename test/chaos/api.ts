/** The gateway's HTTP API, as far as it is used here. */
import type { Ready } from './process.ts';
import { pass } from './waiting.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

export interface Asked {
  readonly status: number;
  readonly json: Json;
}

const TIMEOUT_MS = 30_000;

/** `ask(ready, 'GET /v1/topics')`: status and JSON, whatever the status is. */
export async function ask({ address, key }: Ready, route: string, body?: unknown): Promise<Asked> {
  const [method = '', path = ''] = route.split(' ');
  const response = await fetch(address + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await response.text();
  return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
}

/** As long as it may take until what is moved from one worker to another is worked there. */
const MOVING_MS = 30_000;
const AGAIN_MS = 250;

/** Throws where the answer is none of the good ones. What is moving is asked for again: where one process is all, nothing moves. */
export async function must(ready: Ready, route: string, body?: unknown): Promise<Json> {
  const untilMs = performance.now() + MOVING_MS;
  let { status, json } = await ask(ready, route, body);
  while (status === 503 && json.code === 'moving' && performance.now() < untilMs) {
    await pass(AGAIN_MS);
    ({ status, json } = await ask(ready, route, body));
  }
  if (status >= 300) throw new Error(`${route} was answered ${status} ${JSON.stringify(json)}`);
  return json;
}

export interface DeadLetter {
  /** Undefined: the letter is for a range of events. */
  readonly event?: { readonly id: string };
  readonly cause: string;
}

export async function deadLettersOf(ready: Ready, subscription: string): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  for (let cursor = ''; ;) {
    const { data, next } = await must(ready, `GET /v1/dead-letters?subscription=${subscription}&limit=500${cursor}`);
    letters.push(...(data as DeadLetter[]));
    if (next === null) return letters;
    cursor = `&cursor=${encodeURIComponent(next as string)}`;
  }
}
