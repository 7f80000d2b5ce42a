/** Where the workers of one process are reached by other nodes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import Fastify from 'fastify';
import { LIMITS } from './limits.ts';
import { openInside, reservePort } from './listen.ts';
import type { StartOptions } from './options.ts';
import { listen } from '../test/receivers.ts';

const OPTIONS = { host: '127.0.0.1', port: 4400 } as StartOptions;

test('a worker of a process that shares its store with none has a port of loopback for itself, and who comes early waits', async (t) => {
  const inside = await openInside({ ...OPTIONS, host: '0.0.0.0' }, 2, LIMITS);
  const url = new URL(inside.address);
  assert.equal(url.hostname, '127.0.0.1');
  const socket = connect(Number(url.port), '127.0.0.1');
  await once(socket, 'connect');
  socket.write('GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const app = Fastify();
  app.get('/who', async () => 'worker 2');
  await app.ready();
  t.after(() => app.close());
  inside.answerWith(app);
  const chunks: string[] = [];
  for await (const chunk of socket) chunks.push(String(chunk));
  assert.match(chunks.join(''), /worker 2$/);
  // A connection that is kept for further requests does not keep a worker from its end.
  const idle = connect(Number(url.port), '127.0.0.1');
  await once(idle, 'connect');
  idle.resume();
  await Promise.all([inside.close(), once(idle, 'close')]);
});

test('one of a process that shares its store with others has the port that is so much above, also where the others know it by another name', async (t) => {
  const port = await reservePort({ host: '127.0.0.1', port: 0 });
  const options = { ...OPTIONS, port: port - 1, store: 'postgres://x' };
  const plain = await openInside(options, 1, LIMITS);
  assert.equal(plain.address, `http://127.0.0.1:${port}`);
  await plain.close();
  const named = await openInside({ ...options, advertise: 'http://node-1.example:80' }, 1, LIMITS);
  t.after(() => named.close());
  assert.equal(named.address, 'http://node-1.example:81');
});

test('a port that somebody has is not reserved', async (t) => {
  const url = new URL(await listen(t, createServer()));
  await assert.rejects(reservePort({ host: '127.0.0.1', port: Number(url.port) }), /is taken/);
});
