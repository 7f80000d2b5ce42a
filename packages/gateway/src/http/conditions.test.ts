/** PUTs that count only where there is nothing yet. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { world } from '../../test/world.ts';

const PLACES: Readonly<Record<string, object>> = {
  'topics/parcels.sent': { retention: '1d' },
  'apps/mail': { name: 'Mail' },
  'subscriptions/s': { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } },
};

describe('a PUT with If-None-Match', { timeout: 30_000 }, () => {
  for (const [place, json] of Object.entries(PLACES)) {
    test(`makes ${place}, and leaves it as it is where it is there`, async (t) => {
      const { ask } = await world(t);
      const put = (headers: Record<string, string> = {}): ReturnType<typeof ask> => ask(`PUT /v1/${place}`, { json, headers });
      const made = await put({ 'if-none-match': '*' });
      assert.equal(made.status, 201, made.text);
      const etag = String(made.headers.etag);
      for (const value of ['*', etag, `"other", ${etag}`]) {
        const refused = await put({ 'if-none-match': value });
        assert.deepEqual([refused.status, refused.json.code], [412, 'version_mismatch'], value);
      }
      assert.equal((await ask(`GET /v1/${place}`)).headers.etag, etag);
      assert.equal((await put({ 'if-none-match': '"other"' })).status, 200);
      assert.equal((await put()).status, 200);
    });
  }
});
