/** The example with the SDK, as its README says. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporary } from '../packages/gateway/test/process.ts';
import { startChild } from './test/child.ts';
import { startGateway } from './test/gateway.ts';

const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;
const at = (file: string): [string, string] => [process.execPath, join(import.meta.dirname, '7-sdk', file)];

test('a worker does what it is sent, and what it publishes reaches a receiver once', { timeout: 60_000 }, async (t) => {
  const gateway = await startGateway(t);
  for (const topic of ['orders.created', 'orders.paid']) await gateway.ask(`PUT /v1/topics/${topic}`, {});
  const receiver = startChild(t, at('receiver.ts'), { PORT: '0', SEEN: join(temporary(t), 'seen.db'), WEBHOOK_SECRETS: SECRET });
  const [, url = ''] = await receiver.printed(/receives on (\S+)\n/);
  await gateway.subscribe('paid', { topics: ['orders.paid'], deliver: { webhook: { url, secret: SECRET } } });
  const worker = startChild(t, at('worker.ts'), { MILLRACE_URL: gateway.address, MILLRACE_KEY: gateway.key });
  await worker.printed(/works on orders\.created\n/);
  const id = await gateway.publish({ type: 'orders.created', data: { id: 42, amount: 150 } });
  await worker.printed(new RegExp(`^orders\\.created  ${id}  \\{"id":42,"amount":150\\}  attempt 1$`, 'm'));
  await receiver.printed(/^orders\.paid {2}msg_[a-z2-7]{26} {2}\{"id":42,"amount":150\}$/m);
  worker.kill('SIGTERM');
  assert.equal(await worker.ended, 0, worker.output());
});
