import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childOf, formatTraceparent, formatTracestate, parseTrace } from './trace.ts';

const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('a traceparent is read and written the same', () => {
  const trace = parseTrace(PARENT, 'rojo=00f067aa0ba902b7, congo=t61rcWkgMzE');
  assert.ok(trace !== undefined);
  assert.equal(formatTraceparent(trace), PARENT);
  assert.equal(formatTracestate(trace), 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE');
});

test('a later version is read as far as it is known and passed on as this one', () => {
  for (const later of [`cc${PARENT.slice(2)}`, `cc${PARENT.slice(2)}-what-the-future-brings`]) {
    const trace = parseTrace(later);
    assert.ok(trace !== undefined);
    assert.equal(formatTraceparent(trace), PARENT);
  }
  assert.equal(formatTraceparent(parseTrace(`${PARENT.slice(0, -2)}ff`) ?? assert.fail()), `${PARENT.slice(0, -2)}03`);
});

test('a traceparent that can not be read is absent', () => {
  const zeros = (count: number) => '0'.repeat(count);
  for (const value of [
    undefined,
    null,
    '',
    'x',
    PARENT.toUpperCase(),
    PARENT.slice(0, -1),
    `${PARENT}0`,
    `${PARENT}-more`,
    `ff${PARENT.slice(2)}`,
    `cc${PARENT.slice(2)}x`,
    `00-${zeros(32)}-00f067aa0ba902b7-01`,
    `00-4bf92f3577b34da6a3ce929d0e0e4736-${zeros(16)}-01`,
    PARENT.replaceAll('-', '_'),
  ]) {
    assert.equal(parseTrace(value), undefined, String(value));
  }
});

test('a tracestate that can not be read is dropped and the trace kept', () => {
  const state = (value: string) => parseTrace(PARENT, value)?.state;
  for (const value of [
    'a',
    '=b',
    'a=',
    'A=b',
    'a=b=c',
    'a=1,a=2',
    'a=é',
    'a@b@c=1',
    `${'a'.repeat(257)}=1`,
    `a=${'b'.repeat(257)}`,
    'a b=c',
    'x'.repeat(20_000),
    // Once a square of the spaces.
    `a${' '.repeat(16_000)}b`,
  ]) {
    assert.deepEqual(state(value), [], value.slice(0, 40));
  }
  assert.deepEqual(state(Array.from({ length: 33 }, (_, at) => `k${at}=1`).join(',')), []);
  assert.deepEqual(state(' a=1 ,, \tb@c=d e ,'), [
    ['a', '1'],
    ['b@c', 'd e'],
  ]);
  assert.equal(state(Array.from({ length: 32 }, (_, at) => `k${at}=1`).join(','))?.length, 32);
});

test('a long state is cut to 512 characters, long members first, then from the end', () => {
  const long = `z=${'b'.repeat(200)}`;
  const short = Array.from({ length: 20 }, (_, at) => `k${String(at).padStart(2, '0')}=${'v'.repeat(20)}`);
  const text = formatTracestate(parseTrace(PARENT, [...short.slice(0, 5), long, ...short.slice(5)].join(',')) ?? assert.fail());
  assert.equal(text, short.join(','));
  const all = Array.from({ length: 32 }, (_, at) => `k${String(at).padStart(2, '0')}=${'v'.repeat(20)}`);
  const cut = formatTracestate(parseTrace(PARENT, all.join(',')) ?? assert.fail());
  assert.equal(cut, all.slice(0, 20).join(','));
});

test('a child keeps the trace and has a span of its own', () => {
  const parent = parseTrace(PARENT, 'a=1');
  const child = childOf(parent, (count) => new Uint8Array(count).fill(0xab));
  assert.deepEqual(child, { ...parent, spanId: 'ab'.repeat(8) });
  assert.equal(formatTracestate(child), 'a=1');
});

test('without a parent a trace begins, and chance that gives zeros does no harm', () => {
  const trace = childOf(undefined, (count) => new Uint8Array(count));
  assert.deepEqual(parseTrace(formatTraceparent(trace)), trace);
  assert.equal(formatTracestate(trace), undefined);
  assert.equal(formatTraceparent(childOf(undefined, (count) => new Uint8Array(count).fill(1), 0)).slice(-2), '00');
});
