/** What an ack is worth when the process is killed behind it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { arrivals } from '../test/arrivals.ts';
import { startChild } from '../test/child.ts';
import { openSqliteInbox } from './inbox-sqlite.ts';
import type { Message } from './inbox.ts';
import { startWorker } from './worker.ts';

const DYING_WORKER = join(import.meta.dirname, '..', 'test', 'dying-worker.ts');

const message = (id: string): Message => ({ id, headers: { 'ce-type': 'orders.created' }, body: Buffer.from('{}') });

test('what a killed process had claimed is worked on by the next one, from the file', { timeout: 60_000 }, async (t) => {
  const path = join(temporary(t), 'inbox.db');
  const inbox = openSqliteInbox(path);
  assert.equal(await inbox.seen(message('a')), 'new');
  const child = startChild(t, [process.execPath, DYING_WORKER, path]);
  await child.printed(/works on a\n/);
  child.kill('SIGKILL');
  assert.equal(await child.ended, 'SIGKILL');

  const worked = arrivals<string>();
  const worker = startWorker({ inbox, work: async ({ id }) => worked.add(id) });
  t.after(async () => {
    await worker.stop();
    inbox.close();
  });
  await worked.some(1);
  assert.equal(await inbox.seen(message('a')), 'seen');
  assert.equal(await inbox.seen(message('b')), 'new');
  worker.wake();
  assert.deepEqual(await worked.some(2), ['a', 'b']);
});
