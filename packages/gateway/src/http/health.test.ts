/** What a browser finds at the address that `millrace` prints. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { world } from '../../test/world.ts';

test('the front says what this is and where to go on, without a key, to whoever reads', { timeout: 30_000 }, async (t) => {
  const { app, ask } = await world(t);
  const { status, headers, text } = await ask('GET /', { key: '' });
  assert.deepEqual([status, headers['content-type']], [200, 'text/plain; charset=utf-8']);
  assert.match(text, /^Millrace 0\.0\.0\n/);
  const addresses = text.match(/\/(?:v1\/)?[a-z]+(?:\.json)?(?=[,:\n])/g) ?? [];
  assert.deepEqual(addresses, ['/openapi.json', '/livez', '/readyz', '/v1/health']);
  for (const address of addresses) assert.equal((await ask(`GET ${address}`, { key: '' })).status, 200, address);
  const head = await app.inject({ method: 'HEAD', url: '/' });
  assert.deepEqual([head.statusCode, head.payload], [200, '']);
  const posted = await app.inject({ method: 'POST', url: '/' });
  assert.deepEqual([posted.statusCode, posted.headers.allow], [405, 'GET, HEAD']);
});
