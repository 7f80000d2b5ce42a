import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sizeOf, tooMany } from './sdk-size.ts';

describe('sizes of the SDK', () => {
  test('are of what is imported, and of nothing else', async () => {
    const [verify, ws, all] = await Promise.all([
      sizeOf({ name: 'verify', imports: 'verify', most: 1 }),
      sizeOf({ name: 'ws', imports: 'ws', most: 1 }),
      sizeOf({ name: 'all', most: 1_000_000 }),
    ]);
    assert.ok(verify.gzipBytes < verify.minifiedBytes && verify.minifiedBytes < all.minifiedBytes / 5);
    assert.ok(ws.minifiedBytes < all.minifiedBytes / 5);
    assert.match(tooMany([verify, all]).join(), /^verify: \d+ of 1 bytes compressed, \d+ minified: \d+ too many$/);
  });

  test('count what is imported wrongly as a failure, not as nothing', async () => {
    await assert.rejects(sizeOf({ name: 'x', imports: 'no_such_export', most: 1 }), /No matching export/);
  });
});
