/** `millrace listen` as somebody uses it all day: events reach a local endpoint, also after the gateway was away. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { endpoint, gatewayIn } from './gateway.ts';
import { millrace, start, temporary } from './world.ts';

interface Told {
  readonly kind: string;
  readonly secret?: string;
  readonly event?: { readonly id: string };
  readonly webhookId?: string;
  readonly status?: number;
  readonly cause?: string;
}

const linesOf = (text: string): Told[] => text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));

describe('millrace listen', { timeout: 120_000 }, () => {
  test('forwards signed events, byte for byte, with a secret that is shown once', async (t) => {
    const directory = temporary(t);
    await gatewayIn(t, directory, ['--no-sample']);
    const { url, request } = await endpoint(t);
    const before = await millrace(['publish', 'orders.created', '{"n":12345678901234567890, "x": 1.0}'], { directory });
    assert.equal(before.exit, 0, before.stderr);
    const first = await millrace(['listen', 'orders.*', '--to', url, '--from', 'earliest', '--count', '1', '--json'], {
      directory,
    });
    assert.equal(first.exit, 0);
    const [made, listening, forwarded] = linesOf(first.stdout);
    assert.deepEqual(
      [made?.kind, listening?.kind, forwarded?.kind, forwarded?.status],
      ['secret', 'listening', 'forwarded', 204],
    );

    const { headers, body } = await request(1);
    assert.equal(body, '{"n":12345678901234567890, "x": 1.0}');
    new Webhook(made?.secret ?? '').verify(body, headers);
    assert.deepEqual(
      [headers['ce-type'], headers['content-type'], headers['x-idempotency-key'], headers['webhook-id']],
      ['orders.created', 'application/json', forwarded?.webhookId, forwarded?.webhookId],
    );
    const path = join(directory, '.millrace', 'listen-secret');
    assert.deepEqual([statSync(path).mode & 0o777, readFileSync(path, 'utf8')], [0o600, `${made?.secret}\n`]);

    const second = await millrace(['listen', 'orders.*', '--to', url, '--from', 'earliest', '--count', '1'], { directory });
    assert.ok(!(second.stdout + second.stderr).includes(made?.secret ?? ''), 'not shown again');
    assert.match(second.stdout, /orders\.created {2}evt_\w+ {2}204 {2}\d+\.\d ms\n$/);
    assert.equal((await request(2)).headers['webhook-id'], forwarded?.webhookId, 'the same event has the same id');
  });

  test('goes on where it stopped after the gateway was away, on another port', async (t) => {
    const directory = temporary(t);
    const gateway = await gatewayIn(t, directory, ['--no-sample']);
    const { url, request, requests } = await endpoint(t);
    const interruption = new AbortController();
    t.after(() => interruption.abort());
    const running = start(['listen', 'orders.*', '--to', url], { directory, interrupted: interruption.signal });
    await running.until('Ctrl-C ends');
    await millrace(['publish', 'orders.created', '1'], { directory });
    await request(1);

    await gateway.stop();
    await running.until('connection lost');
    const again = await gatewayIn(t, directory, ['--no-sample']);
    // It may be published before the reader is back: that is the point.
    const { stdout } = await millrace(['publish', 'orders.created', '2', '--json'], { directory });
    await running.until('connected again; going on where it stopped');
    await running.until(JSON.parse(stdout).id);
    assert.deepEqual(
      requests.map(({ body }) => body),
      ['1', '2'],
    );
    interruption.abort();
    const { exit, stderr } = await running.ended;
    assert.equal(exit, 130);

    const [, cursor = ''] = /--cursor (\S+)/.exec(stderr) ?? [];
    await millrace(['publish', 'orders.created', '3'], { directory });
    await millrace(['listen', 'orders.*', '--to', url, '--cursor', cursor, '--count', '1'], { directory });
    assert.equal((await request(3)).body, '3');
    await again.stop();
  });

  test('says what it can not show: a log that is another one', async (t) => {
    const directory = temporary(t);
    const gateway = await gatewayIn(t, directory, ['--no-sample']);
    const interruption = new AbortController();
    t.after(() => interruption.abort());
    const running = start(['tail', '--json'], { directory, interrupted: interruption.signal });
    await running.until('Ctrl-C ends');
    await gateway.stop();
    await running.until('"kind":"lost"');
    for (const name of ['state.db', 'state.db-wal', 'state.db-shm', 'segments'])
      rmSync(join(directory, '.millrace', name), { recursive: true, force: true });
    rmSync(join(directory, '.millrace', 'admin-key'));
    const again = await gatewayIn(t, directory, ['--no-sample']);
    await running.until('"kind":"gap"');
    await running.until('the log is another one than before');
    const { stdout } = await millrace(['publish', 'orders.created', '1', '--json'], { directory });
    await running.until(JSON.parse(stdout).id);
    assert.deepEqual(
      linesOf(running.stdout)
        .filter(({ kind }) => kind !== 'lost')
        .map(({ kind, event }) => kind ?? event?.id),
      ['back', 'gap', JSON.parse(stdout).id],
    );
    await again.stop();
  });

  test('waits for an endpoint that is not there yet, and names what it refused', async (t) => {
    const directory = temporary(t);
    await gatewayIn(t, directory, ['--no-sample']);
    const refusing = await endpoint(t, () => 500);
    await millrace(['publish', 'orders.created', '1'], { directory });
    const failed = await millrace(['listen', 'orders.*', '--to', refusing.url, '--from', 'earliest', '--count', '1', '--json'], {
      directory,
    });
    const last = linesOf(failed.stdout).at(-1);
    assert.deepEqual([last?.kind, last?.status], ['failed', 500]);

    const gone = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => gone.once('listening', resolve));
    const { port } = gone.address() as { readonly port: number };
    await new Promise((resolve) => gone.close(resolve));
    const running = start(['listen', 'orders.*', '--to', String(port), '--from', 'earliest', '--count', '1'], { directory });
    await running.until('refused; trying again in');
    const back = createServer((_, response) => void response.writeHead(204).end()).listen(port, '127.0.0.1');
    t.after(() => {
      back.closeAllConnections();
      back.close();
    });
    const { exit, stdout } = await running.ended;
    assert.equal(exit, 0);
    assert.match(stdout, / 204 /);
  });

  test('refuses what is no URL, and a gateway that is not there', async (t) => {
    const directory = temporary(t);
    assert.equal((await millrace(['listen', 'a'], { directory })).exit, 2);
    assert.equal((await millrace(['listen', '--to', '3000'], { directory })).exit, 2);
    assert.match((await millrace(['listen', 'a', '--to', 'ftp://x'], { directory })).stderr, /is no URL/);
    assert.ok(!existsSync(join(directory, '.millrace')), 'nothing was made by then');
    const away = await millrace(['listen', 'a', '--to', '3000', '--url', '127.0.0.1:1'], { directory });
    assert.equal(away.exit, 7);
    assert.equal(readFileSync(join(directory, '.millrace', '.gitignore'), 'utf8'), '*\n');
    writeFileSync(join(directory, '.millrace', 'listen-secret'), 'short');
    const broken = await millrace(['listen', 'a', '--to', '3000', '--url', '127.0.0.1:1'], { directory });
    assert.match(broken.stderr, /holds no secret.*\nRemove the file/);
  });
});
