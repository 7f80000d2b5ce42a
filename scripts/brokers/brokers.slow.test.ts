import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Broker } from './broker.ts';
import { BrokerUnavailable } from './broker.ts';
import { runBrokers } from './brokers.ts';
import { findBroker } from './find.ts';
import { nats } from './nats.ts';
import { readRunning, writeRunning } from './running.ts';
import { freePort, isAlive, onPort, PortTaken, startServer, stopProcess } from './servers.ts';

/** A server of a few lines: says hello to whoever connects; its first argument is the port, its second how it takes SIGTERM. */
const HELLO = `
  process.on('SIGTERM', () => process.argv[2] === 'stubborn' || process.exit(0));
  require('node:net').createServer((socket) => socket.end('HELLO')).listen(Number(process.argv[1]), '127.0.0.1');
`;

function temporary(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-brokers-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function startHello(directory: string, port: number): Promise<number> {
  return startServer({
    path: process.execPath,
    args: ['-e', HELLO, `${port}`],
    logPath: join(directory, 'log'),
    port,
    taken: /EADDRINUSE/,
    async greet(socket) {
      const [said] = (await once(socket, 'data')) as [Buffer];
      assert.equal(said.toString(), 'HELLO');
    },
  });
}

const hello: Broker = {
  name: 'hello',
  prepare: async () => {},
  async start({ directory, port: asked }) {
    return onPort(asked, async (port) => {
      const pid = await startHello(directory, port);
      return { url: `hello://127.0.0.1:${port}`, port, pid, stop: () => stopProcess(pid) };
    });
  },
};

const missing: Broker = {
  ...hello,
  name: 'missing',
  prepare: () => Promise.reject(new BrokerUnavailable('it is not here', 'Get it.')),
};

function shell(context: TestContext) {
  // Stopped by what its files say, and so before they are removed: hooks run in the order they were made.
  context.after(() => run('down'));
  const cache = temporary(context);
  const run = async (...args: string[]) => {
    const lines: string[] = [];
    const code = await runBrokers(args, { brokers: [hello, missing], cache, say: (line) => lines.push(line) });
    return { code, lines };
  };
  return { cache, run };
}

describe('npm run brokers', () => {
  test('up starts a server, status knows its address, down stops it', async (t) => {
    const { cache, run } = shell(t);
    const { code, lines } = await run('up', 'hello');
    const running = readRunning(cache, 'hello');
    assert.ok(running !== undefined);
    assert.deepEqual({ code, lines }, { code: 0, lines: [`hello ${running.url}`] });
    assert.deepEqual((await run('status', 'hello')).lines, [`hello ${running.url}`]);
    assert.deepEqual((await run('status', '--json')).lines, [JSON.stringify({ hello: running, missing: null })]);
    assert.deepEqual((await run('down', 'hello')).lines, ['hello stopped']);
    assert.ok(!isAlive(running.pid));
    assert.deepEqual((await run('status', 'hello')).lines, ['hello not running']);
  });

  test('prepare makes one ready and starts nothing', async (t) => {
    const { cache, run } = shell(t);
    assert.deepEqual(await run('prepare', 'hello'), { code: 0, lines: ['hello ready'] });
    assert.equal(readRunning(cache, 'hello'), undefined);
    assert.equal((await run('prepare', 'missing')).code, 1);
  });

  test('up leaves a server alone that runs', async (t) => {
    const { cache, run } = shell(t);
    await run('up', 'hello');
    const before = readRunning(cache, 'hello');
    await run('up', 'hello');
    assert.deepEqual(readRunning(cache, 'hello'), before);
  });

  test('one that can not be had says what to do, and the others are started all the same', async (t) => {
    const { code, lines } = await shell(t).run('up', 'missing', 'hello');
    assert.equal(code, 1);
    assert.match(lines[0]!, /^hello hello:/);
    assert.deepEqual(lines.slice(1), ['missing: it is not here', '  → Get it.']);
  });

  test('a name or verb it does not know is answered with those it does', async (t) => {
    const { run } = shell(t);
    assert.deepEqual(await run('up', 'kafka'), { code: 1, lines: ['no such server: kafka; there are hello, missing'] });
    assert.match((await run('go')).lines[0]!, /up\|down\|status\|prepare/);
  });

  test('a server that has ended by itself is not running', async (t) => {
    const { cache, run } = shell(t);
    await run('up', 'hello');
    const running = readRunning(cache, 'hello')!;
    await stopProcess(running.pid);
    assert.equal(readRunning(cache, 'hello'), undefined);
    writeRunning(cache, 'hello', running);
    assert.deepEqual((await run('down', 'hello')).lines, ['hello was not running']);
  });
});

describe('a server', () => {
  test('takes another port when its own was taken in between', async (t) => {
    const other = createServer().listen(0, '127.0.0.1');
    t.after(() => other.close());
    await once(other, 'listening');
    const ports = [(other.address() as AddressInfo).port, await freePort()];
    const free = async () => ports.shift()!;
    const pid = await onPort(undefined, (port) => startHello(temporary(t), port), free);
    t.after(() => stopProcess(pid));
    assert.deepEqual(ports, []);
  });

  test('is given three ports at most, and no other than the one that was asked for', async () => {
    const tried: number[] = [];
    const taken = async (port: number) => {
      tried.push(port);
      throw new PortTaken();
    };
    const free = async () => tried.length + 1;
    await assert.rejects(onPort(undefined, taken, free), PortTaken);
    await assert.rejects(onPort(7, taken, free), PortTaken);
    assert.deepEqual(tried, [1, 2, 3, 7]);
  });

  test('that ends while it starts is told with what it printed', async (t) => {
    const failing = startServer({
      path: process.execPath,
      args: ['-e', 'console.error("no such luck"); process.exit(3)'],
      logPath: join(temporary(t), 'log'),
      port: await freePort(),
      taken: /EADDRINUSE/,
      greet: async () => {},
    });
    await assert.rejects(failing, /ended with 3\nno such luck/);
  });
});

describe('nats-server', () => {
  test('starts, answers, and keeps its data where it was told', async (t) => {
    const { server, skip } = await findBroker('nats');
    if (server === undefined) return t.skip(skip);
    t.after(() => server.remove());
    assert.equal(server.url, `nats://127.0.0.1:${server.port}`);
    assert.deepEqual(readdirSync(server.directory), ['nats-server.log', 'store']);
    await server.stop();
    assert.ok(!isAlive(server.pid));
  });

  test('that was never built is not built by a test, which names the command instead', async (t) => {
    await assert.rejects(nats.start({ cache: temporary(t), directory: temporary(t) }), {
      name: 'BrokerUnavailable',
      advice: 'Run npm run brokers -- up nats.',
    });
  });

  test('says what it needs where there is no Go', async (t) => {
    const path = process.env['PATH'];
    t.after(() => (process.env['PATH'] = path));
    process.env['PATH'] = temporary(t);
    await assert.rejects(
      nats.prepare(temporary(t), () => {}),
      { name: 'BrokerUnavailable', advice: /Install Go/ },
    );
  });
});
