/** What breaks the framing of WebSockets (RFC 6455): the connection that does it ends, and no other notices. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { turnsUntil } from '../http/test/door.ts';
import { type Client, realtime, type RealtimeDoor } from './test/client.ts';
import { closeFrame, framed, OP, type RawSocket, rawSocket } from './test/raw-socket.ts';

interface Abuse {
  readonly name: string;
  readonly bytes: readonly Uint8Array[];
  readonly code: number | undefined;
}

const PROTOCOL = 1_002;
const NOT_UTF8 = 1_007;
const POLICY = 1_008;
const TOO_BIG = 1_009;
const text = '{"op":"ping","t":1}';
const broken = Buffer.from([0x7b, 0xc3, 0x28, 0x7d]);

const ABUSES: readonly Abuse[] = [
  ...[1, 2, 3, 4, 7].map((reserved) => ({
    name: `reserved bits ${reserved}`,
    bytes: [framed(text, { reserved })],
    code: PROTOCOL,
  })),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => ({
    name: `the opcode ${opcode}`,
    bytes: [framed(text, { opcode })],
    code: PROTOCOL,
  })),
  ...([OP.ping, OP.pong, OP.close] as const).flatMap((opcode) => [
    { name: `a control frame ${opcode} in fragments`, bytes: [framed('a', { opcode, fin: false })], code: PROTOCOL },
    { name: `a control frame ${opcode} of 126 bytes`, bytes: [framed('a'.repeat(126), { opcode })], code: PROTOCOL },
  ]),
  { name: 'a frame that is not masked', bytes: [framed(text, { masked: false })], code: PROTOCOL },
  { name: 'a continuation of nothing', bytes: [framed(text, { opcode: OP.continuation })], code: PROTOCOL },
  { name: 'a message within another', bytes: [framed('{', { fin: false }), framed(text)], code: PROTOCOL },
  { name: 'text that is no UTF-8', bytes: [framed(broken)], code: NOT_UTF8 },
  {
    name: 'text that is no UTF-8, in fragments',
    bytes: [framed(broken.subarray(0, 2), { fin: false }), framed(broken.subarray(2), { opcode: OP.continuation })],
    code: NOT_UTF8,
  },
  { name: 'half a surrogate pair as UTF-8', bytes: [framed(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))], code: NOT_UTF8 },
  { name: 'a binary message', bytes: [framed(text, { opcode: OP.binary })], code: 4_400 },
  { name: 'an empty message', bytes: [framed('')], code: 4_400 },
  { name: 'a length of 2^63', bytes: [framed('', { length: 1n << 63n })], code: TOO_BIG },
  { name: 'a length of 2^53', bytes: [framed('', { length: 1n << 53n })], code: TOO_BIG },
  { name: 'a length of 2^31', bytes: [framed('', { length: 1n << 31n })], code: TOO_BIG },
  {
    name: 'many fragments that are too much together',
    bytes: [
      framed('[', { fin: false }),
      ...Array.from({ length: 20 }, () => framed(' '.repeat(65_000), { opcode: OP.continuation, fin: false })),
    ],
    code: TOO_BIG,
  },
  ...[' ', ''].map((part) => ({
    name: `more fragments '${part}' than anybody needs`,
    bytes: [
      framed('[', { fin: false }),
      Buffer.concat(Array.from({ length: 17_000 }, () => framed(part, { opcode: OP.continuation, fin: false }))),
    ],
    code: POLICY,
  })),
  { name: 'a close of one byte', bytes: [framed('a', { opcode: OP.close })], code: PROTOCOL },
  { name: 'a close whose reason is no UTF-8', bytes: [closeFrame(1_000, broken)], code: NOT_UTF8 },
  ...[0, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 2_999, 5_000, 65_535].map((code) => ({
    name: `a close with the code ${code}`,
    bytes: [closeFrame(code)],
    code: PROTOCOL,
  })),
  ...[1_000, 1_001, 3_000, 4_999].map((code) => ({
    name: `a close with the code ${code}, which is one`,
    bytes: [closeFrame(code)],
    code,
  })),
  { name: 'a close without a code', bytes: [framed('', { opcode: OP.close })], code: 1_005 },
  {
    name: 'text behind a close',
    bytes: [closeFrame(1_000), framed('{"op":"pub","ref":"late","event":{"type":"orders.paid"}}'), framed(text, { opcode: 15 })],
    code: 1_000,
  },
  { name: 'no frame at all', bytes: [Buffer.from('GET / HTTP/1.1\r\n\r\n')], code: PROTOCOL },
];

describe('a socket', { timeout: 120_000 }, () => {
  test('that breaks the protocol is closed with a code that says so, and others go on', async (t) => {
    const door = await realtime(t);
    const bystander = await follower(door);
    for (const { name, bytes, code } of ABUSES) {
      const socket = await greeted(t, door);
      socket.write(...bytes);
      assert.equal(await socket.closed, code, name);
      socket.socket.destroy();
    }
    // Each in a session that is greeted, and in one that nobody knows.
    for (const { name, bytes, code } of ABUSES) {
      const socket = await rawSocket(t, door);
      socket.write(...bytes);
      // A frame that is good comes too early there.
      assert.ok([code, 4_400].includes(await socket.closed), name);
      socket.socket.destroy();
    }
    await door.publish('orders.created', { n: 'after' });
    assert.deepEqual((await bystander.next('msg')).event.data, { n: 'after' });
    const { json } = await door.ask('GET /v1/events?topics=orders.paid');
    assert.deepEqual([json.data, door.errors], [[], []]);
    bystander.socket.close();
    await bystander.closed;
    await turnsUntil(() => door.gateway.feeds.size === 0);
  });

  test('that is cut anywhere in a frame leaves nothing', async (t) => {
    const door = await realtime(t, { sessions: 2 });
    const whole = framed(JSON.stringify({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1 }));
    for (let at = 0; at < whole.length; at += 7) {
      const socket = await greeted(t, door);
      socket.write(whole.subarray(0, at));
      socket.socket.destroy();
      await new Promise((resolve) => socket.inside.once('close', resolve));
      await turnsUntil(() => socket.inside.closed);
    }
    await follower(door);
    assert.deepEqual([door.gateway.feeds.size, door.errors], [1, []]);
  });

  test('that does not answer a close is cut after a while', async (t) => {
    const door = await realtime(t);
    const socket = await greeted(t, door);
    socket.write(framed(text, { opcode: 15 }));
    // Its peer is there and says nothing: what a network that broke looks like.
    await socket.closed;
    await door.hand.advance(2_000);
    await turnsUntil(() => socket.inside.destroyed);
    assert.deepEqual(door.errors, []);
  });

  test('that asks and asks and reads no answer is answered within a bound, and then let go', async (t) => {
    const unsentBytes = 65_536;
    const door = await realtime(t, { unsentBytes });
    const bystander = await follower(door);
    const questions = [
      // `ws` ends whoever does this.
      framed('a'.repeat(125), { opcode: OP.ping }),
      framed(JSON.stringify({ op: 'dance', x: 'y'.repeat(80) })),
    ];
    for (const question of questions) {
      const socket = await greeted(t, door);
      socket.socket.pause();
      const flood = Buffer.concat(Array.from({ length: 1_000 }, () => question));
      let most = 0;
      // More than the system holds on both ways of a connection on loopback.
      for (let sent = 0; sent < 48_000_000 && !socket.inside.destroyed; sent += flood.length) {
        socket.write(flood);
        await new Promise(setImmediate);
        most = Math.max(most, socket.inside.writableLength);
      }
      // One read of the system's brings some hundred questions more.
      assert.ok(most < unsentBytes + 1_000_000, String(most));
      await door.hand.advance(10_000);
      await door.hand.advance(2_000);
      await turnsUntil(() => socket.inside.destroyed);
      await door.publish('orders.created', { n: 1 });
      await bystander.next('msg');
      bystander.say({ op: 'ping', t: 1 });
      await bystander.next('pong');
    }
    assert.deepEqual(door.errors, []);
  });
});

async function greeted(t: TestContext, door: RealtimeDoor): Promise<RawSocket> {
  const socket = await rawSocket(t, door);
  socket.write(framed(JSON.stringify({ op: 'hello', v: 1, token: door.admin })));
  await socket.next('welcome');
  return socket;
}

async function follower(door: RealtimeDoor): Promise<Client> {
  const client = await door.client();
  await client.hello();
  client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 100 });
  await client.next('subed');
  return client;
}
