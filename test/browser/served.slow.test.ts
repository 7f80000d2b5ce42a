/** Where the page of examples/8-browser has its SDK from: the gateway, as the app's rule has it, and no other bytes than the manifest says. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openEmbedded } from '@millrace/embedded';
import { buildSdk, SDK_SOURCE } from '../../packages/gateway/src/sdk/build.ts';
import { temporary } from '../../packages/gateway/test/process.ts';
import { chromium } from '../../scripts/runtimes/chromium.ts';
import { findRuntime } from '../../scripts/runtimes/find.ts';
import { stage } from './stage.ts';

const { path, skip } = findRuntime(chromium);

/** What a gateway of before has left: an SDK that says of itself that it is the old one. */
async function leaveOld(directory: string): Promise<void> {
  const code = `globalThis.sdkOfBefore=true;${await buildSdk(SDK_SOURCE)}`;
  const sizes = { bytes: Buffer.byteLength(code), gzipBytes: gzipSync(code).length };
  const before = await openEmbedded({ directory, onFailure: (error) => assert.fail(error) });
  await before.directory.put(
    'sdk',
    'default',
    '0.0.9',
    { code, sha384: hash('sha384', code, 'base64'), ...sizes, createdMs: 1 },
    'absent',
  );
  await before.close();
}

describe('the SDK of a page in Chromium', { timeout: 120_000, skip }, () => {
  test('comes from the gateway, in the version of the app, and with the digest of the manifest or not at all', async (t) => {
    const data = temporary(t);
    await leaveOld(data);
    const { open, ask, cable, browser, page: address } = await stage(t, { path, data });
    const manifest = async () => (await ask('GET /sdk/manifest.json?app=shop')).json.app;

    // The version of the gateway, as nothing else is said.
    const { url, integrity, why } = await manifest();
    assert.equal(why, 'latest');
    const desk = await open('ws');
    assert.deepEqual(desk.sdks, [cable.url + url]);
    const map = JSON.parse((await desk.page.textContent('script[type=importmap]')) ?? '');
    assert.deepEqual(map, { imports: { millrace: cable.url + url }, integrity: { [cable.url + url]: integrity } });
    assert.equal(await desk.page.evaluate('globalThis.sdkOfBefore'), undefined);

    // The app pins that of before: so it is with the next page, and it works with this gateway.
    assert.equal((await ask('PATCH /v1/apps/shop', { sdk: { pin: '0.0.9' } })).status, 200);
    await desk.load();
    assert.equal(desk.sdks.at(-1), `${cable.url}/sdk/0.0.9/millrace.js`);
    assert.equal(await desk.page.evaluate('globalThis.sdkOfBefore'), true);
    await desk.order('ten');
    await desk.until(() => desk.seen.upTo(desk.source) === 10 && desk.worked.upTo(desk.source) === 10);

    // Somebody between gateway and page changes it: no line of it runs.
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route('**/sdk/**', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `globalThis.stolen=true;${await response.text()}` });
    });
    const refused = page.waitForEvent('console', (message) => message.type() === 'error' && /integrity/.test(message.text()));
    await page.goto(address);
    await refused;
    assert.equal(await page.evaluate('globalThis.stolen'), undefined);
    assert.equal(await page.textContent('#state'), 'idle');
    // Nobody between: a browser of its own, as the other one keeps what it was given.
    const other = await (await browser.newContext()).newPage();
    await other.goto(address);
    await other.waitForSelector('#state.open');
    assert.deepEqual(desk.breaches, []);
  });
});
