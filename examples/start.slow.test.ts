/** The receivers as a person runs them: `node start.ts`. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporary } from '../packages/gateway/test/process.ts';
import { startChild } from './test/child.ts';
import { startGateway } from './test/gateway.ts';

const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;
const at = (example: string): string => join(import.meta.dirname, example, 'start.ts');

for (const [example, signature] of [
  ['1-express-receiver', 'standard'],
  ['1-express-receiver', 'simple'],
  ['2-fetch-receiver', 'standard'],
  ['2-fetch-receiver', 'simple'],
] as const)
  test(`${example} runs as its README says, with the signature ${signature}`, { timeout: 60_000 }, async (t) => {
    const gateway = await startGateway(t);
    const environment = {
      PORT: '0',
      INBOX: join(temporary(t), 'inbox.db'),
      WEBHOOK_SECRETS: `whsec_${'A'.repeat(32)},${SECRET}`,
      WEBHOOK_SIGNATURE: signature,
    };
    const receiver = startChild(t, [process.execPath, at(example)], environment);
    const [, url = ''] = await receiver.printed(/receives on (\S+)\n/);
    await gateway.subscribe('example', { deliver: { webhook: { url, signature, secret: SECRET } } });
    await gateway.publish({ type: 'orders.created', data: { id: 42 } });
    await receiver.printed(/^orders\.created {2}msg_[a-z2-7]{26} {2}\{"id":42\}$/m);
    receiver.kill('SIGTERM');
    assert.equal(await receiver.ended, example.startsWith('1') ? 0 : 'SIGTERM');
    const listed = startChild(t, [process.execPath, at('1-express-receiver'), 'failed'], environment);
    assert.equal(await listed.ended, 0);
    assert.equal(listed.output(), '');
  });

test('without a secret neither starts', { timeout: 60_000 }, async (t) => {
  for (const example of ['1-express-receiver', '2-fetch-receiver']) {
    const receiver = startChild(t, [process.execPath, at(example)], { INBOX: ':memory:', WEBHOOK_SECRETS: '' });
    assert.equal(await receiver.ended, 1);
    assert.match(receiver.output(), /WEBHOOK_SECRETS is empty/);
  }
});
