/** Notices on their way from a worker to whoever prints them. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import type { Notice } from '../api.ts';
import { createOutbox } from './outbox.ts';

const DELIVERED = { kind: 'delivered', eventId: 'e' } as unknown as Notice;
const OPENED = { kind: 'log_working' } as Notice;

function outbox() {
  const posted: { readonly notices: readonly Notice[]; readonly unprinted: number }[] = [];
  return { posted, ...createOutbox((notices, unprinted) => void posted.push({ notices, unprinted })) };
}

test('what comes in one turn goes over together', async () => {
  const { add, posted } = outbox();
  add(DELIVERED);
  add(OPENED);
  assert.equal(posted.length, 0);
  await turn();
  assert.deepEqual(posted, [{ notices: [DELIVERED, OPENED], unprinted: 0 }]);
});

test('while nobody takes them deliveries are counted past a bound, and what an operator should know is kept', async () => {
  const { add, taken, posted } = outbox();
  add(OPENED);
  await turn();
  for (let n = 0; n < 5_000; n++) add(DELIVERED);
  add(OPENED);
  await turn();
  assert.equal(posted.length, 1);
  taken();
  await turn();
  const { notices, unprinted } = posted[1]!;
  assert.equal(notices.length + unprinted, 5_001);
  assert.ok(unprinted > 0);
  assert.equal(notices.at(-1), OPENED);
  taken();
  await turn();
  assert.equal(posted.length, 2);
});
