/** Endpoints that mean no good, on real sockets: each has one cause, holds nobody up, and gets no more than its bounds. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { onRequests, rawServer, receiver } from '../../test/receivers.ts';
import type { SendError } from '../ports/sender.ts';
import { HEADER_BYTES_MAX } from './lines.ts';
import { connecting, detailOf, errorOf, sending, statusOf } from './test/sending.ts';
import { ANSWER_WIRE_BYTES_MAX, INTERIM_ANSWERS_MAX } from './undici.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const HINT = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';

interface Hostile {
  readonly url: string;
  /** Bytes that were written to the sender. */
  written(): number;
  /** The sender has let go of the first connection. */
  readonly gone: Promise<void>;
}

/** Answers with `start`, and then with `more` again and again, as fast as it is taken or every `everyMs`. */
async function endless(t: TestContext, start: string, more: string, everyMs?: number): Promise<Hostile> {
  let written = 0;
  let closed = (): void => undefined;
  const gone = new Promise<void>((resolve) => (closed = resolve));
  const url = await rawServer(t, (socket) => {
    const write = (bytes: string): boolean => {
      written += bytes.length;
      return socket.write(bytes);
    };
    const flood = (): void => {
      while (!socket.destroyed && write(more));
    };
    let drip: NodeJS.Timeout | undefined;
    socket.on('close', () => {
      clearInterval(drip);
      closed();
    });
    onRequests(socket, () => {
      write(start);
      if (everyMs !== undefined) return void (drip = setInterval(() => write(more), everyMs));
      socket.on('drain', flood);
      flood();
    });
  });
  return { url, written: () => written, gone };
}

describe('an endpoint that does not come to an end', { timeout: 30_000 }, () => {
  const floods: Readonly<Record<string, readonly [string, string, SendError]>> = {
    'headers for ever': ['HTTP/1.1 200 OK\r\n', `x-a: ${'b'.repeat(100)}\r\n`, 'protocol'],
    'one header for ever': ['HTTP/1.1 200 OK\r\nx-a: ', 'b'.repeat(1_000), 'protocol'],
    'a reason phrase for ever': ['HTTP/1.1 200 ', 'O'.repeat(1_000), 'protocol'],
    'interim answers for ever': [HINT, HINT.repeat(10), 'protocol'],
    'trailers for ever': [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n',
      `x-a: ${'b'.repeat(100)}\r\n`,
      'protocol',
    ],
    'a chunk extension for ever': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=', 'b'.repeat(1_000), 'protocol'],
  };
  for (const [name, [start, more, cause]] of Object.entries(floods))
    test(`${name}: ${cause}, and the connection is closed`, async (t) => {
      const endpoint = await endless(t, start, more);
      assert.equal(errorOf(await sending(t)(endpoint.url, { timeoutMs: 20_000 })), cause);
      await endpoint.gone;
    });

  // real time: the deadline is what ends these
  const drips: Readonly<Record<string, readonly [string, string]>> = {
    'headers, one after another': ['HTTP/1.1 200 OK\r\n', 'x-a: b\r\n'],
    'a status line, byte by byte': ['HTTP/1.1 200 ', 'O'],
    'interim answers, fewer than too many': ['', HINT],
    'chunks without content': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=', 'b'],
  };
  for (const [name, [start, more]] of Object.entries(drips))
    test(`${name}: timeout, and the connection is closed`, async (t) => {
      const endpoint = await endless(t, start, more, 30);
      assert.equal(errorOf(await sending(t)(endpoint.url, { timeoutMs: 250 })), 'timeout');
      await endpoint.gone;
    });

  test('and one that never reads is a timeout too, however large the body', async (t) => {
    const sockets: net.Socket[] = [];
    const endpoint = await rawServer(t, (socket) => void sockets.push(socket.pause()));
    const post = sending(t);
    const result = await post(endpoint, { body: Buffer.alloc(32 * 1024 * 1024), timeoutMs: 300 });
    assert.equal(errorOf(result), 'timeout');
    const [socket] = sockets as [net.Socket];
    const closed = once(socket, 'close');
    socket.resume();
    await closed;
  });
});

describe('the bounds of an answer', { timeout: 30_000 }, () => {
  test('headers of nearly 16 KB are read, of more not', async (t) => {
    const post = sending(t);
    for (const [bytes, outcome] of [
      [HEADER_BYTES_MAX - 100, 'answered 200'],
      [HEADER_BYTES_MAX, 'protocol'],
    ] as const) {
      const answer = `HTTP/1.1 200 OK\r\nx-a: ${'b'.repeat(bytes)}\r\nContent-Length: 0\r\n\r\n`;
      const endpoint = await rawServer(t, (socket) => onRequests(socket, () => socket.write(answer)));
      assert.equal(errorOf(await post(endpoint)), outcome, `${bytes}`);
    }
  });

  test('as many interim answers as the bound are read, of more none', async (t) => {
    const post = sending(t);
    for (const [count, outcome] of [
      [INTERIM_ANSWERS_MAX, 'answered 200'],
      [INTERIM_ANSWERS_MAX + 1, 'protocol'],
    ] as const) {
      const endpoint = await rawServer(t, (socket) => onRequests(socket, () => socket.write(HINT.repeat(count) + OK)));
      assert.equal(errorOf(await post(endpoint)), outcome, `${count}`);
    }
  });

  test('a "100 Continue" that nobody asked for is a protocol error', async (t) => {
    const endpoint = await rawServer(t, (socket) => onRequests(socket, () => socket.write(`HTTP/1.1 100 Continue\r\n\r\n${OK}`)));
    assert.equal(errorOf(await sending(t)(endpoint)), 'protocol');
  });

  test('what is neither header nor body ends at its own bound', async (t) => {
    const endpoint = await endless(t, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=', 'b'.repeat(1_000));
    assert.match(detailOf(await sending(t)(endpoint.url, { timeoutMs: 20_000 })), new RegExp(`${ANSWER_WIRE_BYTES_MAX} bytes`));
    assert.ok(endpoint.written() > ANSWER_WIRE_BYTES_MAX);
  });
});

describe('an answer that is whole counts, whatever happens to the connection then', { timeout: 30_000 }, () => {
  const answers = {
    'with a length': OK,
    'with a length, and to be closed': OK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
    'in chunks': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    'without a body': 'HTTP/1.1 204 No Content\r\n\r\n',
    'of HTTP/1.0': 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  };
  for (const [name, bytes] of Object.entries(answers))
    test(`${name}, then a reset`, async (t) => {
      const endpoint = await rawServer(t, (socket) =>
        onRequests(socket, () => socket.write(bytes, () => socket.resetAndDestroy())),
      );
      const post = sending(t);
      for (let n = 0; n < 5; n++) assert.ok(statusOf(await post(endpoint)) < 300);
    });

  test('and one that is not is a reset, with the status that was seen', async (t) => {
    const endpoint = await rawServer(t, (socket) =>
      onRequests(socket, () =>
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', () => socket.resetAndDestroy()),
      ),
    );
    const result = await sending(t)(endpoint);
    assert.equal(errorOf(result), 'reset');
    assert.match(detailOf(result), /^status 200, then /);
  });
});

test(
  'no redirect is followed, to the metadata service or elsewhere: one request, one look-up, one connection',
  { timeout: 30_000 },
  async (t) => {
    const statuses = [300, 301, 302, 303, 305, 307, 308];
    const endpoint = await receiver(t, (response, count) =>
      response.writeHead(statuses[count - 1] ?? 204, { location: 'http://169.254.169.254/latest/meta-data/' }).end(),
    );
    const asked: string[] = [];
    const connect = connecting({
      lookup: (host, _options, callback) => {
        asked.push(host);
        callback(null, [{ address: '127.0.0.1', family: 4 }]);
      },
    });
    const dialled: string[] = [];
    const post = sending(t, {
      connect: (options, callback) => {
        dialled.push(options.hostname);
        connect(options, callback);
      },
    });
    const url = endpoint.url.replace('127.0.0.1', 'hooks.example');
    for (const status of statuses) assert.equal(statusOf(await post(url)), status);
    assert.equal(statusOf(await post(url)), 204);
    assert.equal(endpoint.requests.length, statuses.length + 1);
    assert.deepEqual([asked, dialled], [['hooks.example'], ['hooks.example']]);
  },
);

describe('a connection that does not come about', { timeout: 30_000 }, () => {
  /** Listens and never accepts: once its queue is full, the system drops what knocks. */
  async function blackhole(t: TestContext): Promise<string> {
    const wake = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(
      `const { workerData, parentPort } = require('node:worker_threads');
       const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
         parentPort.postMessage(server.address().port);
         Atomics.wait(workerData, 0, 0);
         process.exit();
       });`,
      { eval: true, workerData: wake },
    );
    const [port] = (await once(worker, 'message')) as [number];
    const fillers = [1, 2].map(() => net.connect(port, '127.0.0.1').on('error', () => undefined));
    await Promise.all(fillers.map((socket) => once(socket, 'connect')));
    t.after(async () => {
      for (const socket of fillers) socket.destroy();
      Atomics.store(wake, 0, 1);
      Atomics.notify(wake, 0);
      await once(worker, 'exit');
    });
    return `http://127.0.0.1:${port}`;
  }

  const skip = process.platform !== 'linux' && 'only Linux drops what does not fit into the queue of a listening socket';

  test('because nobody answers is a connect_timeout, by the timeout of the request or of the connection', { skip }, async (t) => {
    const url = await blackhole(t);
    assert.equal(errorOf(await sending(t)(url, { timeoutMs: 150 })), 'connect_timeout');
    const post = sending(t, { connect: connecting({ connectMs: 150 }) });
    assert.equal(errorOf(await post(url, { timeoutMs: 25_000 })), 'connect_timeout');
  });

  test('because TLS is never answered is one as well', async (t) => {
    const silent = (await rawServer(t, () => undefined)).replace('http:', 'https:');
    assert.equal(errorOf(await sending(t)(silent, { timeoutMs: 150 })), 'connect_timeout');
    const post = sending(t, { connect: connecting({ connectMs: 150 }) });
    assert.equal(errorOf(await post(silent, { timeoutMs: 25_000 })), 'connect_timeout');
  });

  test('because its name is never looked up is one as well', async (t) => {
    const lookup = (): void => undefined;
    const url = 'http://slow.example/';
    assert.equal(errorOf(await sending(t, { connect: connecting({ lookup }) })(url, { timeoutMs: 100 })), 'connect_timeout');
    const result = await sending(t, { connect: connecting({ lookup, connectMs: 100 }) })(url, { timeoutMs: 25_000 });
    assert.equal(errorOf(result), 'connect_timeout');
    assert.match(detailOf(result), /timeout: 100ms/);
  });

  test('because TLS is answered with garbage is a tls error', async (t) => {
    const garbage = await rawServer(t, (socket) => socket.write('\x16\x03\x01\xff\xffgarbage'));
    assert.equal(errorOf(await sending(t)(garbage.replace('http:', 'https:'))), 'tls');
  });

  test('at none of several addresses says so of each', async (t) => {
    const lookup = connecting({
      lookup: (_host, _options, callback) =>
        callback(null, [
          { address: '127.0.0.1', family: 4 },
          { address: '127.0.0.2', family: 4 },
        ]),
    });
    const result = await sending(t, { connect: lookup })('http://two.example:1/');
    assert.equal(errorOf(result), 'refused');
    assert.match(detailOf(result), /127\.0\.0\.1:1; .*127\.0\.0\.2:1/);
  });
});

describe('an answer that comes before the request was read', { timeout: 30_000 }, () => {
  const endings = {
    'and the rest is never read': () => undefined,
    'and then a reset': (socket: net.Socket) => void socket.resetAndDestroy(),
    'and then the end': (socket: net.Socket) => void socket.end(),
  };
  for (const [name, end] of Object.entries(endings))
    test(`${name}: it counts, and nobody waits behind the rest of that request`, async (t) => {
      let connections = 0;
      const endpoint = await rawServer(t, (socket, connection) => {
        connections = connection;
        socket.once('data', () => {
          socket.pause();
          socket.write(OK, () => end(socket));
        });
      });
      const post = sending(t, { connectionsMax: 1 });
      const body = Buffer.alloc(8 * 1024 * 1024);
      for (let n = 0; n < 3; n++) assert.equal(statusOf(await post(endpoint, { body })), 200);
      const together = await Promise.all([1, 2, 3].map(() => post(endpoint, { body })));
      assert.deepEqual(together.map(statusOf), [200, 200, 200]);
      assert.equal(connections, 6);
    });
});

describe('connections that were kept', { timeout: 30_000 }, () => {
  /** Answers the first request of each connection, and resets at the second. */
  async function forgetful(
    t: TestContext,
    resets: (connection: number, count: number) => boolean,
  ): Promise<{ url: string; seen: string[] }> {
    const seen: string[] = [];
    const url = await rawServer(t, (socket, connection) =>
      onRequests(socket, (count) => {
        seen.push(`${connection}.${count}`);
        if (resets(connection, count)) socket.resetAndDestroy();
        else socket.write(OK);
      }),
    );
    return { url, seen };
  }

  test('and all forgotten: the one retry goes out on a new one', async (t) => {
    const endpoint = await forgetful(t, (connection, count) => connection <= 3 && count > 1);
    const post = sending(t);
    await Promise.all([1, 2, 3].map(() => post(endpoint.url)));
    endpoint.seen.length = 0;
    assert.equal(statusOf(await post(endpoint.url)), 200);
    assert.equal(endpoint.seen.length, 2);
    assert.equal(endpoint.seen[1], '4.1');
  });

  test('and a retry that is reset too: one failure, and no third try', async (t) => {
    const endpoint = await forgetful(t, (connection, count) => connection === 2 || count > 1);
    const post = sending(t);
    assert.equal(statusOf(await post(endpoint.url)), 200);
    assert.equal(errorOf(await post(endpoint.url)), 'reset');
    assert.deepEqual(endpoint.seen, ['1.1', '1.2', '2.1']);
    assert.equal(statusOf(await post(endpoint.url)), 200);
  });

  test('and a retry that had to wait, and was reset on a connection others had used: still no third try', async (t) => {
    const endpoint = await forgetful(t, (connection, count) => connection <= 2 && count > 1);
    const post = sending(t, { connectionsMax: 1 });
    assert.equal(statusOf(await post(endpoint.url)), 200);
    const together = await Promise.all([post(endpoint.url), post(endpoint.url)]);
    assert.deepEqual(together.map(errorOf), ['reset', 'answered 200']);
    assert.deepEqual(endpoint.seen, ['1.1', '1.2', '2.1', '2.2']);
  });

  test('and spoken on while idle: what was said is not taken for the next answer', async (t) => {
    const sockets: net.Socket[] = [];
    const endpoint = await rawServer(t, (socket) => {
      sockets.push(socket);
      onRequests(socket, () => socket.write(OK));
    });
    const post = sending(t);
    assert.equal(statusOf(await post(endpoint)), 200);
    const [first] = sockets as [net.Socket];
    const closed = once(first, 'close');
    first.write(OK.replace('200 OK', '500 No'));
    await closed;
    assert.equal(statusOf(await post(endpoint)), 200);
    assert.equal(sockets.length, 2);
  });
});
