/** Who may ask log and store how they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { world } from '../../test/world.ts';

test('an admin is told what log and store say of themselves, and nobody else', { timeout: 30_000 }, async (t) => {
  const { ask, key } = await world(t);
  const { status, json } = await ask('GET /v1/health/checks');
  assert.deepEqual(
    [status, json],
    [
      200,
      {
        data: [
          { name: 'log', findings: [] },
          { name: 'store', findings: [] },
        ],
      },
    ],
  );
  const shop = await key('shop', ['publish', 'subscribe', 'manage']);
  assert.equal((await ask('GET /v1/health/checks', { key: shop })).json.code, 'forbidden');
  assert.equal((await ask('GET /v1/health/checks', { key: '' })).status, 401);
});
