import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { idOf, placeIn } from '../http/delivery-ids.ts';
import { LIMITS } from '../limits.ts';
import type { LogRecord } from '../ports/log.ts';
import { createVault } from '../vault.ts';
import { createFailedAt } from './header.ts';
import { createFailureTokens } from './token.ts';

const PLACE = { lane: 'sub_a.p0', shard: '0', position: '0000000000000042' };
const ATTEMPT = { n: 3, before: 1 };
const key = randomBytes(32);
const tokens = (clock = createHandClock(), newest: Uint8Array = key, ...former: Uint8Array[]) =>
  createFailureTokens({ vault: createVault(newest, ...former), clock, limits: LIMITS });

const code = (wanted: string) => ({ code: wanted });

describe('the token of an attempt', { timeout: 10_000 }, () => {
  test('is read by whoever has the key, and says which attempt it is of', () => {
    const clock = createHandClock();
    const { n, before, madeMs } = tokens(clock).read(idOf(PLACE), tokens(clock).make(idOf(PLACE), ATTEMPT));
    assert.deepEqual([n, before], [3, 1]);
    assert.ok(Math.abs(madeMs - clock.now()) <= 1_000);
  });

  test('is of no use for another delivery, nor changed in any place', () => {
    const at = tokens();
    const token = at.make(idOf(PLACE), ATTEMPT);
    for (const other of [{ position: '0000000000000043' }, { shard: '1' }, { lane: 'sub_a.p1' }, { lane: 'sub_b.p0' }])
      assert.throws(() => at.read(idOf({ ...PLACE, ...other }), token), code('unauthorized'));
    for (let place = 0; place < token.length; place++) {
      const changed = `${token.slice(0, place)}${token[place] === '1' ? '2' : '1'}${token.slice(place + 1)}`;
      assert.throws(() => at.read(idOf(PLACE), changed), code('unauthorized'), changed);
    }
    for (const none of [undefined, '', 'x', token.slice(1), `${token}0`, token.toUpperCase(), 'a'.repeat(100_000)])
      assert.throws(() => at.read(idOf(PLACE), none), code('unauthorized'));
  });

  test('goes with an address that leads to the delivery, however its log names shards', () => {
    for (const shard of ['0', 'orders/eu 1', '50%', '~']) {
      const place = { ...PLACE, shard };
      const record = place as unknown as LogRecord;
      const failedAt = createFailedAt({ publicUrl: () => 'https://events.example', tokens: tokens() });
      const [address = '', token] = failedAt(record, { lane: place.lane, n: 3 })?.split(' ') ?? [];
      const [, id = ''] = /^https:\/\/events\.example\/v1\/deliveries\/([\w.~%-]+)\/failed$/.exec(address) ?? [];
      assert.deepEqual(placeIn(decodeURIComponent(id)), place);
      assert.equal(tokens().read(decodeURIComponent(id), token).n, 3);
    }
  });

  test('ends after its time, and not before', async () => {
    const clock = createHandClock();
    const at = tokens(clock);
    const token = at.make(idOf(PLACE), ATTEMPT);
    await clock.advance(LIMITS.failedMs - 1);
    at.read(idOf(PLACE), token);
    await clock.advance(1_001);
    assert.throws(() => at.read(idOf(PLACE), token), code('token_expired'));
  });

  test('of another key is none, unless it is the former one', () => {
    const clock = createHandClock();
    const newer = randomBytes(32);
    const token = tokens(clock, key).make(idOf(PLACE), ATTEMPT);
    assert.throws(() => tokens(clock, newer).read(idOf(PLACE), token), code('unauthorized'));
    assert.equal(tokens(clock, newer, key).read(idOf(PLACE), token).n, 3);
  });
});
