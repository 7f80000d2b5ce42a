/** Several threads over one store: each has a port of its own, here all of them in the thread of the test. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { receiveMessageOnPort } from 'node:worker_threads';
import type { Log } from '@millrace/gateway/ports/log';
import { leasesConformance } from '@millrace/conformance/leases-conformance';
import { joinEmbedded, openEmbeddedHost } from './embedded.ts';
import type { EmbeddedOptions, JoinedEmbedded } from './embedded.ts';
import { DAY_MS, entries, entry, keyed, positionsIn, positionsOf, readAll, START_MS, temporaryDirectory } from './testing.ts';

async function shared(context: TestContext, options: Partial<EmbeddedOptions> = {}) {
  const directory = temporaryDirectory();
  const host = await openEmbeddedHost({ directory: directory.path, now: () => START_MS, ...options });
  const open: JoinedEmbedded[] = [];
  context.after(async () => {
    for (const one of open) await one.close();
    await host.close();
    directory.remove();
  });
  const join = async (tailBytes = 1_000_000): Promise<JoinedEmbedded> => {
    const joined = await joinEmbedded({ port: host.share(), now: () => START_MS, tailBytes, onFailure: () => undefined });
    open.push(joined);
    return joined;
  };
  return { host, join };
}

/** Resolves once so much can be read without asking anybody to wait. */
async function heard(log: Log, count: number): Promise<readonly string[]> {
  for (;;) {
    const woken = Promise.withResolvers<void>();
    const stop = log.onAppend('0', woken.resolve);
    const positions = await positionsIn(log);
    if (positions.length >= count) {
      stop();
      return positions;
    }
    await woken.promise;
    stop();
  }
}

test('what one thread appends the others hear, whole and in the order of the log', async (context) => {
  const { join } = await shared(context);
  const [a, b] = [await join(), await join()];
  const listening = heard(b.log, 3);
  const mine = positionsOf(
    await a.log.append([entry({ id: '1', app: 'shop' }), entry({ id: '2', topic: 'x.y', environment: 'staging' })]),
  );
  const theirs = positionsOf(await b.log.append([entry({ id: '3', app: 'crm' })]));
  assert.deepEqual(await listening, [...mine, ...theirs]);
  assert.deepEqual(await heard(a.log, 3), [...mine, ...theirs]);
  const [one, two] = [await readAll(a.log), await readAll(b.log)];
  assert.deepEqual(
    two.map(({ environment, app, size, event: { id, type } }) => [environment, app, size, id, type]),
    one.map(({ environment, app, size, event: { id, type } }) => [environment, app, size, id, type]),
  );
});

test('appends of many threads at once stand in one order for all of them, without gaps', async (context) => {
  const { join } = await shared(context);
  const all = [await join(), await join(), await join()];
  await Promise.all(all.flatMap(({ log }) => Array.from({ length: 40 }, (_, n) => log.append(entries(n % 7, { bytes: n })))));
  const count =
    (await all[0]!.log.append([entry()]).then(positionsOf)).length +
    3 * Array.from({ length: 40 }, (_, n) => n % 7).reduce((a, b) => a + b);
  const [first, ...rest] = await Promise.all(all.map(({ log }) => heard(log, count)));
  assert.equal(new Set(first).size, count);
  for (const other of rest) assert.deepEqual(other, first);
});

test('a thread that does not listen is told where the log ends instead of all that was appended, and reads it from there', async (context) => {
  const { host, join } = await shared(context);
  const a = await join();
  const [seen, port] = [host.share(), host.share()];
  // Asked over the same port as both were made known by: from here on they hear.
  await host.directory.get('app', 'default', 'nobody');
  const positions: string[] = [];
  for (let n = 0; n < 60; n++) positions.push(...positionsOf(await a.log.append([entry({ id: String(n), bytes: 500_000 })])));
  const told: string[] = [];
  for (let next = receiveMessageOnPort(seen); next !== undefined; next = receiveMessageOnPort(seen))
    for (const one of (next.message as { heard?: object[] }).heard ?? []) told.push(...Object.keys(one));
  assert.ok(told.includes('appended'));
  assert.equal(told.at(-1), 'skippedTo');
  seen.close();
  const b = await joinEmbedded({ port, now: () => START_MS, tailBytes: 64 * 1024 * 1024 });
  context.after(() => b.close());
  assert.deepEqual(await heard(b.log, 60), positions);
  const [later] = positionsOf(await a.log.append([entry({ id: 'later' })]));
  assert.equal((await heard(b.log, 61)).at(-1), later);
});

test('a key that one thread has used is used for all', async (context) => {
  const { join } = await shared(context);
  const [a, b] = [await join(), await join()];
  const results = await Promise.all([a, b, a, b].map(({ log }) => log.append([keyed('k')])));
  const statuses = results.flat().map(({ status }) => status);
  assert.deepEqual(statuses.toSorted(), ['appended', 'duplicate', 'duplicate', 'duplicate']);
  assert.equal((await heard(b.log, 1)).length, 1);
});

test('what one thread configures the others hear, in its order, and it is there once it was told elsewhere', async (context) => {
  const { join } = await shared(context);
  const [a, b] = [await join(), await join()];
  const told: string[] = [];
  b.directory.watch(({ id, now }) => told.push(`${id} ${now?.version ?? 'gone'}`));
  await a.directory.put('app', 'default', 'shop', { name: '1', createdMs: 1 });
  await b.directory.put('app', 'default', 'shop', { name: '2', createdMs: 1 });
  await a.directory.put('app', 'default', 'shop', { name: '3', createdMs: 1 });
  await a.directory.delete('app', 'default', 'shop');
  b.hear();
  await Promise.resolve();
  assert.deepEqual(told, ['shop 1', 'shop 2', 'shop 3', 'shop gone']);
});

test('of writers of one resource one has its way, and the others learn so', async (context) => {
  const { join } = await shared(context);
  const all = [await join(), await join(), await join()];
  const tries = all.map(({ directory }, n) => directory.put('app', 'default', 'shop', { name: `${n}`, createdMs: 1 }, 'absent'));
  const results = await Promise.allSettled(tries);
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of results)
    if (result.status === 'rejected') assert.equal((result.reason as { code: string }).code, 'already_exists');
});

test('the retention that one thread declares hides events from all', async (context) => {
  const clock = { ms: START_MS };
  const directory = temporaryDirectory();
  const host = await openEmbeddedHost({ directory: directory.path, now: () => clock.ms });
  const [a, b] = [
    await joinEmbedded({ port: host.share(), now: () => clock.ms }),
    await joinEmbedded({ port: host.share(), now: () => clock.ms }),
  ];
  context.after(async () => {
    for (const one of [a, b, host]) await one.close();
    directory.remove();
  });
  await a.log.append([entry()]);
  assert.equal((await heard(b.log, 1)).length, 1);
  await a.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: DAY_MS });
  b.hear();
  clock.ms += DAY_MS + 1;
  assert.deepEqual(await positionsIn(b.log), []);
});

test('who joins later sees all that was there', async (context) => {
  const { join } = await shared(context);
  const a = await join();
  const before = positionsOf(await a.log.append(entries(3)));
  const b = await join();
  assert.deepEqual(await positionsIn(b.log), before);
  const [after] = positionsOf(await a.log.append(entries(1)));
  assert.equal((await heard(b.log, 4)).at(-1), after);
});

test('a thread that leaves takes nothing with it; when the store ends all are told', async (context) => {
  const directory = temporaryDirectory();
  context.after(() => directory.remove());
  const host = await openEmbeddedHost({ directory: directory.path });
  const failed = Promise.withResolvers<Error>();
  const [a, b] = [
    await joinEmbedded({ port: host.share() }),
    await joinEmbedded({ port: host.share(), onFailure: failed.resolve }),
  ];
  const append = a.log.append(entries(3));
  await a.close();
  await a.close();
  assert.equal((await append).length, 3);
  await assert.rejects(a.ledger.lanes(), { code: 'ledger_unavailable' });
  assert.equal((await heard(b.log, 3)).length, 3);
  await host.close();
  assert.match((await failed.promise).message, /ended/);
  await assert.rejects(b.log.append(entries(1)), { code: 'log_unavailable' });
  await assert.rejects(joinEmbedded({ port: host.share(), onFailure: () => undefined }), /ended/);
});

test('the leases of a thread that has ended are over at once', async (context) => {
  const { host, join } = await shared(context);
  const b = await join();
  const a = await joinEmbedded({ port: host.share() });
  const mine = a.openLeases({ node: 'a', address: 'http://a', leaseMs: 3_600_000 });
  const other = b.openLeases({ node: 'b', address: 'http://b', leaseMs: 3_600_000 });
  await Promise.all([mine.renew(0), other.renew(0)]);
  await mine.take([1]);
  assert.deepEqual(await other.take([1]), []);
  await a.close();
  // The end of a port is told after what was sent over it: by then another question of ours may be answered first.
  let taken = await other.take([1]);
  while (taken.length === 0) taken = await other.take([1]);
  assert.equal((await other.nodes()).length, 1);
});

leasesConformance({
  name: 'leases of the embedded store',
  async open() {
    const directory = temporaryDirectory();
    const host = await openEmbeddedHost({ directory: directory.path });
    const open: JoinedEmbedded[] = [await joinEmbedded({ port: host.share() }), await joinEmbedded({ port: host.share() })];
    const clock = { ms: 1_000 };
    let joined = 0;
    return {
      ledger: open[0]!.ledger,
      join: (node) =>
        open[joined++ % 2]!.openLeases({ node, address: `http://${node}`, leaseMs: 1_000, monotonic: () => clock.ms }),
      expire: () => void (clock.ms += 1_001),
      async close() {
        for (const one of open) await one.close();
        await host.close();
        directory.remove();
      },
    };
  },
});
