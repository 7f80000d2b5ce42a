import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createHandClock } from '../../test/clock.ts';
import { createParked } from './parked.ts';
import { createSteady } from './steady.ts';

test('while the ledger can not be read it is asked twice a second, however long something is due', async () => {
  const clock = createHandClock();
  const steady = createSteady(clock);
  let asked = 0;
  const ledger = {
    ...createMemoryLedger(),
    due: () => {
      asked++;
      return Promise.reject(new Error('it is away'));
    },
  };
  const parked = createParked({
    lane: 'l',
    shard: 's',
    ledger,
    clock,
    steady,
    dueRows: 10,
    restore: () => Promise.reject(new Error('nothing comes back')),
    mustWait: () => false,
    onBack: () => undefined,
    onLost: () => undefined,
    onLoaded: () => parked.arm(),
  });
  parked.note(steady.now() - 60_000);
  parked.arm();
  await clock.advance(10_000);
  assert.ok(asked >= 10 && asked <= 21, String(asked));
  parked.stop();
});
