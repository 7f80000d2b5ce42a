/** What the doctor says of subscriptions: the answers are those of a real gateway. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint } from './gateway.ts';
import { type Served, served } from './served.ts';

/** Its lines, once one of them is there. */
async function said(gateway: Served, part: string): Promise<readonly string[]> {
  const { stdout } = await gateway.until(['doctor'], (ended) => ended.stdout.includes(part));
  return stdout.trim().split('\n');
}

describe('the doctor of subscriptions', { timeout: 30_000 }, () => {
  test('says why an endpoint is down, since when, and when it is tried', async (t) => {
    const gateway = await served(t);
    await gateway.subscribe('crm', 'http://127.0.0.1:9/hooks', { breaker: { failures: 1 } });
    await gateway.publish('a');
    await gateway.notice('breaker_open');
    const [line = ''] = await said(gateway, 'its endpoint is down');
    assert.match(
      line,
      /^crm: its endpoint is down for [\d.]+ m?s \(refused\), (the next probe|a probe) .*millrace subscription test crm$/,
    );
    assert.equal((await gateway.run(['doctor'])).exit, 1);
  });

  test('says what disabled one', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 410);
    await gateway.subscribe('crm', url);
    await gateway.publish('a');
    const lines = await said(gateway, 'crm is disabled');
    assert.equal(lines[0], 'crm is disabled (gone). When its endpoint is well again: millrace subscription resume crm');
  });

  test('counts dead letters, and names the keys they hold', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 422);
    await gateway.subscribe('crm', url, { ordering: 'key', onDead: 'hold', retry: { schedule: [] }, breaker: false });
    await gateway.publish('a', '--partition-key', 'customer-7');
    await gateway.notice('dead');
    await gateway.publish('b', '--partition-key', 'customer-7');
    const [letters, keys] = await said(gateway, '1 delivery behind');
    assert.match(letters ?? '', /^crm: 1 dead letter waits for a decision\. .*millrace dead-letter redrive --subscription crm$/);
    assert.match(keys ?? '', /^crm: dead letters hold 1 key \('customer-7'\), 1 delivery behind them\. /);
  });

  test('names the last cause where nothing but failures came, and the bound where one is reached', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 503);
    await gateway.subscribe('crm', url, { retry: { schedule: ['1h'] }, breaker: false, concurrency: 1, bounds: { parked: 2 } });
    for (const id of ['a', 'b', 'c']) await gateway.publish(id);
    const lines = await said(gateway, "its bound 'parked'");
    assert.match(lines[0] ?? '', /^crm stands still at its bound 'parked'\. .*millrace subscription get crm$/);
    assert.match(
      lines[1] ?? '',
      /^crm: nothing but failures for \d.*\(last: http_503\), 2 deliveries wait for another attempt\. /,
    );
  });

  test('of what may be meant so changes no exit code', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t);
    await gateway.subscribe('crm', url, { topics: ['nothing.*'] });
    await gateway.subscribe('shop', url);
    await gateway.must('subscription', 'pause', 'shop');
    const { exit, stdout } = await gateway.run(['doctor']);
    assert.equal(exit, 0);
    assert.match(stdout, /^worth knowing: crm: no declared topic matches nothing\.\*\. .*millrace topic create NAME\.$/m);
    assert.match(stdout, /^worth knowing: shop is paused\. .*millrace subscription resume shop$/m);
    const { ok, key, checks } = JSON.parse((await gateway.run(['doctor', '--json'])).stdout);
    assert.deepEqual([ok, key.scopes], [true, ['admin']]);
    const { findings } = checks.find(({ name }: { readonly name: string }) => name === 'subscriptions');
    assert.deepEqual(
      findings.map(({ level }: { readonly level: string }) => level),
      ['note', 'note'],
    );
  });
});
