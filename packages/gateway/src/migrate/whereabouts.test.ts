/** What a start is told about a data directory whose log is being moved, or was. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { readMoved, shownAddress, switchOver, writeMigration } from './files.ts';
import { storeIn } from './whereabouts.ts';

const NATS = 'nats://127.0.0.1:4222';
const MOVED = { log: NATS, identity: 'nats:x', atMs: 1, events: 2, bytes: 3, sha256: 'aa' };

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-where-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('a start', () => {
  test('takes a directory of which nothing was moved as it is', (t) => {
    const data = directory(t);
    assert.equal(storeIn({ data }), data);
    assert.equal(storeIn({ data, log: NATS }), data);
  });

  test('while a move is not at its end goes on over the former log, and is refused over another', (t) => {
    const data = directory(t);
    writeMigration(data, { from: 'a', to: 'b', address: NATS, begins: {}, startedMs: 1 });
    assert.equal(storeIn({ data }), data);
    const refused = storeIn({ data, log: NATS });
    assert.ok(typeof refused === 'object' && refused.advice.includes(`millrace migrate-log --from embedded --to ${NATS}`));
  });

  test('after a move is refused over the former log, and finds directory and ledger beside it', (t) => {
    const data = directory(t);
    writeMigration(data, { from: 'a', to: 'b', address: NATS, begins: {}, startedMs: 1 });
    switchOver(data, MOVED);
    assert.deepEqual(readdirSync(data), ['moved.json']);
    assert.equal(statSync(join(data, 'moved.json')).mode & 0o777, 0o600);
    const refused = storeIn({ data });
    assert.ok(typeof refused === 'object' && refused.advice.includes(`--log '${NATS}'`));
    assert.equal(storeIn({ data, log: NATS }), join(data, 'ledger'));
  });

  test('after a move of everything needs the store, too', (t) => {
    const data = directory(t);
    switchOver(data, { ...MOVED, store: 'postgres://db/x' });
    const refused = storeIn({ data, log: NATS });
    assert.ok(typeof refused === 'object' && refused.advice.includes("--store 'postgres://db/x'"));
    assert.equal(storeIn({ data, log: NATS, store: 'postgres://u:p@db/x' }), data);
  });

  test('is refused where the file can not be read', (t) => {
    const data = directory(t);
    writeFileSync(join(data, 'moved.json'), '{"log":');
    assert.throws(() => readMoved(data), { code: 'data_directory_damaged' });
  });
});

test('addresses are shown and kept without who signs in', () => {
  assert.equal(shownAddress('nats://me:secret@h:4222,i:4222?stream=X'), 'nats://h:4222,i:4222?stream=X');
  assert.equal(shownAddress('postgres://me:p%40ss@db/x?sslmode=require'), 'postgres://db/x?sslmode=require');
  assert.equal(shownAddress('nats://h:4222?prefix=a@b'), 'nats://h:4222?prefix=a@b');
});
