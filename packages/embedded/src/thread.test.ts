import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startThread } from './thread.ts';
import { entries, START_MS, temporaryDirectory, testStore } from './testing.ts';

test('when the thread dies, all that waits and all that comes later is rejected, and somebody is told', async (context) => {
  const directory = temporaryDirectory();
  context.after(() => directory.remove());
  const told = Promise.withResolvers<Error>();
  const setup = {
    directory: directory.path, relaxed: false, segmentBytes: 1e6, segmentMs: 1e6, maxBytes: Infinity,
    maxPageCount: undefined, damaged: 'refuse', nowMs: START_MS, fault: undefined,
  } as const; // prettier-ignore
  const thread = await startThread({ setup, now: () => START_MS, onFailure: told.resolve });
  // No batch the packer makes: the thread takes it for the bug that it is.
  const impossible = { count: 9, buffer: new ArrayBuffer(1), topics: [], apps: [], texts: '' };
  const waiting = [thread.ask('append', impossible), thread.ask('lanes', null), thread.ask('bounds', null)];
  const codes = (await Promise.allSettled(waiting)).map(
    (result) => result.status === 'rejected' && (result.reason as { code: string }).code,
  );
  assert.deepEqual(codes, ['log_unavailable', 'ledger_unavailable', 'log_unavailable']);
  assert.ok((await told.promise) instanceof RangeError);
  await assert.rejects(thread.ask('lanes', null), { code: 'ledger_unavailable' });
  await thread.close();
  const again = await startThread({ setup, now: () => START_MS, onFailure: told.reject });
  assert.equal(again.ready.end, 0);
  await again.close();
});

test('closing settles what is in flight, and what comes later is refused', async (context) => {
  const store = testStore(context);
  const { log, ledger, directory, close } = await store.open();
  const appends = Array.from({ length: 50 }, () => log.append(entries(20)));
  const commit = ledger.commit({ slots: [{ slot: 1, shard: '0', cursor: { log: 'l', position: '', timeMs: 1, idHash: '' } }] });
  await Promise.all([close(), close()]);
  assert.equal((await Promise.all(appends)).flat().length, 1_000);
  await commit;
  await assert.rejects(log.append(entries(1)), { code: 'log_unavailable' });
  await assert.rejects(ledger.lanes(), { code: 'ledger_unavailable' });
  await assert.rejects(directory.get('app', 'default', 'a'), { code: 'ledger_unavailable' });
  assert.equal((await (await store.open()).ledger.slots()).length, 1);
});

test('a directory that can not be made is refused, with the reason', async (context) => {
  const { openEmbedded } = await import('./embedded.ts');
  const store = testStore(context);
  const file = join(store.path, 'file');
  writeFileSync(file, '');
  // /proc answers ENOENT to whoever makes a directory there; elsewhere it is an ordinary missing root.
  const impossible = process.platform === 'linux' ? ['/proc/nothing', file] : [file];
  for (const directory of impossible)
    await assert.rejects(openEmbedded({ directory }), { code: 'log_unavailable', message: /ENOENT|ENOTDIR/ });
});

test('one process can not open one directory twice', async (context) => {
  const store = testStore(context);
  await store.open();
  const { openEmbedded } = await import('./embedded.ts');
  await assert.rejects(openEmbedded({ directory: store.path }), { code: 'data_directory_locked' });
});
