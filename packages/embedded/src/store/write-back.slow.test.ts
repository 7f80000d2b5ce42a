/** Writing back: the write-ahead log stays short under a writer that never rests, with or without its thread. */
import assert from 'node:assert/strict';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryDirectory } from '../testing.ts';
import { openState } from './state.ts';
import { openWriteBack, type WriteBack } from './write-back.ts';

const PAGE_BYTES = 16_384;
const MB = 1024 * 1024;

interface Run {
  /** What the file of the log grew to. */
  readonly walBytes: number;
  readonly rows: number;
}

/** Transactions of some pages each, `mb` megabytes in all; as between two groups of questions, the loop turns after each. */
async function write(directory: string, mb: number, open: (state: ReturnType<typeof openState>) => WriteBack): Promise<Run> {
  mkdirSync(join(directory, 'segments'), { recursive: true });
  const state = openState(directory, { maxPageCount: undefined });
  const writeBack = open(state);
  state.db.exec('CREATE TABLE filler (number INTEGER PRIMARY KEY, bytes BLOB)');
  const add = state.db.prepare('INSERT INTO filler (bytes) VALUES (?)');
  const bytes = Buffer.alloc(12_000, 1);
  let walBytes = 0;
  for (let written = 0; written < mb * MB; written += 20 * PAGE_BYTES) {
    state.transaction(() => {
      for (let row = 0; row < 20; row++) add.run(bytes);
    });
    writeBack.look();
    walBytes = Math.max(walBytes, statSync(`${state.path}-wal`).size);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const rows = Number(state.db.prepare('SELECT count(*) AS count FROM filler').get()?.['count']);
  await writeBack.close();
  state.close();
  return { walBytes, rows };
}

function directoryOf(t: TestContext): string {
  const directory = temporaryDirectory();
  t.after(directory.remove);
  return directory.path;
}

test('the log begins anew again and again, and nothing of it is missing', async (t) => {
  const directory = directoryOf(t);
  const { walBytes, rows } = await write(directory, 300, ({ db, path }) => openWriteBack(db, path));
  assert.ok(walBytes < 200 * MB, `${Math.round(walBytes / MB)} MB`);
  assert.equal(rows, 960 * 20);
  const reopened = openState(directory, { maxPageCount: undefined });
  assert.equal(reopened.db.prepare('SELECT count(*) AS count FROM filler').get()?.['count'], rows);
  assert.equal(reopened.db.prepare('PRAGMA integrity_check').get()?.['integrity_check'], 'ok');
  reopened.close();
});

test('where its thread can not work, the commit thread does it, at 128 MB', async (t) => {
  const directory = directoryOf(t);
  const { walBytes } = await write(directory, 300, ({ db }) => openWriteBack(db, join(directory, 'nothing', 'here.db')));
  assert.ok(walBytes > 100 * MB && walBytes < 160 * MB, `${Math.round(walBytes / MB)} MB`);
});
