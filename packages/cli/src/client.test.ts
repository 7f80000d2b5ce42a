/** What stands between the command and the gateway, and how it is said. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Answer, serverFor } from '../test/server.ts';
import { errorOf, millrace, temporary } from '../test/world.ts';

const KEY = 'mr_aaaaaaaa_b';

async function asked(
  t: TestContext,
  answer: Answer,
  args: readonly string[] = ['topic', 'get', 'a'],
): ReturnType<typeof millrace> {
  const { address } = await serverFor(t, () => answer);
  return millrace([...args, '--url', address, '--key', KEY]);
}

const problem = (status: number, code: string): Answer => ({ status, json: { status, code, detail: 'it is so' } });

describe('the client', () => {
  test('says that nothing listens, and what to do', async () => {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    server.close();
    await once(server, 'close');
    const { exit, stdout, stderr } = await millrace(['topic', 'list', '--url', `127.0.0.1:${port}`]);
    assert.deepEqual([exit, stdout], [7, '']);
    assert.match(
      stderr,
      /can not be reached: nothing listens there\nIs it running\? Start one with "millrace dev", or name it: --url\.\n$/,
    );
  });

  test('says that a connection broke', async (t) => {
    const server = net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { exit, stderr } = await millrace([
      'topic',
      'list',
      '--url',
      `127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    ]);
    assert.equal(exit, 7);
    assert.match(stderr, /the connection broke/);
  });

  test('notices that somebody else answers', async (t) => {
    const { exit, stderr } = await asked(t, { status: 404, text: '<h1>Not found</h1>', type: 'text/html' });
    assert.equal(exit, 7);
    assert.match(stderr, /answers with status 404, but not as Millrace does\nIs another program listening there/);
  });

  test('follows no redirect', async (t) => {
    assert.equal((await asked(t, { status: 302 })).exit, 7);
  });

  for (const [status, code, exit] of [
    [401, 'unauthorized', 3],
    [403, 'forbidden', 3],
    [404, 'not_found', 4],
    [400, 'invalid_request', 5],
    [409, 'conflict', 6],
    [412, 'version_mismatch', 6],
    [503, 'overloaded', 7],
    [500, 'internal_error', 1],
  ] as const) {
    test(`ends with ${exit} for ${code}`, async (t) => {
      const ended = await asked(t, problem(status, code), ['topic', 'get', 'a', '--json']);
      assert.deepEqual([ended.exit, ended.stdout], [exit, '']);
      const { exit: told, code: named, message } = errorOf(ended);
      assert.deepEqual([told, named, message], [exit, code, 'it is so']);
    });
  }

  test('says where a key comes from to those who have none', async (t) => {
    const { address } = await serverFor(t, () => problem(401, 'unauthorized'));
    const { stderr } = await millrace(['topic', 'list', '--url', address]);
    assert.match(stderr, /Name a key: --key mr_… or MILLRACE_KEY/);
    assert.match((await asked(t, problem(401, 'unauthorized'))).stderr, /\(from --key\) is no key of this gateway/);
  });

  test('says of a key that is refused where it came from, and never what it is', async (t) => {
    const { address } = await serverFor(t, () => problem(401, 'unauthorized'));
    const directory = temporary(t);
    mkdirSync(join(directory, '.millrace'));
    const run = async (environment: NodeJS.ProcessEnv): Promise<string> => {
      const { exit, stderr } = await millrace(['topic', 'list', '--url', address], { directory, environment });
      assert.equal(exit, 3);
      assert.ok(!/mr_secret|mr_kept/.test(stderr), stderr);
      return stderr;
    };
    assert.match(await run({ MILLRACE_KEY: 'mr_secret' }), /\(from MILLRACE_KEY\) is no key of this gateway/);
    writeFileSync(join(directory, '.millrace', 'address'), address);
    writeFileSync(join(directory, '.millrace', 'admin-key'), 'mr_kept');
    assert.match(
      await run({ MILLRACE_KEY: 'mr_secret' }),
      /\(from MILLRACE_KEY, which goes before \S+\/\.millrace\/admin-key\) is no key/,
    );
    assert.match(await run({}), /\(from \S+\/\.millrace\/admin-key\) is no key/);
  });

  test('says of a key that is empty that it is', async (t) => {
    const { address } = await serverFor(t, () => problem(401, 'unauthorized'));
    const environment = { MILLRACE_KEY: ' ' };
    const { stderr } = await millrace(['topic', 'list', '--url', address], { directory: temporary(t), environment });
    assert.match(stderr, /MILLRACE_KEY is set, and empty\. Name a key: --key/);
    const flag = await millrace(['topic', 'list', '--url', address, '--key', '']);
    assert.deepEqual([flag.exit, /the key of --key is empty/.test(flag.stderr)], [2, true]);
  });

  test('puts lists together page by page', async (t) => {
    const { address, asked: requests } = await serverFor(t, ({ route }) => {
      const from = Number(/cursor=(\d+)/.exec(route)?.[1] ?? 0);
      const limit = Number(/limit=(\d+)/.exec(route)?.[1]);
      const data = Array.from({ length: Math.min(limit, 300) }, (_, at) => ({ topic: `t${from + at}`, createdAt: '' }));
      return { json: { data, next: String(from + data.length) } };
    });
    const { stdout } = await millrace(['topic', 'list', '--limit', '700', '--json', '--url', address]);
    const { data, next } = JSON.parse(stdout) as { data: { topic: string }[]; next: string };
    assert.deepEqual([data.length, data.at(-1)?.topic, next], [700, 't699', '700']);
    assert.deepEqual(
      (await requests(3)).map(({ route }) => /limit=(\d+)/.exec(route)?.[1]),
      ['500', '400', '100'],
    );
  });
});
