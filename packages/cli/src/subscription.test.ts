/** What `millrace subscription` says to people where the gateway's answer is one that a test must choose. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { serverFor } from '../test/server.ts';
import { type Ended, millrace } from '../test/world.ts';

const SUBSCRIPTION = {
  id: 'crm',
  app: 'default',
  topics: ['orders.*'],
  deliver: { webhook: { url: 'https://crm.example/', signature: 'standard', timeoutMs: 15_000, body: 'data', headers: {} } },
  retry: { schedule: ['5s', '5m'], jitter: 0.2 },
  ordering: 'none',
  onDead: 'release',
  concurrency: 16,
  breaker: { failures: 3, events: 10 },
  state: 'active',
  bounds: { parked: 1, parkedBytes: 2, held: 3, deadLetters: 4 },
  disableAfter: '5d',
  createdAt: '2026-11-23T17:20:00.000Z',
};

async function answered(t: TestContext, json: unknown, ...args: readonly string[]): Promise<Ended> {
  const { address } = await serverFor(t, () => ({ json }));
  return millrace(['subscription', ...args, '--url', address, '--key', 'mr_aaaaaaaa_b']);
}

describe('millrace subscription create', () => {
  const args = ['create', 'crm', '--topics', 'orders.*', '--to', 'https://crm.example/'];

  test('shows the secret near the top, with that it is shown once, and little more', async (t) => {
    const made = { ...SUBSCRIPTION, secret: 'whsec_x', warnings: ['mind the gap'] };
    const { exit, stdout, stderr } = await answered(t, made, ...args);
    const lines = stdout.trimEnd().split('\n');
    assert.deepEqual([exit, lines[0], lines[2]], [0, 'created crm', 'secret  whsec_x']);
    assert.match(lines[3] ?? '', /shown this once/);
    assert.ok(lines.length <= 10, stdout);
    assert.match(stdout, /^endpoint +https:\/\/crm\.example\/$/m);
    assert.match(stderr, /^warning: mind the gap\n.*millrace subscription test crm/);
  });

  test('with --json shows all of it', async (t) => {
    const made = { ...SUBSCRIPTION, secret: 'whsec_x', warnings: [] };
    assert.deepEqual(JSON.parse((await answered(t, made, ...args, '--json')).stdout), made);
  });
});

describe('millrace subscription test', () => {
  const none = { webhookId: 'msg_x', delivered: false, status: 0, durationMs: 1.2 };

  test('says that nothing answered, why, and the next command', async (t) => {
    const refused = { ...none, cause: 'refused', snippet: 'connect ECONNREFUSED 127.0.0.1:9' };
    const { exit, stdout, stderr } = await answered(t, refused, 'test', 'crm');
    assert.deepEqual([exit, stdout], [1, 'not delivered (refused)  no answer  1.2 ms  msg_x\n']);
    assert.match(stderr, /^No answer: connection refused \(connect ECONNREFUSED 127\.0\.0\.1:9\)\. Nothing listens there/);
    assert.match(stderr, /millrace subscription test crm; .*millrace subscription update crm --to URL/);
    assert.ok(!stderr.includes('It answered'));
  });

  test('does so for a key that is not told what the system said, and for a cause it does not know', async (t) => {
    assert.match(
      (await answered(t, { ...none, cause: 'timeout' }, 'test', 'crm')).stderr,
      /^No answer: no whole answer in time\. /,
    );
    assert.match((await answered(t, { ...none, cause: 'new_one' }, 'test', 'crm')).stderr, /^No answer: new_one\. /);
  });

  test('shows what did answer', async (t) => {
    const { exit, stderr } = await answered(t, { ...none, status: 500, cause: 'http_500', snippet: 'oh' }, 'test', 'crm');
    assert.equal(exit, 1);
    assert.match(stderr, /^It answered: oh\n/);
  });
});
