/** Lists over all subscriptions, and deliveries by what others know them by: the answers are those of a real gateway. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { endpoint } from './gateway.ts';
import { type Served, served } from './served.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

/** Asks page after page, until `next` is null. */
async function allPages({ run }: Served, args: readonly string[], limit: number): Promise<Json[]> {
  const rows: Json[] = [];
  let cursor: readonly string[] = [];
  for (;;) {
    const { exit, stdout, stderr } = await run([...args, '--limit', String(limit), '--json', ...cursor]);
    assert.equal(exit, 0, stderr);
    const { data, next } = JSON.parse(stdout);
    assert.ok(data.length <= limit);
    rows.push(...data);
    if (next === null) return rows;
    cursor = ['--cursor', next];
  }
}

const inOrder = (texts: readonly string[]): string[] => texts.toSorted();

const isWhole =
  (count: number) =>
  ({ stdout }: { readonly stdout: string }): boolean =>
    JSON.parse(stdout).data.length === count;

describe('dead letters of all subscriptions', { timeout: 30_000 }, () => {
  test('come page by page until next is null', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 422);
    for (const id of ['a', 'b', 'c']) await gateway.subscribe(id, url, { retry: { schedule: [] }, breaker: false });
    for (const id of ['1', '2', '3']) await gateway.publish(id);
    const whole = await gateway.until(['dead-letter', 'list', '--json'], isWhole(9));
    const all: Json[] = JSON.parse(whole.stdout).data;
    assert.equal(JSON.parse(whole.stdout).next, null);
    const died = all.map(({ diedAt }) => diedAt);
    assert.deepEqual(died, inOrder(died));
    for (const limit of [1, 2, 3, 9]) {
      const ids = (await allPages(gateway, ['dead-letter', 'list'], limit)).map(({ id }) => id);
      assert.deepEqual(inOrder(ids), inOrder(all.map(({ id }) => id)), `in pages of ${limit}`);
    }
    const shown = await gateway.run(['dead-letter', 'list'], { columns: 80, environment: { NO_COLOR: '1' } });
    assert.match(shown.stdout, /^DIED +SUBSCRIPTION +CAUSE +.*EVENT +WHY +DEAD LETTER\n/);
    assert.match(shown.stdout, / said the endpoint /);
    assert.ok(
      shown.stdout.split('\n').every(({ length }) => length <= 80),
      shown.stdout,
    );
    const { exit, stderr } = await gateway.run(['dead-letter', 'list', '--cursor', 'x']);
    assert.equal(exit, 2);
    assert.match(stderr, /this --cursor is not one of the list over all subscriptions/);
  });
});

describe('deliveries of all subscriptions', { timeout: 30_000 }, () => {
  test('come newest first, page by page, each once', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t);
    for (const id of ['a', 'b', 'c']) await gateway.subscribe(id, url);
    for (const id of ['1', '2', '3']) await gateway.publish(id);
    const whole = await gateway.until(['delivery', 'list', '--json'], isWhole(9));
    const all: Json[] = JSON.parse(whole.stdout).data;
    const times = all.map(({ attempts }) => attempts.at(-1).startedAt);
    assert.deepEqual(times, inOrder(times).toReversed());
    for (const limit of [1, 2, 4, 9]) {
      const pages = await allPages(gateway, ['delivery', 'list'], limit);
      assert.deepEqual(
        pages.map(({ id }) => id),
        all.map(({ id }) => id),
      );
    }
    assert.match((await gateway.must('delivery', 'list')).stdout, /^WHEN +SUBSCRIPTION +TOPIC +EVENT +OUTCOME +ANSWER/);
  });

  test('are found by outcome, with when they are tried next', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 503);
    const { url: fine } = await endpoint(t);
    await gateway.subscribe('bad', url, { retry: { schedule: ['4m'], jitter: 0 } });
    await gateway.subscribe('good', fine);
    await gateway.publish('1');
    await gateway.until(['delivery', 'list', '--json'], isWhole(2));
    const { stdout } = await gateway.must('delivery', 'list', '--outcome', 'retry');
    const narrow = await gateway.run(['delivery', 'list'], { columns: 80, environment: { NO_COLOR: '1' } });
    assert.ok(
      narrow.stdout.split('\n').every(({ length }) => length <= 80),
      narrow.stdout,
    );
    assert.match(narrow.stdout, /^WHEN +SUBSCRIPTION +EVENT +OUTCOME +ANSWER .*NEXT/);
    assert.match(stdout, /^WHEN .* NEXT +WEBHOOK-ID +DELIVERY\n.*\bbad\b.* in \d.*\n$/);
    assert.ok(!(await gateway.must('delivery', 'list', '--outcome', 'delivered')).stdout.includes('NEXT'));
    assert.equal((await gateway.must('delivery', 'list', '--outcome', 'dead')).stdout, '');
    const { exit, stderr } = await gateway.run(['delivery', 'list', '--status', 'dead']);
    assert.equal(exit, 2);
    assert.match(
      stderr,
      /unknown option '--status'\nDid you mean --outcome\? "millrace delivery list --help" lists its options\./,
    );
  });
});

describe('an event without an attempt', { timeout: 30_000 }, () => {
  test('may wait behind one of its key', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t, () => 503);
    await gateway.subscribe('my-orders', url, { ordering: 'key', retry: { schedule: ['1h'] }, breaker: false });
    for (const id of ['1', '2']) await gateway.publish(id, '--partition-key', 'k');
    const waits =
      /^No attempt yet\. 1 delivery of my-orders waits behind an earlier event of its key: millrace subscription get my-orders$/m;
    for (const more of [[], ['--subscription', 'my-orders']])
      await gateway.until(['delivery', 'list', '--event', '2', ...more], ({ stderr }) => waits.test(stderr));
    const { exit, stderr } = await gateway.run(['delivery', 'get', '2', '--subscription', 'my-orders']);
    assert.equal(exit, 4);
    assert.match(stderr, waits);
  });

  test('may wait for a paused subscription, or a breaker', async (t) => {
    const gateway = await served(t);
    const { url } = await endpoint(t);
    await gateway.subscribe('still', url);
    await gateway.must('subscription', 'pause', 'still');
    const args = ['delivery', 'list', '--event', 'evt_1'];
    assert.equal((await gateway.must(...args)).stderr, 'No attempt yet. still is paused: millrace subscription resume still\n');
    await gateway.subscribe('down', 'http://127.0.0.1:9/', { breaker: { failures: 1 } });
    await gateway.publish('1');
    await gateway.notice('breaker_open');
    const both = await gateway.until(args, ({ stderr }) => stderr.includes('down is down for'));
    assert.match(
      both.stderr,
      /^No attempt yet\. It may wait at one of these:\n {2}the endpoint of down is down for .* \(refused\)/,
    );
    const listed = (await gateway.must('subscription', 'list')).stdout;
    assert.match(listed, /^down +default +down for [\d.]+ m?s \(refused\) +>.*\nstill +default +paused +>/m);
    await gateway.must('subscription', 'resume', 'still');
    await gateway.must('subscription', 'delete', 'down', '--yes');
    assert.match((await gateway.must(...args)).stderr, /^Nothing waits at any subscription: no such event matched one/);
  });
});

describe('a delivery', { timeout: 30_000 }, () => {
  test('is known by what its receiver and its publisher call it', async (t) => {
    const gateway = await served(t);
    const good = await endpoint(t);
    await gateway.subscribe('a', good.url);
    const { id: event } = JSON.parse((await gateway.must('publish', 'orders.created', '1', '--json')).stdout);
    const { stdout } = await gateway.until(['delivery', 'list', '--json'], isWhole(1));
    const [{ id, webhookId }] = JSON.parse(stdout).data;
    for (const args of [[webhookId], [event], [webhookId, '--subscription', 'a'], [event, '--subscription', 'a']])
      assert.equal(JSON.parse((await gateway.must('delivery', 'get', ...args, '--json')).stdout).id, id);
    await gateway.must('delivery', 'retry', webhookId);
    assert.equal((await good.request(2)).headers['webhook-id'], webhookId);

    await gateway.subscribe('b', good.url);
    const { id: second } = JSON.parse((await gateway.must('publish', 'orders.created', '2', '--json')).stdout);
    await gateway.until(['delivery', 'list', '--event', second, '--json'], isWhole(2));
    const several = await gateway.run(['delivery', 'retry', second]);
    assert.deepEqual([several.exit, several.stdout], [2, '']);
    assert.match(
      several.stderr,
      /^2 deliveries are known by 'evt_.*\nName one of them:\n {2}millrace delivery retry \S+ +[ab], delivered\n/,
    );
    const none = await gateway.run(['delivery', 'get', 'msg_none']);
    assert.equal(none.exit, 4);
    assert.ok(!/GET|\?/.test(none.stderr), none.stderr);
  });
});
