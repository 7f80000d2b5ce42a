/** Server-sent events as a client with fetch reads them: sessions (`openSession`) and plain streams (`follow`). */
import type { TestContext } from 'node:test';
import type { Frame, RealtimeDoor } from './client.ts';

interface Event {
  readonly id: string | undefined;
  readonly type: string | undefined;
  readonly data: string | undefined;
}

export interface Stream {
  readonly status: number;
  /** The next event that satisfies this. */
  next(wanted: (event: Event) => boolean): Promise<Event>;
  frame(op: string): Promise<Frame>;
  /** Resolves when the gateway has ended it. */
  ended(): Promise<void>;
  close(): void;
}

export function openSession(
  t: TestContext,
  door: RealtimeDoor,
  frames: readonly object[],
  more: Record<string, string> = {},
): Promise<Stream> {
  const headers = { 'content-type': 'application/json', ...more };
  return streamOf(t, door, '', { method: 'POST', body: JSON.stringify(frames), headers });
}

export function follow(t: TestContext, door: RealtimeDoor, query: string, headers: Record<string, string> = {}): Promise<Stream> {
  return streamOf(t, door, query, { headers });
}

async function streamOf(t: TestContext, door: RealtimeDoor, query: string, init: RequestInit): Promise<Stream> {
  const gone = new AbortController();
  t.after(() => gone.abort());
  const headers = { authorization: `Bearer ${door.admin}`, ...(init.headers as Record<string, string> | undefined) };
  const answer = await fetch(`${door.app.listeningOrigin}/v1/sse${query}`, { ...init, headers, signal: gone.signal });
  const events = eventsOf(answer.body as ReadableStream<Uint8Array>);
  async function next(wanted: (event: Event) => boolean): Promise<Event> {
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) throw new Error('the stream has ended');
      if (wanted(value)) return value;
    }
  }
  return {
    status: answer.status,
    next,
    frame: async (op) => JSON.parse((await next(({ data }) => data !== undefined && JSON.parse(data).op === op)).data ?? ''),
    async ended() {
      while ((await events.next()).done !== true);
    },
    close: () => gone.abort(),
  };
}

async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Event> {
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>)) {
    text += chunk;
    const parts = text.split('\n\n');
    text = parts.pop() ?? '';
    for (const part of parts) {
      const all = (name: string): string[] =>
        part.split('\n').flatMap((line) => (line.startsWith(`${name}: `) ? [line.slice(name.length + 2)] : []));
      const data = all('data');
      yield { id: all('id')[0], type: all('event')[0], data: data.length === 0 ? undefined : data.join('\n') };
    }
  }
}
