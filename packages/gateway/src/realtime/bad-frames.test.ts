/** Messages that are no frames, and frames that make no sense: what ends a session, what is told about it, and what is no matter at all. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { realtime } from './test/client.ts';

const sub = (more: object): object => ({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1, ...more });
const long = 'x'.repeat(513);

/** Each ends the session. */
const NO_FRAMES: readonly unknown[] = [
  null,
  true,
  1,
  'ping',
  {},
  [1],
  [null],
  [[]],
  [[{ op: 'ping' }]],
  { op: null },
  { op: 1 },
  { op: '' },
  { op: ['ping'] },
  { op: long },
  { op: 'hello', v: 1 },
  Array.from({ length: 65 }, () => ({ op: 'pong' })),
  sub({ sub: 0 }),
  sub({ sub: 1.5 }),
  sub({ sub: '1' }),
  sub({ sub: 2 ** 31 }),
  sub({ credit: undefined }),
  sub({ credit: -1 }),
  sub({ credit: 10_001 }),
  sub({ topics: 'orders.created' }),
  sub({ topics: [1] }),
  sub({ topics: [long] }),
  sub({ topics: Array.from({ length: 17 }, () => 'a') }),
  sub({ from: 'somewhere' }),
  sub({ from: { timeMs: -1 } }),
  sub({ from: { cursors: Array.from({ length: 1_025 }, () => 'a') } }),
  { op: 'unsub' },
  { op: 'credit', sub: 1, add: 0 },
  { op: 'credit', sub: 1, add: 2 ** 53 },
  { op: 'ack', sub: 1 },
  { op: 'ack', sub: 1, ids: [], through: 'a' },
  { op: 'ack', sub: 1, ids: Array.from({ length: 1_025 }, () => 'a') },
  { op: 'nack', sub: 1, ids: ['a'], delayMs: -1 },
  { op: 'nack', sub: 1, ids: ['a'], reason: long },
  { op: 'nack', sub: 1, ids: ['a'], dead: 'yes' },
  { op: 'extend', sub: 1, ids: ['a'], ms: 0 },
  { op: 'extend', sub: 1, ids: ['a'], ms: 12 * 3_600_000 + 1 },
  { op: 'pub', event: { type: 'orders.created' } },
  { op: 'pub', ref: 'a' },
  { op: 'auth' },
  { op: 'auth', token: 'x'.repeat(8_193) },
  { op: 'ping', t: -1 },
];

/** As bytes, for what no JSON.stringify makes. */
const NO_JSON: readonly string[] = [
  '',
  ' ',
  '{',
  '{"op":"ping"',
  '{"op":"ping"}{"op":"ping"}',
  "{'op':'ping'}",
  '{"op":"ping",}',
  '{"op":"ping","t":01}',
  '{"op":"ping","t":NaN}',
  '\ufeff{"op":"ping"}',
  '{"op":"pi\u0000ng',
  `${'['.repeat(33)}${']'.repeat(33)}`,
  '['.repeat(60_000),
  `{"op":"ping","x":${'[{"a":'.repeat(20)}1${'}]'.repeat(20)}}`,
];

describe('a session', { timeout: 60_000 }, () => {
  test('ends at what is no frame, and says so', async (t) => {
    const door = await realtime(t);
    for (const text of [...NO_FRAMES.map((one) => JSON.stringify(one)), ...NO_JSON]) {
      const client = await door.client();
      await client.hello();
      client.raw(text);
      assert.equal((await client.next('error')).code, 'bad_frame', text.slice(0, 200));
      assert.equal((await client.next('bye')).code, 4_400);
      assert.equal((await client.closed).code, 4_400);
    }
    assert.deepEqual(door.errors, []);
  });

  test('does nothing of a message of which a frame is none', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    client.say({ op: 'pub', ref: 'a', event: { type: 'orders.created' } }, { op: 'pub', ref: 'b' });
    assert.equal((await client.closed).code, 4_400);
    assert.deepEqual((await door.ask('GET /v1/events?topics=orders.*')).json.data, []);
  });

  test('goes on after ops that nobody knows, however they are called, and past members that nobody knows', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    const names = [
      'dance',
      '__proto__',
      'constructor',
      'toString',
      'PING',
      ' ping',
      'ping\u0000',
      'welcome',
      'msg',
      '\ud800',
      'ž'.repeat(512),
    ];
    for (const op of names) {
      client.say({ op });
      const { code, retryable } = await client.next('error');
      assert.deepEqual([code, retryable], ['unsupported_op', false], op);
    }
    client.raw('{"op":"x-dance"}');
    client.raw('{"op":"dance","op":"ping","t":null,"__proto__":{"op":"bye"},"constructor":1,"x":[[1e400,-0,1e-9]]}');
    assert.deepEqual(await client.next('pong'), { op: 'pong' });
    assert.deepEqual(door.errors, []);
  });

  test('is told of a sub that can not be, under its number, and of what is none of its subs', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    const wrong = [
      [{ topics: [] }, 'invalid_request'],
      [{ topics: ['orders.\u0000'] }, 'invalid_topic'],
      [{ topics: ['orders..paid'] }, 'invalid_topic'],
      [{ from: 'earliest' }, 'invalid_request'],
      [{ from: { timeMs: 1 } }, 'invalid_request'],
      [{ filter: { data: 1 } }, 'invalid_filter'],
      [{ group: 'a/../\u0000', create: false }, 'not_found'],
    ] as const;
    for (const [at, [more, code]] of wrong.entries()) {
      client.say(sub({ ...more, sub: at + 1 }));
      const error = await client.next('error');
      assert.deepEqual([error.code, error.sub, error.retryable], [code, at + 1, false], JSON.stringify(more));
    }
    for (const frame of [
      { op: 'credit', add: 1 },
      { op: 'unsub' },
      { op: 'ack', ids: ['a'] },
      { op: 'extend', ids: ['a'], ms: 1 },
    ]) {
      client.say({ ...frame, sub: 99 });
      const error = await client.next('error');
      assert.deepEqual([error.code, error.sub], ['not_found', 99], frame.op);
    }
    // A number that was used is used.
    client.say(sub({ sub: wrong.length }));
    assert.equal((await client.next('error')).code, 'bad_frame');
    client.say(sub({ sub: wrong.length + 1 }));
    await client.next('subed');
    assert.deepEqual(door.errors, []);
  });
});
