/** Bodies that are refused are not read, those that are read have room, and who sends them hears about it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { LIMITS } from '../limits.ts';
import { openDoor, turnsUntil } from './test/door.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const MB = 1024 * 1024;

describe('a body that nobody wants', { timeout: 30_000 }, () => {
  test('is not waited for: the answer comes at once, and the end of the connection', async (t) => {
    const door = await openDoor(t);
    const long = { ...JSON_TYPE, 'content-length': 8 * MB };
    const cases: [string, Record<string, string | number>, number][] = [
      ['POST /v1/nothing', long, 404],
      ['POST /v1/nothing', { ...JSON_TYPE, 'transfer-encoding': 'chunked' }, 404],
      ['DELETE /v1/events', long, 405],
      ['POST /v1/events', { ...long, authorization: 'Bearer mr_none' }, 401],
      ['POST /v1/events', { ...long, authorization: `Bearer ${await door.key('shop', ['subscribe'])}` }, 403],
      ['POST /v1/events', { ...long, 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }, 415],
      ['POST /v1/events', { ...long, 'content-length': 9 * MB }, 413],
    ];
    for (const [route, headers, status] of cases) {
      const { write, all, closed } = await door.connect();
      write(door.head(route, headers) + (headers['transfer-encoding'] === undefined ? '[' : '1\r\n[\r\n'));
      const answer = await all();
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} [^]*"status":${status}`), route);
      assert.match(answer, /\r\nconnection: close\r\n/i);
      await closed;
    }
    assert.deepEqual(door.errors, []);
  });

  test('keeps its headers in that answer', async (t) => {
    const door = await openDoor(t);
    const { write, all } = await door.connect();
    write(door.head('DELETE /v1/events', { 'content-length': 8 * MB }));
    assert.match(await all(), /\r\nallow: POST, GET\r\n/i);
  });

  test('is thrown away up to a bound, and its sender can still read why once it has sent it all', async (t) => {
    const door = await openDoor(t);
    const { socket, inside, closed, write, until } = await door.connect();
    write(door.head('POST /v1/nothing', { ...JSON_TYPE, 'content-length': 64 * MB }));
    for (let sent = 0; sent < 64; sent++) socket.write(Buffer.alloc(MB, 0x20));
    // More than the bound has come, and the gateway takes no more.
    await turnsUntil(() => inside.bytesRead > LIMITS.discardedBytes);
    assert.match(await until(/"code":"not_found"/), /^HTTP\/1\.1 404 /);
    await door.hand.advance(LIMITS.closeMs);
    await closed;
    assert.ok(inside.bytesRead < 2 * MB, `${inside.bytesRead} bytes were read`);
  });

  test('costs no connection where it is small', async (t) => {
    const door = await openDoor(t);
    const { write, all } = await door.connect();
    write(`${door.head('POST /v1/nothing', { ...JSON_TYPE, 'content-length': 5 })}hello`);
    write(`${door.head('POST /v1/topics/a.b', { ...JSON_TYPE, 'content-length': 5 })}hello`);
    write(door.head('GET /livez', { connection: 'close' }));
    assert.deepEqual((await all()).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 404', 'HTTP/1.1 405', 'HTTP/1.1 200']);
  });

  test('that is small and never comes is waited for no longer than any other', async (t) => {
    const door = await openDoor(t);
    const { closed, write, until } = await door.connect();
    write(door.head('POST /v1/nothing', { ...JSON_TYPE, 'content-length': 5 }));
    await until(/"code":"not_found"/);
    await door.hand.advance(LIMITS.requestMs + LIMITS.lateCheckMs);
    await closed;
  });

  test('is not asked for: who waits to be told to go on is refused first', async (t) => {
    const door = await openDoor(t);
    const expecting = { ...JSON_TYPE, expect: '100-continue' };
    const refused = await door.connect();
    refused.write(door.head('POST /v1/nothing', { ...expecting, 'content-length': 5 }));
    assert.match(await refused.all(), /^HTTP\/1\.1 404 /);
    const body = '{"type":"orders.created"}';
    const taken = await door.connect();
    taken.write(door.head('POST /v1/events', { ...expecting, 'content-length': body.length, connection: 'close' }));
    await taken.until(/^HTTP\/1\.1 100 /);
    taken.write(body);
    assert.match(await taken.all(), /HTTP\/1\.1 202 /);
  });

  test('of a client that leaves in the middle is no error of ours', async (t) => {
    const door = await openDoor(t);
    for (const type of ['application/json', 'application/x-ndjson'])
      for (const sent of ['{"type":', '{"type":"orders.created"}\n{"type"']) {
        const { socket, inside, closed, write } = await door.connect();
        const requested = once(door.app.server, 'request');
        write(door.head('POST /v1/events', { 'content-type': type, 'content-length': 1_000 }) + sent);
        await requested;
        await turnsUntil(() => inside.bytesRead > 0);
        socket.resetAndDestroy();
        await closed;
      }
    assert.equal((await door.ask('GET /v1/events?from=earliest')).status, 200);
    assert.deepEqual(door.errors, []);
  });
});

describe('the bodies of all requests together', { timeout: 30_000 }, () => {
  const event = `{"type":"orders.created","data":"${'x'.repeat(500_000)}"}`;
  const batch = `[${[event, event, event].join(',')}]`;

  test('have a bound: past it others are refused before theirs is read, one alone is always taken', async (t) => {
    const door = await openDoor(t, { bodiesBytes: MB });
    const large = await door.connect();
    const whole = { ...JSON_TYPE, connection: 'close', 'content-length': batch.length };
    large.write(door.head('POST /v1/events', whole) + batch.slice(0, 1_200_000));
    await turnsUntil(() => large.inside.bytesRead > 1_200_000);

    for (const headers of [{ 'content-length': 1_000_000 }, { 'content-length': 100 }]) {
      const { write, until } = await door.connect();
      write(door.head('POST /v1/events', { ...JSON_TYPE, ...headers }));
      assert.match(await until(/"code":"overloaded"/), /^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n/i);
    }
    const chunked = await door.connect();
    chunked.write(door.head('POST /v1/events', { ...JSON_TYPE, 'transfer-encoding': 'chunked' }));
    chunked.write('2\r\n[{\r\n');
    assert.match(await chunked.all(), /^HTTP\/1\.1 503 [^]*"code":"overloaded"/);
    assert.equal((await door.ask('PUT /v1/topics/a.b', { json: {} })).json.code, 'overloaded');
    assert.equal((await door.ask('GET /v1/topics')).status, 200);
    const lines = await door.connect();
    const text = '{"type":"orders.created"}\n{"type":"orders.cre';
    const ndjson = { 'content-type': 'application/x-ndjson', connection: 'close', 'content-length': text.length };
    lines.write(door.head('POST /v1/events', ndjson) + text);
    const answers = await lines.all();
    assert.deepEqual(
      [...answers.matchAll(/"line":(\d).*?"code":"(\w+)"/g)].map(([, line, code]) => [line, code]),
      [
        ['1', 'overloaded'],
        ['2', 'overloaded'],
      ],
    );
    assert.match(answers, /"refused":2/);

    large.write(batch.slice(1_200_000));
    assert.match(await large.all(), /^HTTP\/1\.1 202 /);
    assert.equal((await door.ask('PUT /v1/topics/a.b', { json: {} })).status, 201);
  });

  test('count no more when their clients left or were answered, whatever became of them', async (t) => {
    const door = await openDoor(t, { bodiesBytes: MB });
    for (const send of ['application/json', 'application/x-ndjson']) {
      const { socket, inside, closed, write } = await door.connect();
      write(door.head('POST /v1/events', { 'content-type': send, 'content-length': batch.length }) + batch.slice(0, 900_000));
      await turnsUntil(() => inside.bytesRead > 900_000);
      socket.resetAndDestroy();
      await closed;
    }
    for (let n = 0; n < 5; n++) {
      const body = `[${event},${event.slice(0, -1)}]`;
      assert.equal((await door.ask('POST /v1/events', { body, headers: JSON_TYPE })).status, 400);
    }
    const other = await door.connect();
    other.write(door.head('POST /v1/events', { ...JSON_TYPE, 'content-length': event.length + 2 }) + event);
    await turnsUntil(() => other.inside.bytesRead > event.length);
    // With the one above there is room for this, and would be for nothing more.
    assert.equal((await door.ask('POST /v1/events', { body: event, headers: JSON_TYPE })).status, 202);
    other.write('  ');
    await other.until(/^HTTP\/1\.1 202 /);
  });

  test('are those of lines, too: by what is held of them and not by what went through', async (t) => {
    const door = await openDoor(t, { bodiesBytes: MB });
    const { write, until, inside } = await door.connect();
    write(door.head('POST /v1/events', { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' }));
    const chunk = (text: string): void => write(`${text.length.toString(16)}\r\n${text}\r\n`);
    for (let n = 1; n <= 5; n++) {
      chunk(`${event}\n`);
      await until(new RegExp(`"line":${n},.*appended`));
    }
    const read = inside.bytesRead;
    chunk(`{"type":"orders.created","data":"${'x'.repeat(400_000)}${' '.repeat(500_000)}`);
    await turnsUntil(() => inside.bytesRead > read + 900_000);
    assert.equal((await door.ask('POST /v1/events', { body: event, headers: JSON_TYPE })).json.code, 'overloaded');
    chunk('"}\n');
    await until(/"line":6,/);
    assert.equal((await door.ask('POST /v1/events', { body: event, headers: JSON_TYPE })).status, 202);
  });
});
