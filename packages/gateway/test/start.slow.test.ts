/** `millrace start` as a person meets it: the first minute, the second start, and every way in which it can not start. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { ready, startProcess, temporary } from './process.ts';
import { listen, receiver } from './receivers.ts';

const start = (data: string, ...more: readonly string[]): string[] => ['dev', '--port', '0', '--data', data, '--json', ...more];

describe('millrace start', { timeout: 120_000 }, () => {
  test('the first minute: ready, a sample delivered and verified', async (t) => {
    const data = temporary(t);
    const running = startProcess(t, start(data));
    const { key, address } = await ready(running);
    const sample = await running.line(({ kind, verdict }) => kind === 'delivered' && verdict === 'verified');
    assert.equal(sample['topic'], 'millrace.sample');
    assert.equal(sample['status'], 204);
    for (const file of ['secret.key', 'admin-key']) assert.equal(statSync(join(data, file)).mode & 0o777, 0o600, file);
    assert.equal(readFileSync(join(data, 'admin-key'), 'utf8'), `${key}\n`);
    assert.equal(readFileSync(join(data, 'address'), 'utf8'), `${address}\n`);
    assert.equal(running.output.stdout.split(key).length, 2, 'the key is shown once');
  });

  test('whatever it makes in its data directory is for its user alone', async (t) => {
    if (process.platform === 'win32') return t.skip('Windows knows no such modes');
    const before = process.umask(0);
    t.after(() => process.umask(before));
    const data = join(temporary(t), 'data');
    const running = startProcess(t, start(data));
    await ready(running);
    await running.line(({ kind }) => kind === 'delivered');
    const modes = ['', ...readdirSync(data, { recursive: true, encoding: 'utf8' })].map((name) => {
      const found = statSync(join(data, name));
      return [name, (found.mode & 0o777).toString(8), found.isDirectory() ? '700' : '600'] as const;
    });
    for (const name of ['state.db', 'state.db-wal', 'address', '.gitignore', 'secret.key', 'segments'])
      assert.ok(
        modes.some(([found]) => found === name),
        name,
      );
    assert.deepEqual(
      modes.filter(([, mode, wanted]) => mode !== wanted),
      [],
    );
  });

  test('the curl line that people are shown works when pasted', async (t) => {
    const running = startProcess(t, ['dev', '--port', '0', '--data', temporary(t)]);
    const [, line = ''] = /Try {7}(curl .*)\n/.exec(await running.text('Ctrl-C')) ?? [];
    const pasted = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
    if (pasted.status === 127) return t.skip('curl is not installed');
    const { id } = JSON.parse(pasted.stdout) as { id: string };
    assert.match(await running.text(`${id}  → echo`), /signature verified/);
  });

  test('people read lines, without colour where nobody looks', async (t) => {
    const running = startProcess(t, ['dev', '--port', '0', '--data', temporary(t)]);
    const text = await running.text('signature verified');
    assert.match(text, /millrace \d+\.\d+\.\d+ {2}ready in \d+\.\d s/);
    assert.match(text, /Address {3}http:\/\/127\.0\.0\.1:\d+\n/);
    assert.match(text, /Key {7}mr_[a-z2-7]{8}_[a-z2-7]{40} /);
    assert.match(text, /Try {7}curl -sS /);
    assert.match(text, /millrace\.sample {2}evt_[a-z2-7]+ {2}→ echo {2}204 {2}\d+\.\d ms {2}signature verified/);
    assert.ok(!text.includes('\u001B'));
  });

  test('an undeclared topic is declared by its first event, and said so', async (t) => {
    const running = startProcess(t, start(temporary(t)));
    const { ask } = await ready(running);
    assert.equal((await ask('POST /v1/events', { type: 'parcels.sent', data: 1 })).status, 202);
    await running.line(({ kind, topic }) => kind === 'topic_declared' && topic === 'parcels.sent');
    await running.line(({ kind, topic }) => kind === 'delivered' && topic === 'parcels.sent');
  });

  for (const [verb, flag] of [
    ['dev', '--strict-topics'],
    ['start', '--json'],
  ] as const) {
    test(`with ${verb} ${flag} it is refused`, async (t) => {
      const data = temporary(t);
      const running = startProcess(t, [verb, '--port', '0', '--data', data, '--json', flag]);
      const { ask, key } = await ready(running, data);
      // What a production process prints ends up in logs.
      assert.equal(running.output.stdout.includes(key), verb === 'dev');
      assert.equal((await ask('POST /v1/events', { type: 'parcels.sent', data: 1 })).json.code, 'unknown_topic');
      assert.equal((await ask('PUT /v1/topics/parcels.sent')).status, 201);
      assert.equal((await ask('POST /v1/events', { type: 'parcels.sent', data: 1 })).status, 202);
    });
  }

  test('in production there is no sample, and the key is in its file alone', async (t) => {
    const data = temporary(t);
    const running = startProcess(t, ['start', '--port', '0', '--data', data, '--auto-topics', '--allow-egress', '10.0.0.0/8']);
    const text = await running.text('Ctrl-C');
    const key = readFileSync(join(data, 'admin-key'), 'utf8').trim();
    assert.ok(!text.includes(key));
    assert.match(text, /Endpoints public addresses, 10\.0\.0\.0\/8\n/);
    const address = readFileSync(join(data, 'address'), 'utf8').trim();
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    assert.equal((await fetch(`${address}/v1/subscriptions/echo`, { headers })).status, 404);
    const published = await fetch(`${address}/v1/events`, { method: 'POST', headers, body: '{"type":"parcels.sent"}' });
    assert.equal(published.status, 202, 'with --auto-topics');
  });

  test('the second start has the same key and subscriptions, and its receiver is found again', async (t) => {
    const data = temporary(t);
    const endpoint = await receiver(t);
    const first = startProcess(t, start(data));
    const before = await ready(first);
    const { secret } = (
      await before.ask('PUT /v1/subscriptions/mine', { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url } } })
    ).json;
    first.child.kill('SIGTERM');
    assert.equal(await first.ended, 0);

    const second = startProcess(t, start(data));
    const after = await ready(second);
    assert.equal(after.key, before.key);
    await second.line(({ kind, verdict }) => kind === 'delivered' && verdict === 'verified');
    await after.ask('POST /v1/events', { type: 'orders.created', data: 1 });
    const { headers, body } = await endpoint.request(1);
    assert.equal(headers['ce-type'], 'orders.created', 'the sample is none of its events');
    new Webhook(secret as string).verify(body.toString(), headers);
    assert.equal((await after.ask('GET /v1/apps/default/keys')).json.data.length, 1);
  });

  test('a start seals what an earlier version left readable among the headers of a subscription', async (t) => {
    const data = temporary(t);
    const first = startProcess(t, start(data));
    const { ask } = await ready(first);
    const webhook = { url: 'http://127.0.0.1:9', headers: { authorization: 'sealed once' } };
    assert.equal((await ask('PUT /v1/subscriptions/crm', { topics: ['parcels.>'], deliver: { webhook } })).status, 201);
    first.child.kill('SIGTERM');
    await first.ended;
    const inDatabase = <T>(use: (db: DatabaseSync) => T): T => {
      const db = new DatabaseSync(join(data, 'state.db'));
      try {
        return use(db);
      } finally {
        db.close();
      }
    };
    const stored = (db: DatabaseSync): string =>
      String(db.prepare("SELECT value FROM directory WHERE kind = 'subscription' AND id = 'crm'").get()?.['value']);
    inDatabase((db) => {
      const value = JSON.parse(stored(db)) as { deliver: { webhook: { headers: object; sealedHeaders?: object } } };
      delete value.deliver.webhook.sealedHeaders;
      value.deliver.webhook.headers = { authorization: 'left readable' };
      db.prepare("UPDATE directory SET value = ? WHERE kind = 'subscription' AND id = 'crm'").run(JSON.stringify(value));
    });
    const second = startProcess(t, start(data));
    const { json } = await (await ready(second)).ask('GET /v1/subscriptions/crm');
    assert.deepEqual(json.deliver.webhook.headers, { authorization: '***' });
    second.child.kill('SIGTERM');
    await second.ended;
    const text = inDatabase(stored);
    assert.ok(!text.includes('left readable') && text.includes('sealedHeaders'), text);
  });

  test('without the sample there is no built-in receiver, also where there was one', async (t) => {
    const data = temporary(t);
    const first = startProcess(t, start(data));
    assert.equal((await (await ready(first)).ask('GET /v1/subscriptions/echo')).status, 200);
    first.child.kill('SIGTERM');
    await first.ended;
    const { ask } = await ready(startProcess(t, start(data, '--no-sample')));
    assert.equal((await ask('GET /v1/subscriptions/echo')).status, 404);
  });

  test('killed at once, it delivers after the next start what it had accepted', async (t) => {
    const data = temporary(t);
    const held: ServerResponse[] = [];
    const endpoint = await receiver(t, (response, count) =>
      count === 1 ? void held.push(response) : void response.writeHead(204).end(),
    );
    const first = startProcess(t, start(data, '--no-sample'));
    const { ask } = await ready(first);
    await ask('PUT /v1/subscriptions/mine', { topics: ['>'], deliver: { webhook: { url: endpoint.url } } });
    assert.equal((await ask('POST /v1/events', { type: 'orders.created', data: { id: 1 } })).status, 202);
    await endpoint.request(1);
    first.child.kill('SIGKILL');
    await first.ended;
    await ready(startProcess(t, start(data, '--no-sample')));
    const again = await endpoint.request(2);
    assert.equal(again.headers['webhook-id'], endpoint.requests[0]?.headers['webhook-id']);
    assert.equal(again.body.toString(), '{"id":1}');
  });

  test('SIGTERM lets a delivery under way end, records it, and exits 0', async (t) => {
    const data = temporary(t);
    const held: ServerResponse[] = [];
    const endpoint = await receiver(t, (response) => void held.push(response));
    const first = startProcess(t, start(data, '--no-sample'));
    const { ask, address } = await ready(first);
    await ask('PUT /v1/subscriptions/mine', { topics: ['>'], deliver: { webhook: { url: endpoint.url } } });
    await ask('POST /v1/events', { type: 'orders.created', data: 1 });
    await endpoint.request(1);
    first.child.kill('SIGTERM');
    await first.line(({ kind }) => kind === 'stopping');
    held[0]?.writeHead(204).end();
    assert.equal(await first.ended, 0);
    await assert.rejects(fetch(`${address}/livez`));

    const second = await ready(startProcess(t, start(data, '--no-sample')));
    const { json } = await second.ask('GET /v1/deliveries?subscription=mine');
    assert.deepEqual(
      json.data.map((one: { outcome: string }) => one.outcome),
      ['delivered'],
    );
    assert.equal(endpoint.requests.length, 1);
  });

  test('SIGTERM waits for no ack of what was pulled: its door is closed, and it comes again as it was', async (t) => {
    const data = temporary(t);
    // Were it waited for, this test would end by its own bound.
    const first = startProcess(t, start(data, '--no-sample'), { MILLRACE_LIMIT: 'drainMs=600000' });
    const pull = [{ op: 'sub', group: 'mailer', credit: 1 }];
    const { ask } = await ready(first);
    await ask('PUT /v1/subscriptions/mailer', { topics: ['>'], deliver: { stream: { ackWait: '1h' } } });
    await ask('POST /v1/events', { type: 'orders.created', data: 1 });
    const [, msg] = (await ask('POST /v1/pull', pull)).json;
    first.child.kill('SIGTERM');
    assert.equal(await first.ended, 0);

    const second = await ready(startProcess(t, start(data, '--no-sample')));
    const [, again] = (await second.ask('POST /v1/pull', pull)).json;
    assert.deepEqual([again.id, again.attempt, again.idempotencyKey], [msg.id, 1, msg.idempotencyKey]);
  });

  test('a second signal ends it at once', async (t) => {
    const endpoint = await receiver(t, () => undefined);
    const running = startProcess(t, start(temporary(t), '--no-sample'));
    const { ask } = await ready(running);
    await ask('PUT /v1/subscriptions/mine', { topics: ['>'], deliver: { webhook: { url: endpoint.url } } });
    await ask('POST /v1/events', { type: 'orders.created', data: 1 });
    await endpoint.request(1);
    running.child.kill('SIGTERM');
    await running.line(({ kind }) => kind === 'stopping');
    running.child.kill('SIGINT');
    assert.equal(await running.ended, 130);
  });
});

describe('millrace start can not', { timeout: 120_000 }, () => {
  test('use a data directory that another process uses', async (t) => {
    const data = temporary(t);
    const first = startProcess(t, start(data, '--no-sample'));
    await ready(first);
    const second = startProcess(t, start(data));
    assert.equal(await second.ended, 1);
    assert.match(second.output.stderr, /is in use by another process \(process \d+\)\n.*another data directory/);
  });

  test('take a port that was asked for and is taken', async (t) => {
    const taken = new URL(await listen(t, net.createServer())).port;
    const running = startProcess(t, ['start', '--port', taken, '--data', temporary(t)]);
    assert.equal(await running.ended, 1);
    assert.match(running.output.stderr, new RegExp(`port ${taken} of 127\\.0\\.0\\.1 is taken\n`));
    const byEnvironment = startProcess(t, ['start', '--data', temporary(t)], { MILLRACE_PORT: taken });
    assert.equal(await byEnvironment.ended, 1);
  });

  test('keep the default port where it is taken: it takes the next free one and says so', async (t) => {
    const blocker = net.createServer().listen(4_400, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve).once('error', resolve)); // taken by somebody else is as good
    t.after(() => blocker.close());
    const running = startProcess(t, ['dev', '--no-sample'], { MILLRACE_DATA: temporary(t) });
    assert.match(await running.text('Ctrl-C'), /Address {3}http:\/\/127\.0\.0\.1:44[0-2]\d {2}\(port 4400 is taken\)/);
    // A proxy in front of it would look for it in vain.
    const inProduction = startProcess(t, ['start'], { MILLRACE_DATA: temporary(t) });
    assert.equal(await inProduction.ended, 1);
    assert.match(inProduction.output.stderr, /port 4400 of 127\.0\.0\.1 is taken/);
  });

  test('keep data in a file', async (t) => {
    const file = join(temporary(t), 'file');
    writeFileSync(file, '');
    const running = startProcess(t, ['start', '--port', '0', '--data', file]);
    assert.equal(await running.ended, 1);
    assert.match(running.output.stderr, /is a file, and data is kept in a directory\nName a directory/);
  });

  test('keep data where it may not write', async (t) => {
    if (!existsSync('/sys/kernel')) return t.skip('there is no /sys, where nobody may make a directory');
    const running = startProcess(t, ['start', '--port', '0', '--data', '/sys/millrace']);
    assert.equal(await running.ended, 1);
    assert.match(running.output.stderr, /may not read and write \/sys\/millrace|can only be read/);
    assert.match(running.output.stderr, /--data DIRECTORY\.\n$/);
    assert.ok(!running.output.stderr.includes('    at '), running.output.stderr);
  });

  test('read secrets without the key they were sealed with', async (t) => {
    const data = temporary(t);
    const first = startProcess(t, start(data));
    await ready(first);
    first.child.kill('SIGTERM');
    await first.ended;
    rmSync(join(data, 'secret.key'));
    const missing = startProcess(t, start(data));
    assert.equal(await missing.ended, 1);
    assert.match(missing.output.stderr, /secret\.key is missing/);
    assert.ok(!existsSync(join(data, 'secret.key')));
    for (const [text, said] of [
      [randomBytes(32).toString('base64'), /sealed with the key/],
      ['short', /does not hold 32 bytes/],
    ] as const) {
      writeFileSync(join(data, 'secret.key'), text);
      const wrong = startProcess(t, start(data));
      assert.equal(await wrong.ended, 1);
      assert.match(wrong.output.stderr, said);
      assert.ok(!wrong.output.stderr.includes('    at '), 'a stack is for surprises');
    }
  });

  test('write keys of the environment down: former ones are forgotten only in the file', async (t) => {
    const data = temporary(t);
    async function startsWith(keys?: string): Promise<void> {
      const running = startProcess(t, start(data), keys === undefined ? {} : { MILLRACE_SECRET_KEY: keys });
      await ready(running);
      await running.line(({ kind, verdict }) => kind === 'delivered' && verdict === 'verified');
      running.child.kill('SIGTERM');
      assert.equal(await running.ended, 0);
    }
    await startsWith();
    const file = readFileSync(join(data, 'secret.key'), 'utf8');
    const newer = randomBytes(32).toString('base64');
    await startsWith(`${newer},${file.trim()}`);
    assert.equal(readFileSync(join(data, 'secret.key'), 'utf8'), file);
    await startsWith(newer);
    assert.equal(readFileSync(join(data, 'secret.key'), 'utf8'), file);
    const former = startProcess(t, start(data));
    assert.equal(await former.ended, 1);
    assert.match(former.output.stderr, /sealed with the key/);
  });

  test('guess what was meant: a wrong argument is told, with exit code 2', async (t) => {
    const nowhere = join(temporary(t), 'not-made');
    for (const [args, said, environment] of [
      [[], /Usage: millrace/],
      [['strat'], /Did you mean start\?/],
      [['start', '--colour'], /unknown option '--colour'/],
      [['start', '--port', 'x'], /'--port <n>' argument 'x' is invalid/],
      [['start', '--port', '70000'], /whole number from 0 to 65535/],
      [['start'], /value 'x' from env 'MILLRACE_PORT' is invalid/, { MILLRACE_PORT: 'x' }],
      [['start', '--durability', 'maybe'], /Allowed choices are fsync, relaxed/],
      [['start', '--limit', 'many'], /name=value/],
      [['start', '--public-url', 'events.example', '--data', nowhere], /Write it like https:\/\/events\.example\.com/],
      [['start', '--limit', 'many=1', '--data', nowhere], /there is no limit 'many'\nList them: millrace limits/],
      [['start', '--data', nowhere], /there is no limit 'many'/, { MILLRACE_LIMIT: 'drainMs=1,many=1' }],
      [['start', '--allow-egress', 'a b', '--data', nowhere], /egress can not be allowed to "a b"/],
      [['start', '--data', nowhere], /egress can not be allowed to "a b"/, { MILLRACE_ALLOW_EGRESS: '10.0.0.0/8,a b' }],
      [['start', 'now'], /too many arguments/],
    ] as const) {
      const running = startProcess(t, args, environment);
      assert.equal(await running.ended, 2, args.join(' '));
      assert.match(running.output.stderr, said);
      assert.ok(!running.output.stderr.includes('    at '), running.output.stderr);
      assert.equal(running.output.stdout, '');
    }
    assert.ok(!existsSync(nowhere), 'nothing was opened by then');
  });

  test('be asked for help or its version in vain', async (t) => {
    const help = startProcess(t, ['dev', '--help']);
    assert.equal(await help.ended, 0);
    for (const word of ['--port', 'MILLRACE_PORT', '--data', '--durability', '--json', '--no-sample', '--allow-egress'])
      assert.ok(help.output.stdout.includes(word), word);
    const version = startProcess(t, ['--version']);
    assert.equal(await version.ended, 0);
    assert.match(version.output.stdout, /^\d+\.\d+\.\d+\n$/);
  });
});
