/** Frames over server-sent events and POST, as section 3 of the protocol has it, with a server that says what it is told. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { describe, test, type TestContext } from 'node:test';
import { listen } from '../../packages/gateway/test/receivers.ts';
import { connect, type GatewayError, type ReceivedEvent, sse, type State, type Transport, ws } from './millrace.ts';
import { collected } from './test/collected.ts';
import type { Frame } from './test/hand.ts';

interface Post {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly frames: readonly Frame[];
  readonly response: ServerResponse;
}

async function stage(t: TestContext, transports: readonly Transport[] = [sse]) {
  const posts = collected<Post>();
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk) => (text += chunk));
    request.on('end', () =>
      posts.add({ path: request.url ?? '', authorization: request.headers.authorization, frames: JSON.parse(text), response }),
    );
  });
  const url = await listen(t, server, () => server.closeAllConnections());
  const states = collected<State>();
  const gateway = connect({ url, getToken: () => 't1', transports, hooks: { onState: states.add } });
  t.after(() => gateway.close({ now: true }));
  return { url, gateway, posts, states };
}

const say = ({ response }: Post, ...frames: readonly Frame[]): void =>
  void response.write(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(''));
const begin = (post: Post): void => {
  post.response.writeHead(200, { 'content-type': 'text/event-stream' });
  say(post, { op: 'welcome', session: 'ses_1', heartbeatMs: 25_000, nowMs: 0 });
};
const take = ({ response }: Post): void => void response.writeHead(202).end();
const messageOf = (n: number): Frame => ({
  op: 'msg',
  sub: 1,
  cursor: `log/main:${n}@z`,
  event: { specversion: '1.0', id: `e${n}`, source: '/s', type: 'orders.paid', data: 'ö' },
});

describe('server-sent events', { timeout: 20_000 }, () => {
  test('carry hello and the subscriptions in the request, and further frames by POST, one after the other', async (t) => {
    const { gateway, posts } = await stage(t);
    const events = collected<ReceivedEvent>();
    const subscription = gateway.subscribe('orders.*', events.add, { credit: 1 });
    const [stream] = (await posts.first(1)) as [Post];
    assert.deepEqual([stream.path, stream.authorization], ['/v1/sse', 'Bearer t1']);
    assert.deepEqual(
      stream.frames.map(({ op }) => op),
      ['hello', 'sub'],
    );
    assert.equal(stream.frames[0].token, 't1');
    begin(stream);
    say(stream, { op: 'subed', sub: 1, cursors: ['log/main:1@z'], recovered: true });
    await subscription.ready;
    // In pieces, within a character too, with a comment between them, and with the line ends of another system.
    const bytes = Buffer.from(`: here\r\n\r\nid: log/main:2@z\r\ndata: ${JSON.stringify(messageOf(2))}\r\n\r\n`);
    const within = bytes.indexOf('ö') + 1;
    stream.response.write(bytes.subarray(0, within));
    stream.response.write(bytes.subarray(within));
    assert.equal((await events.first(1))[0]?.data, 'ö');
    const [, credit] = (await posts.first(2)) as [Post, Post];
    assert.deepEqual(
      [credit.path, credit.authorization, credit.frames],
      ['/v1/sse/ses_1', 'Bearer t1', [{ op: 'credit', sub: 1, add: 1 }]],
    );
    say(stream, { op: 'ping', t: 1 }, { op: 'ping', t: 2 });
    assert.equal(posts.all.length, 2, 'the next waits for the answer to this');
    take(credit);
    const [, , pongs] = (await posts.first(3)) as [Post, Post, Post];
    assert.deepEqual(pongs.frames[0], { op: 'pong', t: 1 });
    take(pongs);
  });

  test('may come in any pieces, byte by byte too, and with bytes that are no text', async (t) => {
    const { gateway, posts, states } = await stage(t);
    const events = collected<ReceivedEvent>();
    void gateway.subscribe('orders.*', events.add);
    const [stream] = (await posts.first(1)) as [Post];
    stream.response.writeHead(200, { 'content-type': 'text/event-stream' });
    const frames = [
      { op: 'welcome', session: 'ses_1', heartbeatMs: 25_000, nowMs: 0 },
      { op: 'subed', sub: 1, cursors: ['log/main:1@z'], recovered: true },
      messageOf(2),
    ];
    const text = frames.map((frame) => `: ö\r\ndata: ${JSON.stringify(frame)}\r\n\r\n`).join('');
    stream.response.socket?.setNoDelay();
    for (const byte of Buffer.from(text))
      await new Promise<unknown>((resolve) => stream.response.write(Uint8Array.of(byte), resolve));
    assert.equal((await events.first(1))[0]?.data, 'ö');
    const count = states.all.length;
    stream.response.write(Buffer.from([...Buffer.from('data: {"op":"'), 0xff, 0xfe, ...Buffer.from('"}\n\n')]));
    say(stream, messageOf(3));
    assert.equal((await events.first(2))[1]?.id, 'e3', 'an op that nobody knows is passed over');
    stream.response.write(Buffer.from([...Buffer.from('data: '), 0xff, 0xc3, ...Buffer.from('\n\n')]));
    assert.equal(
      (await states.first(count + 1)).at(-1)?.state,
      'waiting',
      'what is no frame ends the connection, and it comes back',
    );
  });

  test('that end are begun anew, from the cursors', async (t) => {
    const { gateway, posts, states } = await stage(t);
    const subscription = gateway.subscribe('orders.*', () => undefined);
    const [stream] = (await posts.first(1)) as [Post];
    begin(stream);
    say(stream, { op: 'subed', sub: 1, cursors: ['log/main:7@z'], recovered: true });
    await subscription.ready;
    stream.response.end();
    await states.first(3);
    assert.equal(states.all[2]?.state, 'waiting');
    gateway.wake();
    const [, again] = (await posts.first(2)) as [Post, Post];
    assert.deepEqual(again.frames[1].from, { cursors: ['log/main:7@z'] });
    again.response.writeHead(401).end();
    const closed = (await states.first(5))[4];
    assert.deepEqual([closed?.state, closed !== undefined && 'code' in closed && closed.code], ['closed', 4401]);
  });

  test('wait as long as a refusal says', async (t) => {
    const { gateway, posts, states } = await stage(t);
    void gateway.subscribe('orders.*', () => undefined);
    const [stream] = (await posts.first(1)) as [Post];
    stream.response.writeHead(503, { 'retry-after': '9' }).end();
    const waiting = (await states.first(2))[1];
    assert.deepEqual(
      [waiting?.state, waiting?.state === 'waiting' && [waiting.code, waiting.retryMs]],
      ['waiting', [4100, 9_000]],
    );
  });

  test('are what is left where WebSockets do not come through, or are not there at all', async (t) => {
    const { WebSocket } = globalThis;
    t.after(() => void (globalThis.WebSocket = WebSocket));
    Reflect.deleteProperty(globalThis, 'WebSocket');
    const { gateway, posts } = await stage(t, [ws, sse]);
    const subscription = gateway.subscribe('orders.*', () => undefined);
    const [stream] = (await posts.first(1)) as [Post];
    begin(stream);
    say(stream, { op: 'subed', sub: 1, cursors: [], recovered: true });
    await subscription.ready;
    const alone = await stage(t, [ws]);
    await assert.rejects(alone.gateway.subscribe('orders.*', () => undefined).ready, (error: GatewayError) =>
      /no WebSocket here/.test(error.message),
    );
  });
});
