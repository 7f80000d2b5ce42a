/** Clients that ask and do not read what they are answered. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LIMITS } from '../limits.ts';
import { type Connection, type Door, openDoor, turnsUntil } from './test/door.ts';

/** Answers are many times longer than what they answer: they fill every buffer between the two. */
const REFUSED = '{"type":"a..b"}';
const COUNT = 40_000;

/** Sends many requests, and then reads no answer. */
async function flood(door: Door): Promise<Connection> {
  const connection = await door.connect();
  connection.socket.pause();
  const json = { 'content-type': 'application/json', 'content-length': REFUSED.length };
  const last = door.head('POST /v1/events', { ...json, connection: 'close' }) + REFUSED;
  connection.write((door.head('POST /v1/events', json) + REFUSED).repeat(COUNT - 1) + last);
  await stuck(connection);
  return connection;
}

/** As many lines, in one call. */
async function floodOfLines(door: Door): Promise<Connection> {
  const connection = await door.connect();
  connection.socket.pause();
  const text = `${REFUSED}\n`.repeat(COUNT * 2);
  const ndjson = { 'content-type': 'application/x-ndjson', connection: 'close', 'content-length': text.length };
  connection.write(door.head('POST /v1/events', ndjson) + text);
  await stuck(connection);
  return connection;
}

/** What the system takes no more stays inside, and nobody reads. */
async function stuck({ inside }: Connection): Promise<void> {
  await turnsUntil(() => inside.writableLength > 0);
}

describe('an answer that is not read', { timeout: 60_000 }, () => {
  for (const [what, begin] of [
    ['of many', flood],
    ['of lines', floodOfLines],
  ] as const) {
    test(`${what} costs its client the connection`, async (t) => {
      const door = await openDoor(t);
      const { inside, closed } = await begin(door);
      // The system may take some more once.
      while (!inside.destroyed) await door.hand.advance(LIMITS.answerMs);
      await closed;
      assert.deepEqual(door.errors, []);
    });

    test(`${what} is waited for as long as something of it is read, now and then`, async (t) => {
      const door = await openDoor(t);
      const { inside, socket, all } = await begin(door);
      const nearly = LIMITS.answerMs - 2 * LIMITS.lateCheckMs;
      const taken = (): number => inside.bytesWritten - inside.writableLength;
      await door.hand.advance(LIMITS.lateCheckMs);
      let read = '';
      for (let round = 0; round < 2; round++) {
        await door.hand.advance(nearly);
        const before = taken();
        while (taken() === before) {
          read += String(socket.read() ?? '');
          await new Promise(setImmediate);
        }
        await door.hand.advance(LIMITS.lateCheckMs);
        assert.ok(!inside.destroyed);
      }
      assert.equal((read + (await all())).split('"code":"invalid_topic"').length - 1, what === 'of many' ? COUNT : 2 * COUNT);
    });
  }

  test('that is large goes out in pieces, whole', async (t) => {
    const door = await openDoor(t);
    const json = { type: 'orders.created', data: 'ä'.repeat(200_000) };
    for (let n = 0; n < 3; n++) assert.equal((await door.ask('POST /v1/events', { json })).status, 202);
    const { write, all } = await door.connect();
    write(door.head('GET /v1/events?from=earliest', { connection: 'close' }));
    const [head = '', body = ''] = (await all()).split('\r\n\r\n');
    assert.match(head, new RegExp(`\r\ncontent-length: ${Buffer.byteLength(body)}(\r\n|$)`, 'i'));
    assert.deepEqual(
      JSON.parse(body).data.map(({ event }: { event: { data: string } }) => event.data),
      [json.data, json.data, json.data],
    );
  });

  test('and is large has a bound together with all such ones: who asks for another is told to wait, nobody else is', async (t) => {
    const door = await openDoor(t, { answersBytes: 1024 * 1024 });
    const json = { type: 'orders.created', data: 'x'.repeat(400_000) };
    for (let n = 0; n < 3; n++) assert.equal((await door.ask('POST /v1/events', { json })).status, 202);
    const connection = await door.connect();
    connection.socket.pause();
    const read = door.head('GET /v1/events?from=earliest');
    connection.write(read.repeat(20) + door.head('GET /livez', { connection: 'close' }));
    await stuck(connection);
    const refused = await door.ask('GET /v1/events?from=earliest');
    assert.deepEqual([refused.status, refused.json.code, refused.headers['retry-after']], [503, 'overloaded', '1']);
    assert.equal((await door.ask('GET /v1/events?from=earliest&topics=orders.paid')).status, 200);
    // The document is held once for all.
    assert.equal((await door.ask('GET /openapi.json')).status, 200);
    assert.equal((await connection.all()).match(/HTTP\/1\.1 200 /g)?.length, 21);
    assert.equal((await door.ask('GET /v1/events?from=earliest')).status, 200);
    assert.deepEqual(door.errors, []);
  });

  test('is another thing than one that is not there yet: who waits for events, or for lines to write, is left alone', async (t) => {
    const door = await openDoor(t);
    const waiting = await door.connect();
    waiting.write(door.head('GET /v1/events?waitMs=30000', { connection: 'close' }));
    const writing = await door.connect();
    writing.write(door.head('POST /v1/events', { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' }));
    const line = '{"type":"a..b"}\n';
    writing.write(`${line.length.toString(16)}\r\n${line}\r\n`);
    await writing.until(/"line":1/);
    await door.hand.advance(LIMITS.answerMs * 3);
    assert.equal((await door.ask('POST /v1/events', { json: { type: 'orders.created' } })).status, 202);
    assert.match(await waiting.all(), /orders\.created/);
    writing.write(`${line.length.toString(16)}\r\n${line}\r\n0\r\n\r\n`);
    await writing.until(/"line":2[^]*"done"/);
  });
});
