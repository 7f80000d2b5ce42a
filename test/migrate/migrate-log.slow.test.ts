/** The real command on real stores: a gateway on the embedded log, stopped, moved to NATS (and Postgres), and started there. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNats } from '@millrace/log-nats';
import { type Ready, ready, type Running, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { receiver } from '../../packages/gateway/test/receivers.ts';
import { findBroker } from '../../scripts/brokers/find.ts';
import { freePort } from '../../scripts/brokers/servers.ts';

const nats = await findBroker('nats');
const postgres = await findBroker('postgres');
after(() => nats.server?.remove());
after(() => postgres.server?.remove());

const SERVING = ['--json', '--auto-topics', '--allow-egress', 'loopback', '--limit', 'checkpointMs=100'];
/** Of one call of the API. */
const BATCH = 1_000;

async function gateway(
  t: TestContext,
  data: string,
  more: readonly string[] = [],
): Promise<Ready & { readonly running: Running }> {
  const port = more.includes('--store') ? String(await freePort()) : '0';
  const running = startProcess(t, ['start', '--port', port, '--data', data, ...SERVING, ...more]);
  return { ...(await ready(running, data)), running };
}

async function stop({ running }: { readonly running: Running }): Promise<void> {
  running.child.kill('SIGTERM');
  assert.equal(await running.ended, 0, running.output.stderr);
}

const moving = (t: TestContext, data: string, to: readonly string[]): Running =>
  startProcess(t, ['migrate-log', '--from', 'embedded', '--data', data, '--json', '--yes', ...to]);

async function moved(t: TestContext, data: string, to: readonly string[]) {
  const running = moving(t, data, to);
  assert.equal(await running.ended, 0, running.output.stderr);
  return running.line(({ kind }) => kind === 'migration');
}

/** Answers as told, and remembers which events it has taken. */
async function endpoint(t: TestContext, answer: (event: string) => number) {
  const taken: string[] = [];
  let wake = (): void => undefined;
  const made = await receiver(t, (response, count) => {
    const event = made.requests[count - 1]!.headers['ce-id']!;
    const status = answer(event);
    if (status === 204) taken.push(event);
    response.writeHead(status).end();
    wake();
  });
  return {
    url: made.url,
    taken,
    async until(isSo: () => boolean): Promise<void> {
      while (!isSo()) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

async function subscribe({ ask }: Ready, id: string, url: string, more: object = {}): Promise<void> {
  const { status, json } = await ask(`PUT /v1/subscriptions/${id}`, {
    topics: ['orders.*'],
    deliver: { webhook: { url } },
    ...more,
  });
  assert.equal(status, 201, JSON.stringify(json));
}

/** Events n, with the key n % 10. */
async function publish({ address, key }: Ready, from: number, count: number): Promise<void> {
  for (let at = from; at < from + count; at += BATCH) {
    const events = Array.from({ length: Math.min(BATCH, from + count - at) }, (_, i) => ({
      specversion: '1.0',
      type: 'orders.created',
      source: '/test',
      id: `${at + i}`,
      partitionkey: `${(at + i) % 10}`,
      data: { n: at + i, text: 'x'.repeat(200) },
    }));
    const response = await fetch(`${address}/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(events),
    });
    assert.equal(response.status, 202, await response.text());
  }
}

function keysInOrder(taken: readonly string[]): void {
  for (let key = 0; key < 10; key++) {
    const own = taken.map(Number).filter((n) => n % 10 === key);
    assert.deepEqual(
      own,
      own.toSorted((a, b) => a - b),
      `key ${key}`,
    );
  }
}

/** All of the API's list. */
async function list({ ask }: Ready, route: string): Promise<readonly Record<string, unknown>[]> {
  const { status, json } = await ask(`GET ${route}`);
  assert.equal(status, 200, JSON.stringify(json));
  return json.data;
}

describe('millrace migrate-log', { timeout: 240_000 }, () => {
  test(
    'to NATS: subscriptions go on where they were, in order, with what is parked, held and dead',
    { skip: nats.skip },
    async (t) => {
      const data = temporary(t);
      const log = `${nats.server!.url}?stream=MOVED&prefix=moved`;
      const good = await endpoint(t, () => 204);
      let isBetter = false;
      const flaky = await endpoint(t, (event) => (isBetter || Number(event) % 10 !== 3 ? 204 : 503));
      const bad = await endpoint(t, (event) => (isBetter || event !== '7' ? 204 : 503));
      const before = await gateway(t, data);
      await subscribe(before, 'good', good.url);
      await subscribe(before, 'flaky', flaky.url, { ordering: 'key', retry: { schedule: Array(20).fill('2s') }, breaker: false });
      await subscribe(before, 'bad', bad.url, { retry: { schedule: [] } });
      await publish(before, 0, 300);
      await good.until(() => good.taken.length === 300);
      await flaky.until(() => flaky.taken.length === 270);
      await bad.until(() => bad.taken.length === 299);
      await stop(before);

      const plan = await moved(t, data, ['--to', log, '--dry-run']);
      assert.deepEqual([plan['state'], plan['events'], plan['deadLetters']], ['planned', 300, 1]);
      assert.ok(!existsSync(join(data, 'migration.json')));
      const result = await moved(t, data, ['--to', log]);
      assert.deepEqual([result['state'], result['events'], result['subscriptions']], ['moved', 300, 3]);
      assert.deepEqual([result['deadLetters'], result['attempts']], [1, plan['attempts'] ?? result['attempts']]);
      assert.match(String(result['sha256']), /^[0-9a-f]{64}$/);
      assert.equal((await moved(t, data, ['--to', log]))['state'], 'already-moved');

      isBetter = true;
      const refused = startProcess(t, ['start', '--port', '0', '--data', data, ...SERVING]);
      assert.equal(await refused.ended, 1);
      assert.match(refused.output.stdout + refused.output.stderr, /was moved to nats:/);

      const now = await gateway(t, data, ['--log', log]);
      assert.equal(now.key, before.key);
      await flaky.until(() => flaky.taken.length === 300);
      keysInOrder(flaky.taken);
      const [letter] = await list(now, '/v1/dead-letters?subscription=bad');
      const redriven = await now.ask(`POST /v1/dead-letters/${String(letter!['id'])}/redrive`, {});
      assert.ok(redriven.status < 300, JSON.stringify(redriven.json));
      await bad.until(() => bad.taken.length === 300);
      const [delivery] = await list(now, '/v1/deliveries?subscription=good&event=42');
      assert.deepEqual([delivery!['outcome'], (delivery!['attempts'] as unknown[]).length], ['delivered', 1]);
      assert.match(String(delivery!['webhookId']), /^msg_/);

      await publish(now, 300, 20);
      for (const one of [good, flaky, bad]) await one.until(() => one.taken.includes('319') && one.taken.length >= 320);
      for (const one of [good, flaky, bad])
        assert.deepEqual(
          one.taken.map(Number).toSorted((a, b) => a - b),
          Array.from({ length: 320 }, (_, n) => n),
        );
      keysInOrder(flaky.taken);
      await stop(now);
    },
  );

  test(
    'a start on another log without it says that events are left behind, and so does doctor',
    { skip: nats.skip },
    async (t) => {
      const data = temporary(t);
      const log = `${nats.server!.url}?stream=LEFT&prefix=left`;
      const good = await endpoint(t, () => 204);
      const before = await gateway(t, data);
      await subscribe(before, 'good', good.url);
      await publish(before, 0, 10);
      await good.until(() => good.taken.length === 10);
      await stop(before);
      const now = await gateway(t, data, ['--log', log]);
      const said = await now.running.line(({ kind }) => kind === 'left_behind');
      assert.match(String(said['advice']), /millrace migrate-log --from embedded --to/);
      const { json } = await now.ask('GET /v1/health/checks');
      const { data: checks } = json as { data: { findings: { code: string }[] }[] };
      assert.ok(checks.some(({ findings }) => findings.some(({ code }) => code === 'log_left_behind')));
      await stop(now);
    },
  );

  test(
    'to NATS and Postgres, killed again and again: every event is there once',
    { skip: nats.skip || postgres.skip },
    async (t) => {
      const EVENTS = 5_000;
      const data = temporary(t);
      const log = `${nats.server!.url}?stream=KILLED&prefix=killed`;
      const to = ['--to', log, '--store', postgres.server!.url];
      const good = await endpoint(t, () => 204);
      const before = await gateway(t, data);
      await publish(before, 0, EVENTS);
      await subscribe(before, 'late', good.url, { ordering: 'key' });
      await publish(before, EVENTS, 100);
      await good.until(() => good.taken.length >= 100);
      await stop(before);
      const taken = good.taken.length;

      const stopped = moving(t, data, to);
      await stopped.line((line) => line['phase'] === 'copy');
      stopped.child.kill('SIGINT');
      assert.equal(await stopped.ended, 130, stopped.output.stderr);
      assert.match(stopped.output.stderr, /"The same command goes on where it was/);

      // real time: somewhere in each phase, at its beginning or later, is where it is killed
      for (const phase of ['copy', 'verify', 'ledger'])
        for (const delayMs of [0, 150]) {
          const running = moving(t, data, to);
          const isThere = running.line((line) => line.kind === 'progress' && line['phase'] === phase);
          // Where the last one came to its end before it was killed, there is nothing left to do.
          if ((await Promise.race([isThere, running.ended])) === 0) break;
          await sleep(delayMs);
          running.child.kill('SIGKILL');
          await running.ended;
        }
      assert.equal((await moved(t, data, to))['events'], EVENTS + 100);

      const there = await openNats({ servers: [nats.server!.url], stream: 'KILLED', subjectPrefix: 'killed' });
      t.after(() => there.close());
      const ids: string[] = [];
      for (let after = ''; ;) {
        const page = await there.read({ shard: 'KILLED', after, limit: 4_096, maxBytes: 8 * 1024 * 1024 });
        ids.push(...page.records.map(({ event }) => event.id));
        if (page.atEnd) break;
        after = page.through;
      }
      assert.deepEqual(
        ids,
        Array.from({ length: EVENTS + 100 }, (_, n) => `${n}`),
      );

      const now = await gateway(t, data, ['--log', log, '--store', postgres.server!.url]);
      await publish(now, EVENTS + 100, 100);
      await good.until(() => good.taken.includes(`${EVENTS + 199}`) && good.taken.length >= taken + 100);
      assert.deepEqual(
        good.taken
          .slice(taken)
          .map(Number)
          .toSorted((a, b) => a - b),
        Array.from({ length: 100 }, (_, n) => EVENTS + 100 + n),
      );
      keysInOrder(good.taken);
      await stop(now);
    },
  );
});
