/** The compiled file under the Node that the system has, where that is an old one: no WebSocket there but that of the package ws. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, test } from 'node:test';
import { ready, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { startChild } from '../../examples/test/child.ts';
import { bundled } from './test/bundled.ts';

/** Without what npm puts first. */
const PATH = (process.env['PATH'] ?? '')
  .split(delimiter)
  .filter((folder) => !folder.includes('node_modules'))
  .join(delimiter);
const found = spawnSync('node', ['-p', 'process.execPath + " " + process.version'], {
  encoding: 'utf8',
  env: { ...process.env, PATH },
});
const [node = '', version = ''] = (found.stdout ?? '').trim().split(' ');
const major = Number(/^v(\d+)/.exec(version)?.[1] ?? 0);
const skip = major >= 20 && major < 26 ? false : `the system has no Node of 20 to 25 (${version || 'none'})`;

const PROGRAM = (ws: string): string => `
  import assert from 'node:assert/strict';
  import { connect, memoryStore, receiver, sendEvent, sign, sse, verify, webSocket, ws } from './millrace.mjs';
  import { WebSocket } from ${JSON.stringify(ws)};
  const [url, key] = process.argv.slice(2);
  const secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=='];
  const timestampSeconds = Math.floor(Date.now() / 1000);
  const signature = await sign({ id: 'a', timestampSeconds, body: '{}', secrets });
  const headers = { 'content-type': 'application/json', 'webhook-id': 'a', 'webhook-timestamp': String(timestampSeconds), 'webhook-signature': signature };
  await verify({ headers, body: '{}', secrets: secrets.slice(0, 1) });
  await verify({ headers, body: '{}', secrets: ['whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4='] });
  const serve = receiver({ secrets: secrets.slice(0, 1), store: memoryStore(), handle: () => undefined });
  assert.equal((await serve(new Request('https://a.test', { method: 'POST', headers, body: '{}' }))).status, 204);
  await sendEvent(url, key, { type: 'orders.created' });
  const gateway = connect({ url, key, transports: [globalThis.WebSocket ? ws : webSocket(WebSocket)] });
  const event = await new Promise((resolve) => {
    const options = { group: 'g', from: 'latest' };
    gateway.subscribe('orders.created', resolve, options).ready.then(() => gateway.sendEvent({ type: 'orders.created', data: 42 }));
  });
  assert.equal(event.data, 42);
  await gateway.close();
  console.log('all of it works on ' + process.version);
`;

describe(`under Node ${version}`, { timeout: 60_000, skip }, () => {
  test('the compiled SDK publishes, subscribes, acks, signs, verifies and receives', async (t) => {
    const folder = temporary(t);
    const running = startProcess(t, ['dev', '--port', '0', '--data', join(folder, 'data'), '--json', '--no-sample']);
    const { address, key } = await ready(running);
    writeFileSync(join(folder, 'millrace.mjs'), await bundled('esm'));
    writeFileSync(join(folder, 'program.mjs'), PROGRAM(import.meta.resolve('ws')));
    const child = startChild(t, [node, join(folder, 'program.mjs'), address, key]);
    assert.equal(await child.ended, 0, child.output());
    assert.match(child.output(), /all of it works on v2\d/);
  });
});
