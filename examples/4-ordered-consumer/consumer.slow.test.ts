import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { serve } from '../2-fetch-receiver/serve.ts';
import { standard } from '../2-fetch-receiver/verify.ts';
import { arrivals, type Arrivals } from '../test/arrivals.ts';
import { startChild } from '../test/child.ts';
import { type Gateway, startGateway } from '../test/gateway.ts';
import { createConsumer } from './consumer.ts';
import { type Change, type Latest, openLatest } from './latest.ts';
import { subscribe } from './subscription.ts';

const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;

interface Applied extends Change {
  readonly isNews: boolean;
}

interface Scene {
  readonly gateway: Gateway;
  readonly latest: Latest;
  readonly url: string;
  readonly applied: Arrivals<Applied>;
}

/** `fails`: of request number n, from 1, whether it is answered with 500 before the consumer sees it; `apply`: in front of the real one. */
async function scene(
  t: TestContext,
  {
    schedule,
    fails = () => false,
    before = () => undefined,
  }: { schedule: readonly string[]; fails?: (n: number) => boolean; before?: (change: Change) => void },
): Promise<Scene> {
  const gateway = await startGateway(t);
  const latest = openLatest(':memory:');
  const applied = arrivals<Applied>();
  const consume = createConsumer({
    verify: standard({ secrets: [SECRET] }),
    apply(change) {
      before(change);
      return latest.apply(change);
    },
    onChange: (change, isNews) => applied.add({ ...change, isNews }),
  });
  let requests = 0;
  const server = serve(async (request) => (fails(++requests) ? new Response(null, { status: 500 }) : consume(request)), 0);
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
    latest.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
  await subscribe({
    url: gateway.address,
    key: gateway.key,
    id: 'ordered',
    topics: ['orders.*'],
    to: url,
    secret: SECRET,
    schedule,
  });
  return { gateway, latest, url, applied };
}

const ofKey = (applied: Arrivals<Applied>, key: string): string[] =>
  applied.all.filter((one) => one.key === key).map(({ data, isNews }) => `${data}${isNews ? '' : ' old'}`);

describe('the ordered consumer', { timeout: 60_000 }, () => {
  test('gets the changes of each key in order, though every third request fails', async (t) => {
    const numbers = Array.from({ length: 8 }, (_, at) => at + 1);
    const { gateway, applied, latest } = await scene(t, {
      schedule: Array.from({ length: 30 }, () => '10ms'),
      fails: (n) => n % 3 === 0,
    });
    const keys = ['a', 'b', 'Zoë/7'];
    const events = numbers.flatMap((n) =>
      keys.map((partitionkey) => ({ type: 'orders.changed', id: `${partitionkey}${n}`, partitionkey, data: n })),
    );
    assert.equal((await gateway.ask('POST /v1/events', events)).status, 202);
    await applied.some(events.length);
    for (const key of keys) assert.deepEqual(ofKey(applied, key), numbers.map(String));
    assert.equal(latest.get('Zoë/7')?.data, '8');
    await gateway.running.line(({ kind, status }) => kind === 'retry' && status === 500);

    const first = await gateway.delivery('ordered', 'a1', ({ outcome }) => outcome === 'delivered');
    assert.equal((await gateway.ask(`POST /v1/deliveries/${first.id}/retry`)).status, 202);
    await applied.some(events.length + 1);
    assert.deepEqual(ofKey(applied, 'a').at(-1), '1 old');
    assert.equal(latest.get('a')?.data, '8');
  });

  test('leaves a dead letter as it is, when it is redriven behind its successors', async (t) => {
    let isBroken = true;
    const before = ({ data }: Change): void => {
      if (isBroken && data === '2') throw new Error('not now');
    };
    t.mock.method(console, 'error', () => undefined);
    const { gateway, applied, latest } = await scene(t, { schedule: ['10ms'], before });
    for (const data of [1, 2, 3]) await gateway.publish({ type: 'orders.changed', partitionkey: 'a', data });
    await applied.some(2);
    isBroken = false;
    const {
      data: [letter],
    } = (await gateway.ask('GET /v1/dead-letters?subscription=ordered')).json;
    assert.equal((await gateway.ask(`POST /v1/dead-letters/${letter.id}/redrive`)).status, 202);
    await applied.some(3);
    assert.deepEqual(ofKey(applied, 'a'), ['1', '3', '2 old']);
    assert.equal(latest.get('a')?.data, '3');
  });

  test('refuses what is forged, and what has no key', async (t) => {
    const { gateway, url, applied } = await scene(t, { schedule: [] });
    assert.equal((await fetch(url, { method: 'POST', body: '{}' })).status, 401);
    const keyless = await gateway.publish({ type: 'orders.changed', data: 1 });
    const { attempts } = await gateway.delivery('ordered', keyless, ({ outcome }) => outcome === 'dead');
    assert.equal(attempts[0].cause, 'http_422');
    await gateway.publish({ type: 'orders.changed', partitionkey: 'a', data: 2 });
    await applied.some(1);
    assert.deepEqual(
      applied.all.map(({ data }) => data),
      ['2'],
    );
  });

  test('runs as its README says', async (t) => {
    const gateway = await startGateway(t);
    const child = startChild(t, [process.execPath, join(import.meta.dirname, 'start.ts')], {
      MILLRACE_URL: gateway.address,
      MILLRACE_KEY: gateway.key,
      STATE: join(temporary(t), 'latest.db'),
      PORT: '0',
      FAIL_EVERY: '2',
    });
    await child.printed(/subscribed as example-4/);
    for (const n of [1, 2]) await gateway.publish({ type: 'orders.changed', partitionkey: 'a', data: { n } });
    await child.printed(/a {2}\d{16} {2}\{"n":1\}\nrefused, to show what happens\na {2}\d{16} {2}\{"n":2\}\n/);
  });
});
