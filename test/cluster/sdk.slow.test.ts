/** The SDK served by real processes: by any worker, over a data directory that an older gateway has left, and after a restart. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { openEmbedded } from '@millrace/embedded';
import { temporary } from '../../packages/gateway/test/process.ts';
import { startWorkersProcess } from './workers.ts';

const OLD = 'export const which="0.0.9";\n';

describe('the SDK of workers', { timeout: 120_000 }, () => {
  test('is the same whichever is asked, beside the version that was served before the upgrade, and after a restart', async (t) => {
    const data = temporary(t);
    const before = await openEmbedded({ directory: data, onFailure: (error) => assert.fail(error) });
    const sdk = { code: OLD, sha384: hash('sha384', OLD, 'base64'), bytes: OLD.length, gzipBytes: OLD.length, createdMs: 1 };
    await before.directory.put('sdk', 'default', '0.0.9', sdk, 'absent');
    await before.close();

    const first = await startWorkersProcess(t, { data, workers: 2 });
    // Each over a connection of its own; all of them at once, so that both workers are to make it.
    const manifests = await Promise.all(Array.from({ length: 12 }, () => first.ask('GET /sdk/manifest.json')));
    const [{ versions, latest }] = manifests.map(({ json }) => json);
    assert.deepEqual(
      versions.map((one: { version: string }) => one.version),
      [latest, '0.0.9'],
    );
    for (const { json } of manifests) assert.deepEqual(json, manifests[0]?.json);
    assert.equal((await first.ask('PATCH /v1/apps/default', { sdk: { pin: '0.0.9' } })).status, 200);
    for (let asked = 0; asked < 6; asked++)
      assert.equal((await first.ask('GET /sdk/millrace.js?app=default')).text, OLD, 'pinned on all workers');
    const scripts = await Promise.all(Array.from({ length: 6 }, () => first.ask(`GET ${versions[0].url}`)));
    for (const { text } of scripts) assert.equal(`sha384-${hash('sha384', text, 'base64')}`, versions[0].integrity);

    first.running.child.kill('SIGTERM');
    assert.equal(await first.running.ended, 0);
    const second = await startWorkersProcess(t, { data, workers: 2 });
    assert.deepEqual((await second.ask('GET /sdk/manifest.json')).json, manifests[0]?.json);
    assert.equal((await second.ask('GET /sdk/millrace.js?app=default')).text, OLD);
  });
});
