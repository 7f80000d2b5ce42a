/** What goes out in one turn goes together: as before in its order, in its bounds and to its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import { describe, test, type TestContext } from 'node:test';
import { turnsUntil } from '../http/test/door.ts';
import { createOutlets } from './outlets.ts';
import { realtime, type RealtimeDoor } from './test/client.ts';
import { closeFrame, framed, OP, type RawSocket, rawSocket } from './test/raw-socket.ts';

describe('an outlet', () => {
  test('writes the frames of one turn at once, in order with what others write', async () => {
    const { send } = createOutlets();
    const [one, other] = [stream(), stream()];
    for (const name of ['a', 'b']) for (const { socket } of [one, other]) send(socket, Buffer.from(name));
    one.socket.write('pong');
    send(one.socket, Buffer.from('c'));
    assert.deepEqual([one.writes, other.writes], [[], []]);
    await Promise.resolve();
    send(one.socket, Buffer.from('d'));
    await Promise.resolve();
    assert.deepEqual([one.writes, other.writes], [[['a', 'b', 'pong', 'c'], ['d']], [['a', 'b']]]);
  });

  test('counts what waits as unsent', async () => {
    const { send } = createOutlets();
    const { socket } = stream();
    send(socket, Buffer.alloc(100));
    send(socket, Buffer.alloc(20));
    assert.equal(socket.writableLength, 120);
    await Promise.resolve();
    assert.equal(socket.writableLength, 0);
  });

  test('loses nothing of a socket that ends in the same turn', async () => {
    const { send } = createOutlets();
    const { socket, writes } = stream();
    send(socket, Buffer.from('a'));
    send(socket, Buffer.from('b'));
    socket.end('bye');
    await once(socket, 'finish');
    assert.deepEqual(writes.flat(), ['a', 'b', 'bye']);
  });

  test('goes on with the others where a socket is gone', async () => {
    const { send } = createOutlets();
    const [gone, other] = [stream(), stream()];
    for (const { socket } of [gone, other]) send(socket, Buffer.from('a'));
    gone.socket.destroy();
    send(gone.socket, Buffer.from('b'));
    await Promise.resolve();
    assert.deepEqual([gone.writes, other.writes], [[], [['a']]]);
  });

  test('holds back no more than some kilobytes of one socket, and some thousand frames of all', () => {
    const { send } = createOutlets();
    const large = stream();
    for (let n = 0; n < 100; n++) send(large.socket, Buffer.alloc(1_000, 'x'));
    assert.deepEqual(
      large.writes.map((chunks) => chunks.length),
      [17, 17, 17, 17, 17],
    );
    const small = Array.from({ length: 8 }, stream);
    for (let n = 0; n < 10_000; n++) for (const { socket } of small) send(socket, Buffer.from('x'));
    const written = small.flatMap(({ writes }) => writes.flat()).length;
    assert.ok(written >= 8 * 10_000 - 32_768, String(written));
  });
});

describe('what a WebSocket is sent in one turn', { timeout: 30_000 }, () => {
  test('stays in order: events, pongs, answers and the close', async (t) => {
    const door = await realtime(t);
    const socket = await waiting(t, door, 4);
    const order = inOrder(socket);
    socket.socket.write(
      Buffer.concat([
        framed('{"op":"credit","sub":1,"add":2}'),
        framed('p', { opcode: OP.ping }),
        framed('[{"op":"ping","t":1},{"op":"credit","sub":1,"add":2}]'),
        closeFrame(1_000),
      ]),
    );
    await once(socket.socket, 'close');
    assert.deepEqual(order(), ['msg 0', 'msg 1', OP.pong, 'pong', 'msg 2', 'msg 3', OP.close]);
    assert.deepEqual(door.errors, []);
  });

  test('comes whole before the goodbye of a session that ends', async (t) => {
    const door = await realtime(t);
    const socket = await waiting(t, door, 3);
    const order = inOrder(socket);
    socket.write(framed('[{"op":"credit","sub":1,"add":3},{"op":"bye"}]'));
    await socket.closed;
    assert.deepEqual(order(), ['msg 0', 'msg 1', 'msg 2', 'bye', OP.close]);
    socket.socket.destroy();
  });

  test('is nothing more once it was closed, whatever is published', async (t) => {
    const door = await realtime(t);
    const socket = await waiting(t, door, 0);
    socket.write(framed('{"op":"credit","sub":1,"add":9}'), framed('{"op":"ping"}'));
    await socket.next('pong');
    const order = inOrder(socket);
    // Its peer does not take the end: the connection stays for a while.
    socket.socket.pause();
    socket.write(closeFrame(1_000));
    await turnsUntil(() => socket.inside.writableEnded);
    assert.equal(door.gateway.feeds.size, 1);
    for (let n = 0; n < 3; n++) await door.publish('orders.created', { n });
    assert.equal(socket.inside.errored, null);
    socket.socket.resume();
    await once(socket.socket, 'close');
    assert.deepEqual(order(), [OP.close]);
  });
});

/** A stream that takes everything at once, and what it was given by which write. */
function stream() {
  const writes: string[][] = [];
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      writes.push([chunk.toString()]);
      done();
    },
    writev(chunks, done) {
      writes.push(chunks.map(({ chunk }) => (chunk as Buffer).toString()));
      done();
    },
  });
  socket.on('error', () => undefined);
  return { socket, writes };
}

/** A socket with a sub without credit, for which so many events are there. */
async function waiting(t: TestContext, door: RealtimeDoor, events: number): Promise<RawSocket> {
  const socket = await rawSocket(t, door);
  const sub = { op: 'sub', sub: 1, topics: ['orders.created'], credit: 0 };
  socket.write(framed(JSON.stringify([{ op: 'hello', v: 1, token: door.admin }, sub])));
  await socket.next('subed');
  for (let n = 0; n < events; n++) await door.publish('orders.created', { n });
  return socket;
}

/** From now on: ops of messages, numbers of events, opcodes of what else comes. */
function inOrder({ socket }: RawSocket): () => readonly (string | number)[] {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => {
    const all: (string | number)[] = [];
    const bytes = Buffer.concat(chunks);
    for (let at = 0; at < bytes.length;) {
      const opcode = (bytes[at] as number) & 0x0f;
      const short = bytes[at + 1] as number;
      const [head, length] = short < 126 ? [2, short] : [4, bytes.readUInt16BE(at + 2)];
      const payload = bytes.toString('utf8', at + head, at + head + length);
      all.push(opcode === OP.text ? nameOf(JSON.parse(payload)) : opcode);
      at += head + length;
    }
    return all;
  };
}

const nameOf = ({ op, event }: { readonly op: string; readonly event?: { readonly data: { readonly n: number } } }): string =>
  event === undefined ? op : `${op} ${event.data.n}`;
