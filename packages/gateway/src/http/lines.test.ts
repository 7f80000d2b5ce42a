/** Events line by line: answers in order, what is wrong with one line is no matter of the others, and nobody is waited for without bound. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { describe, test, type TestContext } from 'node:test';
import { type World, world } from '../../test/world.ts';
import { LIMITS } from '../limits.ts';

const TYPE = { 'content-type': 'application/x-ndjson' };

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

/** Over a real socket: that is what the lines are read from. */
async function send({ app, admin }: World, body: string, headers: object = {}): Promise<{ status: number; lines: Json[] }> {
  const address = app.server.listening ? app.listeningOrigin : await app.listen({ host: '127.0.0.1', port: 0 });
  const all = { authorization: `Bearer ${admin}`, ...TYPE, ...headers };
  const answer = await fetch(`${address}/v1/events`, { method: 'POST', body, headers: all });
  const lines = (await answer.text()).split('\n').filter((line) => line !== '');
  return { status: answer.status, lines: lines.map((line) => JSON.parse(line)) };
}

/** A stream whose lines are written one by one. */
async function stream(t: TestContext): Promise<{ socket: net.Socket; write(text: string): void; lines: AsyncIterator<string> }> {
  const { app, admin } = await world(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const socket = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(
    `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin}\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n`,
  );
  const write = (text: string): void => void socket.write(`${text.length.toString(16)}\r\n${text}\r\n`);
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  return { socket, write, lines };
}

async function next(lines: AsyncIterator<string>, matches: RegExp): Promise<string> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the answer has ended');
    if (matches.test(value)) return value;
  }
}

describe('events as NDJSON', { timeout: 30_000 }, () => {
  test('are answered line by line, with a sum at the end', async (t) => {
    const made = await world(t);
    const body = [
      '{"type":"orders.created","id":"1","source":"/s","data":{"n":12345678901234567890}}',
      '',
      '{"type":"orders.created","id":"1","source":"/s","data":{"n":12345678901234567890}}\r',
      '{"type":"orders..created"}',
      '{"type":',
      '{"type":"orders.lost"}',
      '{"specversion":"1.0","type":"orders.paid","id":"2","source":"/s"}',
    ].join('\n');
    const { status, lines } = await send(made, body);
    assert.equal(status, 200);
    assert.deepEqual(
      lines.map(({ line, status: one, problem, done }) => done ?? [line, one ?? problem.code, problem?.pointer]),
      [
        [1, 'appended', undefined],
        [3, 'duplicate', undefined],
        [4, 'invalid_topic', '/type'],
        [5, 'invalid_json', undefined],
        [6, 'unknown_topic', '/type'],
        [7, 'appended', undefined],
        { lines: 7, appended: 2, duplicate: 1, refused: 3 },
      ],
    );
    assert.equal((await made.ask('GET /v1/events?from=earliest')).json.data.length, 2);
  });

  test('carry the trace of their call', async (t) => {
    const made = await world(t);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await send(made, '{"type":"orders.created"}\n{"type":"orders.paid"}', { traceparent });
    const { data } = (await made.ask('GET /v1/events?from=earliest')).json;
    assert.deepEqual(
      data.map(({ event }: Json) => event.traceparent),
      [traceparent, traceparent],
    );
  });

  test('in any number come through, whatever the chunks', async (t) => {
    const made = await world(t);
    const count = 2_500;
    const body = Array.from({ length: count }, (_, at) => `{"type":"orders.created","data":${at}}`).join('\n');
    const { lines } = await send(made, `${body}\n`);
    assert.equal(lines.length, count + 1);
    assert.ok(lines.slice(0, -1).every(({ line }, at) => line === at + 1));
    assert.deepEqual(lines.at(-1).done, { lines: count, appended: count, duplicate: 0, refused: 0 });
  });

  test('with a line that is too long lose that one alone', async (t) => {
    const made = await world(t);
    const long = `{"type":"orders.created","data":"${'x'.repeat(LIMITS.lineBytes)}"}`;
    const { lines } = await send(made, `${long}\n{"type":"orders.created"}\n${long}`);
    assert.deepEqual(
      lines.map(({ status, problem, done }) => status ?? problem?.code ?? done.lines),
      ['payload_too_large', 'appended', 'payload_too_large', 3],
    );
  });

  test('are refused with an idempotency key, without a key, and at a topic', async (t) => {
    const made = await world(t);
    assert.equal((await send(made, '{}', { 'idempotency-key': 'x' })).lines[0].code, 'invalid_request');
    assert.equal((await made.ask('POST /v1/events', { key: '', body: '{}', headers: TYPE })).status, 401);
    assert.equal((await made.ask('POST /v1/topics/orders.created/events', { body: '{}', headers: TYPE })).status, 415);
    assert.deepEqual((await send(made, '')).lines, [{ done: { lines: 0, appended: 0, duplicate: 0, refused: 0 } }]);
  });

  test('are answered while the stream is open', async (t) => {
    const { write, lines, socket } = await stream(t);
    write('{"type":"orders.created"}\n{"type":"orders.cre');
    assert.match(await next(lines, /"line":1/), /appended/);
    write('ated"}\n');
    assert.match(await next(lines, /"line":2/), /appended/);
    socket.write('0\r\n\r\n');
    assert.match(await next(lines, /"done"/), /"appended":2/);
  });

  test('of a publisher that does not read its answers are not read either, and come through once it does', async (t) => {
    const { app, admin } = await world(t);
    await app.listen({ host: '127.0.0.1', port: 0 });
    const accepted = once(app.server, 'connection');
    const socket = net.connect((app.server.address() as net.AddressInfo).port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.pause();
    // What a line is refused for is many times longer than the line: answers fill every buffer between the two.
    const count = 100_000;
    const text = '{"type":"a..b"}\n'.repeat(count);
    socket.write(
      `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin}\r\ncontent-type: application/x-ndjson\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    );
    const [serverSide] = (await accepted) as [net.Socket];
    while (!serverSide.writableNeedDrain) await new Promise(setImmediate);
    assert.ok(serverSide.bytesRead < text.length, 'all was read while no answer was');
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    assert.match(await next(lines, /"done"/), new RegExp(`"lines":${count}`));
  });
});
