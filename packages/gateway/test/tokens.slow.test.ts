/** Tokens and quotas of a real process, across restarts and a new key for its secrets. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { ready, startProcess, temporary } from './process.ts';

const BIN = join(import.meta.dirname, '..', '..', 'cli', 'bin', 'millrace.js');

describe('millrace start', { timeout: 120_000 }, () => {
  test('keeps what signs tokens, what was revoked and what was counted', async (t) => {
    const data = temporary(t);
    const args = ['dev', '--port', '0', '--data', data, '--json', '--no-sample'];
    const first = startProcess(t, args);
    const { ask, address } = await ready(first);
    assert.equal((await ask('PATCH /v1/apps/default', { quotas: { eventsPerDay: 1_000 } })).status, 200);
    const grant = { scopes: ['publish'], topics: ['orders.*'] };
    const [kept, gone] = [(await ask('POST /v1/tokens', grant)).json, (await ask('POST /v1/tokens', grant)).json];
    const keys = createRemoteJWKSet(new URL(`${address}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(kept.token, keys, {
      algorithms: ['EdDSA'],
      typ: 'millrace+jwt',
      audience: kept.audience,
    });
    assert.equal(payload.jti, kept.jti);
    assert.equal((await publish(address, kept.token)).status, 202);
    assert.equal((await ask('POST /v1/tokens/revoke', { jti: gone.jti })).status, 204);
    first.child.kill('SIGTERM');
    assert.equal(await first.ended, 0);

    const rotated = spawnSync(process.execPath, [BIN, 'secret-key', 'rotate', '--data', data], { encoding: 'utf8' });
    assert.equal(rotated.status, 0, rotated.stderr);
    const second = await ready(startProcess(t, args));
    assert.equal((await publish(second.address, kept.token)).status, 202);
    const refused = await publish(second.address, gone.token);
    assert.deepEqual([refused.status, ((await refused.json()) as { code: string }).code], [401, 'token_revoked']);
    assert.equal((await second.ask('POST /v1/tokens', grant)).status, 201);
    assert.equal((await second.ask('GET /v1/apps/default/usage')).json.eventsToday, 2);
  });
});

function publish(address: string, token: string): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return fetch(`${address}/v1/events`, { method: 'POST', headers, body: '{"type":"orders.created"}' });
}
