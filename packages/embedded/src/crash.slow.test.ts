import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import type { Embedded, EmbeddedOptions } from './embedded.ts';
import { hasCode, keyed, readAll, testStore } from './testing.ts';
import type { TestStore } from './testing.ts';

const WRITER = fileURLToPath(new URL('./testing-writer.ts', import.meta.url));

type Writer = ChildProcessByStdio<null, Readable, null>;

function startWriter({ path }: TestStore, round: number, options: Partial<EmbeddedOptions>): Writer {
  return spawn(process.execPath, [WRITER, path, `${round}`, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
}

interface Said {
  readonly appended: Map<string, string>;
  commits: number;
}

/** Listens until the writer has ended; kills it once it has said `killAfter` lines. */
async function listen(writer: Writer, killAfter: number): Promise<Said> {
  const said: Said = { appended: new Map(), commits: 0 };
  const exited = once(writer, 'exit');
  let lines = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    const [what, subject, position] = line.split(' ') as [string, string, string];
    if (what === 'a') said.appended.set(subject, position);
    if (what === 'c') said.commits = Number(subject);
    if (++lines === killAfter) writer.kill('SIGKILL');
  }
  const [, signal] = (await exited) as [unknown, string];
  assert.equal(signal, 'SIGKILL');
  return said;
}

/** Everything that was ever acknowledged is there, at its position, once; and so is every key. */
async function holdsAll({ log }: Embedded, appended: ReadonlyMap<string, string>): Promise<void> {
  const records = await readAll(log, { limit: 1_000 });
  const byId = new Map(records.map((record) => [record.event.id, record.position]));
  assert.equal(byId.size, records.length, 'no event is there twice');
  for (const [key, position] of appended) assert.equal(byId.get(key), position);
  const keys = [...byId.keys()];
  const again = await log.append(keys.map((key) => keyed(key)));
  assert.deepEqual(
    again.map((result) => [result.status, result.status === 'duplicate' && result.position]),
    keys.map((key) => ['duplicate', byId.get(key)]),
  );
}

async function isWhole({ ledger }: Embedded, round: number, commits: number): Promise<void> {
  const [row] = (await ledger.lanes()).filter(({ lane }) => lane === `sub${round}.0`);
  const at = Number(row?.cursor.position ?? 0);
  assert.ok(at >= commits, `commit ${commits} was acknowledged, the cursor is at ${at}`);
  const attempts = await ledger.attempts({ subscription: `sub${round}`, limit: 1_000_000 });
  assert.equal(attempts.length, at * 3);
}

test('a process killed at any instant keeps all it acknowledged, and takes each key once', async (context) => {
  const store = testStore(context);
  const appended = new Map<string, string>();
  for (let round = 0; round < 6; round++) {
    const said = await listen(startWriter(store, round, { segmentBytes: 50_000 }), 2 + Math.floor(Math.random() * 400));
    for (const [key, position] of said.appended) appended.set(key, position);
    const embedded = await store.open({ segmentBytes: 50_000 });
    await holdsAll(embedded, appended);
    await isWhole(embedded, round, said.commits);
    await embedded.log.trim();
    await holdsAll(embedded, appended);
    await store.close();
  }
  assert.ok(store.segments().length > 2);
});

for (const at of ['building', 'built', 'synced', 'renamed', 'listing', 'listed'] as const) {
  test(`a process killed while sealing, at '${at}', keeps all it acknowledged`, async (context) => {
    const store = testStore(context);
    const said = await listen(startWriter(store, 0, { segmentBytes: 20_000, fault: { at, what: 'kill', times: 1 } }), Infinity);
    const embedded = await store.open();
    await holdsAll(embedded, said.appended);
    await embedded.log.trim();
    await holdsAll(embedded, said.appended);
    assert.ok(store.segments().every((name) => name.endsWith('.db')));
  });
}

test('a data directory belongs to one process, and to the next one when that has died', async (context) => {
  const store = testStore(context);
  const writer = startWriter(store, 0, {});
  const heard = listen(writer, Infinity);
  await once(writer.stdout, 'data');
  await assert.rejects(
    store.open(),
    (error: Error) => hasCode('data_directory_locked')(error) && error.message.includes(`${writer.pid}`),
  );
  writer.kill('SIGKILL');
  const { appended } = await heard;
  await holdsAll(await store.open(), appended);
});
