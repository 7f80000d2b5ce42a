/** Sessions and plain streams over server-sent events, as a client with fetch sees them. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type Frame, realtime, type RealtimeDoor } from './test/client.ts';

interface Event {
  readonly id: string | undefined;
  readonly type: string | undefined;
  readonly data: string | undefined;
}

interface Stream {
  readonly status: number;
  /** The next event that satisfies this. */
  next(wanted: (event: Event) => boolean): Promise<Event>;
  frame(op: string): Promise<Frame>;
  /** Resolves when the gateway has ended it. */
  ended(): Promise<void>;
  close(): void;
}

describe('server-sent events', { timeout: 30_000 }, () => {
  test('carry a session: frames in the body, more by POST, what comes of them on the stream', async (t) => {
    const door = await realtime(t);
    const stream = await open(t, door, [
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, topics: ['orders.created'], credit: 1 },
    ]);
    const { session } = await stream.frame('welcome');
    assert.equal((await stream.frame('subed')).recovered, true);
    const ids = [await door.publish('orders.created', { n: 1 }), await door.publish('orders.created', { n: 2 })];
    const first = await stream.next(({ data = '' }) => data.includes('"msg"'));
    assert.equal(JSON.parse(first.data ?? '').event.id, ids[0]);
    assert.equal(first.id, JSON.parse(first.data ?? '').cursor);
    const said = await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'credit', sub: 1, add: 1 }] });
    assert.equal(said.status, 202);
    assert.equal((await stream.frame('msg')).event.id, ids[1]);
    const other = await door.key('shop', ['subscribe']);
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { key: other, json: [] })).status, 404);
    await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'bye' }] });
    await stream.ended();
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { json: [] })).status, 404);
    assert.deepEqual(door.errors, []);
  });

  test('carry a group, whose deliveries go to others when the stream ends', async (t) => {
    const door = await realtime(t);
    const join = [
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, group: 'mailer', topics: ['orders.created'], credit: 1 },
    ];
    const one = await open(t, door, join);
    await one.frame('subed');
    await door.publish('orders.created', { n: 1 });
    const { id } = await one.frame('msg');
    one.close();
    const other = await open(t, door, join);
    const { session } = await other.frame('welcome');
    const again = await other.frame('msg');
    assert.deepEqual([again.id, again.attempt], [id, 2]);
    await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'ack', sub: 1, ids: [id] }] });
    assert.deepEqual((await other.frame('acked')).ids, [id]);
  });

  test('follow topics with curl: data is the event over as many lines as it has, id is where to go on', async (t) => {
    const door = await realtime(t);
    const stream = await follow(t, door, '?topics=orders.created');
    await stream.next(({ id }) => id !== undefined);
    await door.ask('POST /v1/events', {
      body: '{"type":"orders.created","data":{\n "n": 12345678901234567890,\r\n "m": 1}}',
      headers: { 'content-type': 'application/json' },
    });
    const first = await stream.next(({ data }) => data !== undefined);
    assert.match(first.data ?? '', /"data":\{\n "n": 12345678901234567890,\n "m": 1\}/);
    stream.close();
    const missed = await door.publish('orders.created', { n: 2 });
    const again = await follow(t, door, '?topics=orders.created', { 'last-event-id': first.id ?? '' });
    assert.equal(JSON.parse((await again.next(({ data }) => data !== undefined)).data ?? '').id, missed);
    const lost = await follow(t, door, '?topics=orders.created', { 'last-event-id': 'nonsense' });
    assert.deepEqual(JSON.parse((await lost.next(({ type }) => type === 'gap')).data ?? ''), { reason: 'unknown_cursor' });
  });

  test('are refused with where and why', async (t) => {
    const door = await realtime(t, { sessions: 1 });
    assert.equal((await door.ask('GET /v1/sse')).json.code, 'invalid_topic');
    assert.equal((await door.ask('GET /v1/sse?topics=a&from=earliest')).json.pointer, '/query/from');
    assert.equal((await door.ask('POST /v1/sse', { key: '', json: [] })).status, 401);
    const stream = await open(t, door, [{ op: 'sub', sub: 1, topics: ['a'], credit: 1 }]);
    assert.equal((await stream.frame('bye')).code, 4_400);
    await stream.ended();
    const good = await open(t, door, [{ op: 'hello', v: 1 }]);
    await good.frame('welcome');
    assert.equal((await door.ask('POST /v1/sse', { json: [{ op: 'hello', v: 1 }] })).json.code, 'overloaded');
  });

  test('end with the gateway, after a word', async (t) => {
    const door = await realtime(t);
    const [session, plain] = [await open(t, door, [{ op: 'hello', v: 1 }]), await follow(t, door, '?topics=a')];
    await session.frame('welcome');
    const closed = door.app.close();
    assert.equal((await session.frame('bye')).code, 4_001);
    await Promise.all([session.ended(), plain.ended(), closed]);
  });
});

function open(t: TestContext, door: RealtimeDoor, frames: readonly object[]): Promise<Stream> {
  return streamOf(t, door, '', { method: 'POST', body: JSON.stringify(frames), headers: { 'content-type': 'application/json' } });
}

function follow(t: TestContext, door: RealtimeDoor, query: string, headers: Record<string, string> = {}): Promise<Stream> {
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
