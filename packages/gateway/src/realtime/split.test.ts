/** Frames that come in pieces, cut at every byte there is, and messages that are no text or too much. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { realtime, type RealtimeDoor } from './test/client.ts';
import { framed, OP, rawSocket } from './test/raw-socket.ts';
import { openSession } from './test/stream.ts';

/** Characters of one to four bytes, in a member that nobody knows. */
const ping = (t: number): Buffer => Buffer.from(JSON.stringify({ op: 'ping', t, x: 'aßž€𝄞' }));

describe('a message over a WebSocket', { timeout: 60_000 }, () => {
  test('is the same in two fragments, cut at every byte, and in as many as it has bytes, with pings between them', async (t) => {
    const door = await realtime(t);
    const socket = await rawSocket(t, door);
    socket.write(framed(JSON.stringify({ op: 'hello', v: 1, token: door.admin })));
    await socket.next('welcome');
    const { length } = ping(0);
    for (let at = 0; at <= length; at++) {
      const bytes = ping(at % 10);
      socket.write(framed(bytes.subarray(0, at), { fin: false }), framed(bytes.subarray(at), { opcode: OP.continuation }));
      assert.equal((await socket.next('pong')).t, at % 10);
    }
    const bytes = ping(7);
    for (let at = 0; at < length; at++) {
      const [opcode, fin] = [at === 0 ? OP.text : OP.continuation, at === length - 1];
      socket.write(framed(bytes.subarray(at, at + 1), { opcode, fin }), framed('', { opcode: OP.ping }));
    }
    assert.equal((await socket.next('pong')).t, 7);
    // Thousands that are empty are as many as there may be, and mean nothing.
    const empty = framed('', { opcode: OP.continuation, fin: false });
    socket.write(framed('', { fin: false }), ...Array.from({ length: 5_000 }, () => empty));
    socket.write(framed(ping(8), { opcode: OP.continuation }));
    assert.equal((await socket.next('pong')).t, 8);
    assert.deepEqual(door.errors, []);
  });

  test('is the same where each byte of its frames comes by itself', async (t) => {
    const door = await realtime(t);
    const socket = await rawSocket(t, door);
    const hello = framed(JSON.stringify({ op: 'hello', v: 1, token: door.admin }));
    const sub = framed(
      JSON.stringify({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1, filter: { data: { x: ['ž€𝄞'] } } }),
    );
    for (const byte of Buffer.concat([hello, sub])) {
      socket.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await socket.next('subed');
    await door.publish('orders.created', { x: 'ž€𝄟' });
    await door.publish('orders.created', { x: 'ž€𝄞' });
    assert.deepEqual((await socket.next('msg')).event.data, { x: 'ž€𝄞' });
  });

  test('that is too big ends the session, with a reason where it is little more', async (t) => {
    const door = await realtime(t, { frameBytes: 65_536 });
    const pingOf = (bytes: number): string => `{"op":"ping","t":1,"x":"${'y'.repeat(bytes - 26)}"}`;
    for (const bytes of [65_537, 65_536 + 65_536]) {
      const client = await door.client();
      await client.hello();
      client.raw(pingOf(bytes));
      assert.equal((await client.next('error')).code, 'payload_too_large');
      assert.equal((await client.closed).code, 4_413);
    }
    const far = await door.client();
    await far.hello();
    far.raw(pingOf(65_536 + 65_536 + 1));
    assert.equal((await far.closed).code, 1_009);
    const client = await door.client();
    await client.hello();
    client.raw(pingOf(65_536));
    await client.next('pong');
    assert.deepEqual(door.errors, []);
  });
});

describe('a body of a session over server-sent events', { timeout: 60_000 }, () => {
  test('is the same in two chunks, cut at every byte, and in as many as it has bytes', async (t) => {
    const door = await realtime(t);
    const stream = await openSession(t, door, [{ op: 'hello', v: 1 }]);
    const { session } = await stream.frame('welcome');
    const say = await speaker(door, session);
    const { length } = ping(0);
    for (let at = 1; at < length; at++) {
      const bytes = ping(at % 10);
      assert.equal(await say([bytes.subarray(0, at), bytes.subarray(at)]), 202);
      assert.equal((await stream.frame('pong')).t, at % 10);
    }
    assert.equal(await say(Array.from(ping(7), (byte) => Buffer.from([byte]))), 202);
    assert.equal((await stream.frame('pong')).t, 7);
  });

  test('that is no UTF-8 ends the session, and one that is too big does not come in', async (t) => {
    const door = await realtime(t, { frameBytes: 65_536 });
    const headers = { 'content-type': 'application/json' };
    for (const body of [Buffer.from([0x5b, 0x22, 0xc3, 0x28, 0x22, 0x5d]), Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])]) {
      const stream = await openSession(t, door, [{ op: 'hello', v: 1 }]);
      const { session } = await stream.frame('welcome');
      for (const route of [`POST /v1/sse/${session}`, 'POST /v1/sse', 'POST /v1/pull']) {
        const large = await door.ask(route, { body: `"${' '.repeat(65_536)}"`, headers });
        assert.deepEqual([large.status, large.json.code], [413, 'payload_too_large'], route);
      }
      assert.equal((await door.ask(`POST /v1/sse/${session}`, { body, headers })).status, 202);
      assert.equal((await stream.frame('error')).code, 'bad_frame');
      assert.equal((await stream.frame('bye')).code, 4_400);
      await stream.ended();
    }
    assert.deepEqual(door.errors, []);
  });
});

/** One request after another over one connection, its body in these chunks; answers with the status. */
async function speaker(door: RealtimeDoor, session: string): Promise<(chunks: readonly Uint8Array[]) => Promise<number>> {
  const { socket, until } = await door.connect();
  let answered = 0;
  return async (chunks) => {
    socket.write(door.head(`POST /v1/sse/${session}`, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' }));
    for (const chunk of chunks) {
      socket.write(Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]));
      await new Promise(setImmediate);
    }
    socket.write('0\r\n\r\n');
    const text = await until(new RegExp(`^[^]{${answered}}HTTP/1.1 [^]*\r\n\r\n\\{\\}`));
    const status = Number(text.slice(answered + 9, answered + 12));
    answered = text.length;
    return status;
  };
}
