/** What a commit is worth: in relaxed mode as much as in the other, where something was configured. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Question } from '../messages.ts';
import { temporaryDirectory } from '../testing.ts';
import { commitGroup } from './group.ts';
import { openState } from './state.ts';

/** As `PRAGMA synchronous` says it: NORMAL leaves the write-ahead log to the system, FULL has it on the disk at every commit. */
const NORMAL = 1;
const FULL = 2;

const question = (call: Question['call']): Question => ({ number: 1, call, nowMs: 1, value: null });

test('in relaxed mode a change of the directory is on the disk before it is answered, and what came before it with it', (context) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory.path, 'segments'));
  const state = openState(directory.path, { maxPageCount: undefined });
  context.after(() => {
    state.close();
    directory.remove();
  });
  state.begin(true);

  /** How safe the transaction is in which these are answered. */
  function safetyOf(...calls: Question['call'][]): number {
    let safety = 0;
    commitGroup(calls.map(question), {
      state,
      mark: () => () => undefined,
      apply: () => void (safety = Number(state.db.prepare('PRAGMA synchronous').get()?.['synchronous'])),
    });
    return safety;
  }

  assert.equal(safetyOf('append', 'commit'), NORMAL);
  assert.equal(safetyOf('putResource'), FULL);
  assert.equal(safetyOf('append', 'deleteResource'), FULL);
  assert.equal(safetyOf('append'), NORMAL);
});
