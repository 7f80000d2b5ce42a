/** The backend of the page as a person starts it, also without what it needs: it says what is missing, in a line. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Child, startChild } from '../test/child.ts';
import { startGateway } from '../test/gateway.ts';

const BACKEND = join(import.meta.dirname, 'backend.ts');
const KEY = `mr_aaaaaaaa_${'a'.repeat(40)}`;

const backend = (t: TestContext, environment: Readonly<Record<string, string>>): Child =>
  startChild(t, [process.execPath, BACKEND], { PORT: '0', MILLRACE_URL: '', MILLRACE_KEY: '', ...environment });

async function refused(t: TestContext, said: RegExp, environment: Readonly<Record<string, string>>): Promise<void> {
  const child = backend(t, environment);
  assert.equal(await child.ended, 1, child.output());
  assert.match(child.output(), said);
  assert.equal(child.output().trim().split('\n').length, 1, child.output());
}

describe('the backend of the page', { timeout: 60_000 }, () => {
  test('without a key, or with what a README has in its place, says so', async (t) => {
    for (const key of ['', '…']) await refused(t, /^MILLRACE_KEY is to be a key of the app/, { MILLRACE_KEY: key });
  });

  test('without a gateway says that there is none', async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.close();
    await once(server, 'close');
    await refused(t, /can't be asked: .*ECONNREFUSED.* Is it running\?$/m, { MILLRACE_URL: url, MILLRACE_KEY: KEY });
  });

  test('with a key that the gateway refuses says what it said', async (t) => {
    const { address } = await startGateway(t);
    await refused(t, /^the group 'desk' can't be made: the key is not known.*Send the header/, {
      MILLRACE_URL: address,
      MILLRACE_KEY: KEY,
    });
  });

  test('says why no page gets a token while the app does not list its origin, and gives one when it does', async (t) => {
    const { address, ask } = await startGateway(t);
    await ask('PUT /v1/apps/shop', {});
    const { key } = (await ask('POST /v1/apps/shop/keys', { scopes: ['publish', 'subscribe', 'manage'] })).json;
    const child = backend(t, { MILLRACE_URL: address, MILLRACE_KEY: key });
    const [, page = ''] = await child.printed(/open (\S+)\n/);
    await child.printed(/^no page gets a token yet: '\S+' is none of the origins of the app 'shop'\. Add it/m);
    const none = await fetch(`${page}/token`, { method: 'POST' });
    assert.equal(none.status, 502);
    await child.printed(/^no page gets a token: '\S+' is none of the origins/m);
    await ask('PATCH /v1/apps/shop', { origins: [page] });
    const given = await fetch(`${page}/token`, { method: 'POST' });
    assert.equal(given.status, 200);
    assert.match(await (await fetch(page)).text(), /"integrity": \{ "http:\S+millrace\.js": "sha384-/);
  });

  test('is told of in the README by commands without anything to fill in', () => {
    const text = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8');
    const [, commands = ''] = /```sh\n([^]*?)```/.exec(text) ?? [];
    assert.match(commands, /MILLRACE_KEY=\$key npx node examples\/8-browser\/backend\.ts/);
    assert.ok(!/…|export MILLRACE_KEY/.test(commands), commands);
  });
});
