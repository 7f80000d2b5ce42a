/** The built SDK, as a project has it that copies the two files. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { writeSdk } from './sdk.ts';
import { ROOT } from './tree.ts';

const run = promisify(execFile);

const GOOD = `import { connect, type Gateway, ws } from './millrace.js';
const gateway: Gateway = connect({ url: 'https://x.example', getToken: async () => 'a', transports: [ws] });
gateway.subscribe('orders.*', ({ type }, { attempt }) => console.log(type.length + attempt), { group: 'mailer' });
`;

test('the built SDK is one script that runs and types that hold', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-sdk-'));
  t.after(() => rm(folder, { recursive: true }));
  const { files, integrity } = await writeSdk(folder);
  const [script = '', types = ''] = files;

  const code = await readFile(script);
  assert.equal(integrity, `sha384-${hash('sha384', code, 'base64')}`);
  assert.doesNotMatch(await readFile(types, 'utf8'), /import\(|from '/, 'it needs no other file');
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');

  const use = `import('./millrace.js').then(async ({ sign, verify }) => {
    const secret = 'whsec_' + btoa('0'.repeat(32)), id = 'a', timestampSeconds = Math.floor(Date.now() / 1000), body = '{}';
    const signature = await sign({ id, timestampSeconds, body, secrets: [secret] });
    const headers = { 'webhook-id': id, 'webhook-timestamp': String(timestampSeconds), 'webhook-signature': signature };
    await verify({ headers, body, secrets: [secret] });
    console.log('verified');
  })`;
  assert.equal((await run(process.execPath, ['-e', use], { cwd: folder })).stdout, 'verified\n');

  const check = async (source: string): Promise<string> => {
    await writeFile(join(folder, 'use.ts'), source);
    const options = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom', '--types', ''];
    const tsc = run(join(ROOT, 'node_modules', '.bin', 'tsc'), [...options, 'use.ts'], { cwd: folder });
    return tsc.then(
      () => '',
      ({ stdout }: { readonly stdout: string }) => stdout,
    );
  };
  assert.match(await check(GOOD.replace('type.length', 'type.nothing')), /use\.ts\(3,.*nothing/);
  assert.equal(await check(GOOD), '');
});
