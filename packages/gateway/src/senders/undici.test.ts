/** The sender against real sockets: what polite and hostile endpoints do to it, and what it says of them. */
import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import net from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { CERTIFICATE, CERTIFICATE_KEY } from '@millrace/conformance/certificate';
import { listen, onRequests, rawServer, receiver } from '../../test/receivers.ts';
import { systemClock } from '../system-clock.ts';
import { connecting, errorOf, send, sending, statusOf } from './test/sending.ts';
import { ANSWER_BYTES_MAX, createUndiciSender } from './undici.ts';

/** Answers every request with these bytes. */
function always(bytes: string): (socket: net.Socket) => void {
  return (socket) => onRequests(socket, () => socket.write(bytes));
}

describe('the sender', { timeout: 30_000 }, () => {
  test('posts the very bytes with the headers it was given, and says what was answered', async (t) => {
    const endpoint = await receiver(t);
    const post = sending(t);
    const result = await post(`${endpoint.url}/hooks/a%20b?x=1`, {
      headers: { 'content-type': 'text/plain', 'x-signature': 'abc' },
      body: new Uint8Array([0, 255, 10]),
    });
    assert.equal(statusOf(result), 204);
    const [request] = endpoint.requests;
    assert.equal(request?.path, '/hooks/a%20b?x=1');
    assert.deepEqual([...(request?.body ?? [])], [0, 255, 10]);
    assert.equal(request?.headers['x-signature'], 'abc');
    assert.equal(request?.headers['content-length'], '3');
    assert.match(request?.headers['user-agent'] ?? '', /^millrace\//);
  });

  test('an empty body is sent as a body of length 0', async (t) => {
    const endpoint = await receiver(t);
    assert.equal(statusOf(await sending(t)(endpoint.url, { body: new Uint8Array(0) })), 204);
    assert.equal(endpoint.requests[0]?.headers['content-length'], '0');
  });

  test('as many connections are made as requests are under way at once, and used again', async (t) => {
    const endpoint = await receiver(t);
    const post = sending(t);
    for (let n = 0; n < 20; n++) await post(endpoint.url);
    assert.equal(endpoint.connections(), 1);
    for (let n = 0; n < 20; n++) await Promise.all([1, 2, 3, 4].map(() => post(endpoint.url)));
    assert.equal(endpoint.connections(), 4);
  });

  test('past the bound of connections to an origin requests wait for one', async (t) => {
    const endpoint = await receiver(t);
    const post = sending(t, { connectionsMax: 2 });
    const results = await Promise.all(Array.from({ length: 50 }, () => post(endpoint.url)));
    assert.ok(results.every((result) => statusOf(result) === 204));
    assert.equal(endpoint.connections(), 2);
  });

  test('of a refusal it keeps the first 1,024 characters, and Retry-After in milliseconds', async (t) => {
    const endpoint = await receiver(t, (response) => void response.writeHead(503, { 'retry-after': '7' }).end('é'.repeat(3_000)));
    const result = await sending(t)(endpoint.url);
    assert.deepEqual(
      { ...result, durationMs: 0 },
      { status: 503, retryAfterMs: 7_000, snippet: 'é'.repeat(1_024), durationMs: 0 },
    );
  });

  test('a Retry-After that makes no sense is none', async (t) => {
    const endpoint = await receiver(t, (response) => void response.writeHead(429, { 'retry-after': 'soon' }).end());
    const result = await sending(t)(endpoint.url);
    assert.equal(statusOf(result), 429);
    assert.ok(!('retryAfterMs' in result));
  });

  test('a redirect is an answer like others: it is not followed', async (t) => {
    const target = await receiver(t);
    const endpoint = await receiver(t, (response) => void response.writeHead(307, { location: target.url }).end());
    assert.equal(statusOf(await sending(t)(endpoint.url)), 307);
    assert.equal(target.requests.length, 0);
  });

  test('an answer that never comes is a timeout, within a second of the deadline', async (t) => {
    const endpoint = await rawServer(t, () => undefined);
    const result = await sending(t)(endpoint, { timeoutMs: 200 });
    assert.equal(errorOf(result), 'timeout');
    assert.ok(result.durationMs >= 200 && result.durationMs < 1_200, `${result.durationMs}`);
  });

  test('an answer that comes byte by byte is a timeout: the deadline is for the whole of it', async (t) => {
    const endpoint = await rawServer(t, (socket) => {
      onRequests(socket, () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
        const trickle = setInterval(() => socket.write('x'), 20);
        socket.on('close', () => clearInterval(trickle));
      });
    });
    const result = await sending(t)(endpoint, { timeoutMs: 300 });
    assert.equal(errorOf(result), 'timeout');
    assert.match('detail' in result ? result.detail : '', /status 200/);
    assert.ok(result.durationMs < 1_300);
  });

  test('an answer that is cut short is a reset, whatever its status was', async (t) => {
    const post = sending(t);
    for (const head of [
      'Content-Length: 100\r\n\r\nabc',
      'Transfer-Encoding: chunked\r\n\r\n5\r\nab',
      'Content-Length: 100\r\nConnection: close\r\n\r\nabc',
    ]) {
      const endpoint = await rawServer(t, (socket) => onRequests(socket, () => socket.end(`HTTP/1.1 200 OK\r\n${head}`)));
      assert.equal(errorOf(await post(endpoint)), 'reset', head);
    }
  });

  test('a 200 followed by a reset of the connection is a reset', async (t) => {
    const endpoint = await rawServer(t, (socket) =>
      onRequests(socket, () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc', () => socket.resetAndDestroy())),
    );
    assert.equal(errorOf(await sending(t)(endpoint)), 'reset');
  });

  test('an answer whose end is the end of the connection is whole', async (t) => {
    const endpoint = await rawServer(t, (socket) => onRequests(socket, () => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it')));
    assert.equal(statusOf(await sending(t)(endpoint)), 200);
  });

  test('of a huge answer no more than 16 KB is read: the status counts, the connection is closed', async (t) => {
    let written = 0;
    let closed = (): void => undefined;
    const gone = new Promise<void>((resolve) => (closed = resolve));
    const endpoint = await rawServer(t, (socket) => {
      socket.on('close', closed);
      onRequests(socket, () => {
        socket.write('HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n');
        const more = (): void => {
          while (!socket.destroyed && socket.write('x'.repeat(1_024))) written += 1_024;
        };
        socket.on('drain', more);
        more();
      });
    });
    const result = await sending(t)(endpoint);
    assert.equal(statusOf(result), 500);
    assert.equal('snippet' in result && result.snippet, 'x'.repeat(1_024));
    await gone;
    assert.ok(written > ANSWER_BYTES_MAX && written < 100_000_000, `${written}`);
  });

  test('what is no HTTP is a protocol error', async (t) => {
    const post = sending(t);
    const answers = {
      garbage: 'SSH-2.0-OpenSSH_9.2\r\n\r\n',
      'a status that is none': 'HTTP/1.1 abc OK\r\n\r\n',
      'an upgrade nobody asked for': 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
      'headers without end': `HTTP/1.1 200 OK\r\n${'x-a: b\r\n'.repeat(10_000)}`,
    };
    for (const [name, bytes] of Object.entries(answers))
      assert.equal(errorOf(await post(await rawServer(t, always(bytes)))), 'protocol', name);
  });

  test('an early hint is no answer yet', async (t) => {
    const endpoint = await rawServer(
      t,
      always('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
    );
    assert.equal(statusOf(await sending(t)(endpoint)), 200);
  });

  test('where nobody listens it is refused, and a name that nobody has is a matter of DNS', async (t) => {
    const post = sending(t);
    const server = net.createServer().listen(0, '127.0.0.1');
    const { port } = await new Promise<net.AddressInfo>((resolve) =>
      server.on('listening', () => resolve(server.address() as net.AddressInfo)),
    );
    await new Promise((resolve) => server.close(resolve));
    assert.equal(errorOf(await post(`http://127.0.0.1:${port}/`)), 'refused');
    assert.equal(errorOf(await post('http://nobody.invalid/')), 'dns');
  });

  test('a connection that does not come about within the timeout is a connect_timeout', async (t) => {
    const result = await sending(t, { connect: () => undefined })('http://127.0.0.1:9/', { timeoutMs: 100 });
    assert.equal(errorOf(result), 'connect_timeout');
  });

  test('what waits for a connection that others use is a timeout, and is not sent afterwards', async (t) => {
    let answer = (): void => undefined;
    const endpoint = await receiver(t, (response, count) => {
      if (count > 1) return void response.writeHead(204).end();
      answer = () => void response.writeHead(204).end();
    });
    const post = sending(t, { connectionsMax: 1 });
    const first = post(endpoint.url);
    await endpoint.request(1);
    assert.equal(errorOf(await post(endpoint.url, { timeoutMs: 100 })), 'timeout');
    answer();
    assert.equal(statusOf(await first), 204);
    assert.equal(statusOf(await post(endpoint.url, { body: Buffer.from('third') })), 204);
    assert.deepEqual(
      endpoint.requests.map(({ body }) => body.toString()),
      ['{"id":1}', 'third'],
    );
  });

  describe('over TLS', () => {
    async function secure(t: TestContext): Promise<string> {
      const server = createServer(
        { key: CERTIFICATE_KEY, cert: CERTIFICATE },
        (request, response) => void request.resume().on('end', () => response.writeHead(204).end()),
      );
      return (await listen(t, server, () => server.closeAllConnections())).replace('http:', 'https:');
    }

    test('a certificate that nobody trusts is a tls error', async (t) => {
      assert.equal(errorOf(await sending(t)(await secure(t))), 'tls');
    });

    test('so is one for another name', async (t) => {
      const post = sending(t, { connect: connecting({ ca: CERTIFICATE }) });
      const url = await secure(t);
      assert.equal(statusOf(await post(url.replace('127.0.0.1', 'localhost'))), 204);
      assert.equal(errorOf(await post(url)), 'tls');
    });

    test('and an endpoint that does not speak it', async (t) => {
      const plain = await receiver(t);
      assert.equal(errorOf(await sending(t)(plain.url.replace('http:', 'https:'))), 'tls');
      const silent = await rawServer(t, (socket) => socket.destroy());
      assert.equal(errorOf(await sending(t)(silent.replace('http:', 'https:'))), 'tls');
    });
  });

  describe('on a connection that was kept', () => {
    const OK = 'HTTP/1.1 204 No Content\r\n\r\n';

    /** Answers the first request of each of the first `kind` connections, and resets at the next one. */
    function forgetful(t: TestContext, connections: number): Promise<string> {
      return rawServer(t, (socket, connection) => {
        onRequests(socket, (count) => {
          seen.push(`${connection}.${count}`);
          if (count === 1 || connection > connections) socket.write(OK);
          else socket.resetAndDestroy();
        });
      });
    }
    let seen: string[] = [];

    test('a reset before any byte of the answer is tried again at once, and is no failure', async (t) => {
      seen = [];
      const endpoint = await forgetful(t, 1);
      const post = sending(t);
      assert.equal(statusOf(await post(endpoint)), 204);
      assert.equal(statusOf(await post(endpoint)), 204);
      assert.deepEqual(seen, ['1.1', '1.2', '2.1']);
    });

    test('a reset of a new connection is not tried again', async (t) => {
      let connections = 0;
      const endpoint = await rawServer(t, (socket) => {
        connections++;
        onRequests(socket, () => socket.resetAndDestroy());
      });
      assert.equal(errorOf(await sending(t)(endpoint)), 'reset');
      assert.equal(connections, 1);
    });

    test('a reset after the first byte of the answer is not tried again', async (t) => {
      seen = [];
      const endpoint = await rawServer(t, (socket) => {
        onRequests(socket, (count) => {
          seen.push(`${count}`);
          if (count === 1) socket.write(OK);
          else socket.write('HTTP/1.1 2', () => socket.resetAndDestroy());
        });
      });
      const post = sending(t);
      await post(endpoint);
      assert.equal(errorOf(await post(endpoint)), 'reset');
      assert.deepEqual(seen, ['1', '2']);
    });
  });

  test('closing it aborts what is under way, and what comes later', async (t) => {
    const endpoint = await rawServer(t, (socket) => onRequests(socket, () => void sender.close()));
    const sender = createUndiciSender({ clock: systemClock, connect: connecting() });
    assert.equal(errorOf(await send(sender, endpoint)), 'aborted');
    assert.equal(errorOf(await send(sender, endpoint)), 'aborted');
  });
});
