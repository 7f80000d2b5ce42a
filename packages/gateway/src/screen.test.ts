/** What people and programs read of a gateway that is ready. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_PORT, type StartOptions } from './options.ts';
import { createScreen, type Ready } from './screen.ts';

const OPTIONS: StartOptions = {
  mode: 'dev',
  host: '127.0.0.1',
  port: DEFAULT_PORT,
  portChosen: false,
  data: '.millrace',
  durability: 'fsync',
  json: false,
  sample: true,
  strictTopics: false,
  allowEgress: [],
  limits: {},
  metrics: 'loopback',
};

function shown(options: Partial<StartOptions>, ready: Partial<Ready> = {}): string {
  let text = '';
  const stream = { write: (more: string) => void (text += more), on: () => undefined } as unknown as NodeJS.WriteStream;
  const all = { ...OPTIONS, ...options };
  const port = DEFAULT_PORT;
  createScreen({ json: all.json, stdout: stream, stderr: stream }).ready({
    version: '1.2.3',
    address: `http://127.0.0.1:${port}`,
    port,
    key: 'mr_key',
    options: all,
    startedMs: 900,
    ...ready,
  });
  return text;
}

describe('the screen', () => {
  test('of a gateway on all addresses says so and names one to use', () => {
    assert.match(
      shown({ host: '0.0.0.0' }),
      /Address {3}http:\/\/127\.0\.0\.1:4400 {2}\(listens on all addresses of this machine: 0\.0\.0\.0\)\n/,
    );
  });

  test('says why the port is another one', () => {
    assert.match(shown({}, { port: 4401 }), /\(port 4400 is taken\)/);
    assert.doesNotMatch(shown({ portChosen: true }, { port: 4401 }), /is taken/);
  });

  test('shows the key to try things out with, and not in production', () => {
    assert.match(shown({}), /Key {7}mr_key {2}\(admin; kept in \.millrace\/admin-key\)/);
    assert.match(shown({}), /Try {7}curl .*mr_key/);
    assert.doesNotMatch(shown({ mode: 'start', sample: false }), /mr_key/);
    assert.match(
      shown({ mode: 'start', sample: false, allowEgress: ['10.0.0.0/8'] }),
      /Endpoints public addresses, 10\.0\.0\.0\/8/,
    );
  });

  test('says in one line that the environment holds another key, and not what it is', () => {
    for (const mode of ['dev', 'start'] as const) {
      const text = shown({ mode, sample: false }, { isOtherKeySet: true });
      assert.equal(text.match(/MILLRACE_KEY/g)?.length, 1);
      assert.match(text, /^ {2}MILLRACE_KEY is set here, to another key than this one: .*\n\n/m);
      assert.doesNotMatch(shown({ mode, sample: false }), /MILLRACE_KEY/);
    }
  });

  test('tells programs address, port and, once, the key', () => {
    const text = shown({ json: true });
    const { kind, address, port, key } = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual([kind, address, port, key], ['ready', 'http://127.0.0.1:4400', 4400, 'mr_key']);
    assert.equal(text.split('mr_key').length, 2);
  });

  test('tells what happened before it was ready behind the address, not before it', () => {
    let text = '';
    const stream = { write: (more: string) => void (text += more), on: () => undefined } as unknown as NodeJS.WriteStream;
    const screen = createScreen({ json: false, stdout: stream, stderr: stream });
    for (let n = 0; n < 60; n++) screen.notice({ kind: 'log_failing', code: `early-${n}` });
    assert.equal(text, '');
    const address = 'http://127.0.0.1:4400';
    screen.ready({ version: '1.2.3', address, port: DEFAULT_PORT, key: 'mr_key', options: OPTIONS, startedMs: 900 });
    assert.ok(text.indexOf('early-0') > text.indexOf('Ctrl-C'));
    assert.ok(text.includes('early-49') && !text.includes('early-50'));
    screen.stopped();
    assert.match(text, /… and 10 more/);
  });

  test('says what a plain client wrote in vain, and where to look, but not a line for each of thousands', () => {
    let text = '';
    const write = (more: string) => void (text += more);
    const stream = { write, on: () => undefined, writableLength: 0 } as unknown as NodeJS.WriteStream;
    const screen = createScreen({ json: false, stdout: stream, stderr: stream });
    const address = 'http://127.0.0.1:4400';
    screen.ready({ version: '1.2.3', address, port: DEFAULT_PORT, key: 'mr_key', options: OPTIONS, startedMs: 900 });
    const where = { environment: 'default', topic: 'orders.created' };
    for (let n = 0; n < 5_000; n++) screen.notice({ kind: 'rejected', ...where, code: 'invalid_json', detail: 'it is no JSON' });
    screen.stopped();
    const lines = text.match(
      /on orders\.created can not be an event \(invalid_json: it is no JSON\).* millrace topic rejects orders\.created/g,
    );
    assert.ok(lines !== null && lines.length < 1_000);
    assert.match(text, /… and \d+ more/);
  });

  test('says of a stream that it was acked, and names no endpoint when it is disabled', () => {
    let text = '';
    const write = (more: string) => void (text += more);
    const stream = { write, on: () => undefined, writableLength: 0 } as unknown as NodeJS.WriteStream;
    const screen = createScreen({ json: false, stdout: stream, stderr: stream });
    const address = 'http://127.0.0.1:4400';
    screen.ready({ version: '1.2.3', address, port: DEFAULT_PORT, key: 'mr_key', options: OPTIONS, startedMs: 900 });
    text = '';
    const of = { environment: 'default', subscription: 'mailer' };
    const event = { webhookId: 'msg_x', eventId: 'evt_x', topic: 'orders.created', n: 1, durationMs: 4 };
    screen.notice({ kind: 'delivered', ...of, ...event, cause: '', status: 0 });
    screen.notice({ kind: 'disabled', ...of, cause: 'failing' });
    assert.match(text, /evt_x {2}→ mailer {2}acked {2}4\.0 ms\n/);
    assert.match(text, /mailer: disabled, as nothing was delivered for too long/);
    assert.ok(!text.includes('endpoint'), text);
  });

  test('of several workers says how many, and whose a notice is', () => {
    assert.match(shown({ mode: 'start', sample: false, workers: 3 }), /Workers {3}3 threads on this port/);
    assert.doesNotMatch(shown({ mode: 'start', sample: false }), /Workers/);
    let text = '';
    const stream = { write: (more: string) => void (text += more), on: () => undefined } as unknown as NodeJS.WriteStream;
    const screen = createScreen({ json: true, stdout: stream, stderr: stream });
    screen.notice({ kind: 'slots_taken', count: 3, now: 3 }, undefined, 2);
    screen.workerEnded({ worker: 2, error: new Error('x'), againMs: 500 });
    assert.match(text, /"kind":"slots_taken","count":3,"now":3,"worker":2\}/);
    assert.match(text, /"kind":"worker_ended","worker":2,"message":"Error: x[^"]*","againMs":500\}/);
  });
});
