import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, test } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { arrivals } from '../test/arrivals.ts';
import { openSqliteInbox } from './inbox-sqlite.ts';
import { createMemoryInbox, type Inbox, type InboxBounds, type Message } from './inbox.ts';
import { startWorker } from './worker.ts';

const message = (id: string): Message => ({ id, headers: { 'ce-type': 'orders.created' }, body: Buffer.from('{}') });

for (const [name, open] of [
  ['in memory', (_path: string, bounds: Partial<InboxBounds>): Inbox => createMemoryInbox(bounds)],
  ['in a file', openSqliteInbox],
] as const)
  describe(`an inbox ${name}`, () => {
    test('hands a message to one worker until the claim runs out, and heeds the later claim alone', async (t) => {
      let now = 1_000;
      const inbox = open(join(temporary(t), 'inbox.db'), { now: () => now });
      await inbox.seen(message('a'));
      const first = await inbox.claim(2_000);
      assert.equal(await inbox.claim(2_000), undefined);
      assert.equal(await inbox.nextDueMs(), 2_000);
      now = 2_000;
      const second = await inbox.claim(3_000);
      assert.deepEqual([first?.attempt, second?.attempt, second?.message.id], [1, 2, 'a']);
      if (first !== undefined) await inbox.fail(first, 'late');
      if (first !== undefined) await inbox.postpone(first, 0, 'late');
      assert.deepEqual([await inbox.failed(), await inbox.nextDueMs()], [[], 3_000]);
      await inbox.markSeen('a');
      assert.deepEqual([await inbox.nextDueMs(), await inbox.seen(message('a'))], [undefined, 'seen']);
    });

    test('knows the id of what is done as long as it was told, and no longer', async (t) => {
      let now = 1_000;
      const inbox = open(join(temporary(t), 'inbox.db'), { now: () => now, keepMs: 100 });
      await inbox.seen(message('a'));
      await inbox.claim(2_000);
      await inbox.markSeen('a');
      now = 1_099;
      assert.equal(await inbox.seen(message('a')), 'seen');
      now = 1_100;
      await inbox.seen(message('b'));
      await inbox.markSeen('b');
      assert.equal(await inbox.seen(message('a')), 'new');
    });

    test('is full at its bounds, and knows copies also then', async (t) => {
      const inbox = open(join(temporary(t), 'inbox.db'), { openMax: 1, failedMax: 1 });
      assert.deepEqual([await inbox.seen(message('a')), await inbox.seen(message('b'))], ['new', 'full']);
      const claim = await inbox.claim(Date.now() + 60_000);
      assert.ok(claim);
      await inbox.fail(claim, 'no');
      assert.deepEqual([await inbox.seen(message('b')), await inbox.seen(message('a'))], ['full', 'new']);
      assert.deepEqual([await inbox.seen(message('b')), await inbox.seen(message('a'))], ['full', 'seen']);
      await inbox.markSeen('a');
      assert.deepEqual([await inbox.seen(message('b')), await inbox.seen(message('a'))], ['new', 'seen']);
    });

    test('begins anew with what had failed and is sent once more', async (t) => {
      let now = 1_000;
      const inbox = open(join(temporary(t), 'inbox.db'), { now: () => now });
      await inbox.seen(message('a'));
      await inbox.claim(1_001);
      now = 1_001;
      const second = await inbox.claim(2_000);
      assert.ok(second);
      await inbox.fail(second, 'no');
      assert.deepEqual(
        (await inbox.failed()).map(({ id, attempts }) => [id, attempts]),
        [['a', 2]],
      );
      assert.equal(await inbox.seen(message('a')), 'new');
      assert.equal((await inbox.claim(2_000))?.attempt, 1);
    });

    test('does not bring back what is done, whoever is late with it', async (t) => {
      let now = 1_000;
      const inbox = open(join(temporary(t), 'inbox.db'), { now: () => now, keepMs: 100 });
      await inbox.seen(message('a'));
      const claim = await inbox.claim(2_000);
      assert.ok(claim);
      await inbox.markSeen('a');
      await inbox.postpone(claim, 1_000_000, 'late');
      await inbox.fail(claim, 'late');
      assert.deepEqual([await inbox.failed(), await inbox.nextDueMs()], [[], undefined]);
      now = 1_100;
      await inbox.seen(message('b'));
      await inbox.markSeen('b');
      assert.equal(await inbox.seen(message('a')), 'new');
    });
  });

test('in the file a message goes when it is done; its id stays', async (t) => {
  const path = join(temporary(t), 'inbox.db');
  const inbox = openSqliteInbox(path);
  await inbox.seen(message('a'));
  await inbox.markSeen('a');
  inbox.close();
  const database = new DatabaseSync(path);
  assert.deepEqual({ ...database.prepare('SELECT id, headers, body FROM inbox').get() }, { id: 'a', headers: null, body: null });
  database.close();
});

test('a message that ends its process again and again is given up in the end', async () => {
  const inbox = createMemoryInbox();
  await inbox.seen(message('a'));
  for (const attempt of [1, 2]) assert.equal((await inbox.claim(0))?.attempt, attempt);
  const failures = arrivals<string>();
  const work = async (): Promise<void> => assert.fail('it is not worked on');
  const worker = startWorker({ inbox, work, retryMs: [10], onFailed: (_, error) => failures.add(error) });
  assert.match((await failures.some(1))[0] ?? '', /process ended/);
  await worker.stop();
});

test('work that is deaf to its signal does not keep its place for ever', async () => {
  const inbox = createMemoryInbox();
  for (const id of ['a', 'b']) await inbox.seen(message(id));
  const failures = arrivals<string>();
  const work = (): Promise<void> => new Promise(() => undefined);
  const worker = startWorker({ inbox, work, workMs: 10, concurrency: 1, retryMs: [], onFailed: ({ id }) => failures.add(id) });
  assert.deepEqual(await failures.some(2), ['a', 'b']);
  await worker.stop();
});
