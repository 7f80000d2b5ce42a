/** Clients that mean harm, or are broken: each is answered or cut off within its bound, and others are served meanwhile. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { type World, world } from '../../test/world.ts';
import { limitsOf } from '../limits.ts';

interface Door extends World {
  connect(): net.Socket;
}

async function door(t: TestContext, limits: Readonly<Record<string, number>> = {}): Promise<Door> {
  const made = await world(t, { limits: limitsOf(limits) });
  await made.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = made.app.server.address() as net.AddressInfo;
  return {
    ...made,
    connect() {
      const socket = net.connect(port, '127.0.0.1').on('error', () => undefined);
      t.after(() => socket.destroy());
      return socket;
    },
  };
}

async function allOf(socket: net.Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

describe('a client', { timeout: 60_000 }, () => {
  test('whose headers never end is cut off, and the next one is served', async (t) => {
    // real time: Node itself looks at its connections
    const { connect, ask } = await door(t, { headersMs: 100, lateCheckMs: 20 });
    const slow = connect();
    slow.write('GET /v1/health HTTP/1.1\r\nhost: x\r\nx-a: ');
    assert.match(await allOf(slow), /^HTTP\/1\.1 408 [^]*request_timeout/);
    assert.equal((await ask('GET /v1/health')).status, 200);
  });

  test('beyond the bound of connections is let go, and served when there is room', async (t) => {
    const { connect } = await door(t, { connections: 2 });
    const held = [connect(), connect()];
    await Promise.all(held.map((socket) => once(socket, 'connect')));
    assert.equal(await allOf(connect()), '');
    held[0]?.destroy();
    for (;;) {
      const socket = connect();
      socket.write('GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      const answer = await allOf(socket).catch(() => '');
      if (answer === '') continue;
      assert.match(answer, /^HTTP\/1\.1 200 /);
      break;
    }
  });

  test('that sends JSON as deep as it likes gets a problem, at every door', async (t) => {
    const { ask, errors } = await door(t);
    const bomb = '['.repeat(100_000) + ']'.repeat(100_000);
    const json = { 'content-type': 'application/json' };
    for (const [route, body, headers] of [
      ['POST /v1/events', `{"type":"orders.created","data":${bomb}}`, json],
      ['POST /v1/events', bomb, json],
      ['POST /v1/events', `{"type":"orders.created","a":${bomb}}`, { 'content-type': 'application/cloudevents+json' }],
      ['POST /v1/topics/orders.created/events', bomb, json],
      ['PUT /v1/topics/a.b', bomb, json],
      ['POST /v1/subscriptions', `{"topics":["a"],"filter":{"data":${bomb}}}`, json],
    ] as const) {
      const answer = await ask(route, { body, headers });
      assert.deepEqual([answer.status, answer.json.code], [400, 'invalid_json'], `${route} ${answer.text.slice(0, 200)}`);
    }
    assert.deepEqual(errors, []);
  });

  test('that never reads its answers stops being read, and has them all once it does', async (t) => {
    const { app, connect, admin } = await door(t);
    const accepted = once(app.server, 'connection');
    const socket = connect();
    socket.pause();
    // Refused, as a problem is longer than what it answers: answers fill every buffer between the two.
    const count = 20_000;
    const body = '{"type":"a..b"}';
    const one = `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${admin}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const last = one.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n');
    const total = one.length * (count - 1) + last.length;
    socket.write(one.repeat(count - 1) + last);
    const [serverSide] = (await accepted) as [net.Socket];
    // What the system takes no more stays here, and nobody reads: from then on nothing moves.
    while (serverSide.writableLength === 0) await new Promise(setImmediate);
    assert.ok(serverSide.bytesRead < total, 'all was read while no answer was');
    const answers = (await allOf(socket)).match(/HTTP\/1\.1 400 /g);
    assert.equal(answers?.length, count);
  });
});
