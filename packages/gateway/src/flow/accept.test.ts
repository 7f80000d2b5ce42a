/** Accept: what is refused and why, what is filled in, what stays as it was sent, and when two events are one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeEvent } from '@millrace/core/event-bytes';
import { Problem, type ProblemCode } from '@millrace/core/problem';
import { createHandClock, START_MS, TOPIC } from '../../test/clock.ts';
import type { Draft, Publish } from '../api.ts';
import { LIMITS } from '../limits.ts';
import type { Topic } from '../ports/directory.ts';
import type { Entry } from '../ports/log.ts';
import { createAccept } from './accept.ts';

function made(settings: Partial<Topic> = {}) {
  const clock = createHandClock();
  const topic = (environment: string, name: string): Topic | undefined =>
    environment === 'default' && name === 'orders.created' ? { ...TOPIC, ...settings } : undefined;
  const accept = createAccept({ topic, clock, limits: LIMITS });
  const take = (request: Publish): (Entry | Problem)[] => [...accept(request)].flat();
  const call = (draft: Partial<Draft>, request: Partial<Publish> = {}): Entry | Problem => {
    const [one] = take({ environment: 'default', app: 'shop', events: [{ type: 'orders.created', ...draft }], ...request });
    assert.ok(one !== undefined);
    return one;
  };
  const entry = (draft: Partial<Draft>, request?: Partial<Publish>): Entry => {
    const one = call(draft, request);
    assert.ok(!(one instanceof Problem), one instanceof Problem ? one.message : '');
    return one;
  };
  return { accept, take, clock, call, entry };
}

const json = (text: string): Buffer => Buffer.from(text);
const own = (name: string, value: string): Record<string, string> => Object.fromEntries([[name, value]]);

const REFUSED: readonly (readonly [title: string, draft: Partial<Draft>, code: ProblemCode, pointer?: string])[] = [
  ['a topic nobody declared', { type: 'orders.lost' }, 'unknown_topic', '/type'],
  ['a topic that is none', { type: 'orders..created' }, 'invalid_topic', '/type'],
  ['a pattern for a topic', { type: 'orders.*' }, 'invalid_topic', '/type'],
  ['the name of an object member for a topic', { type: '__proto__' }, 'unknown_topic', '/type'],
  ['a payload larger than the topic takes', { data: Buffer.alloc(1_001) }, 'payload_too_large', '/data'],
  ['attributes beyond 16 KiB', { extensions: { note: 'x'.repeat(16_384) } }, 'payload_too_large'],
  ['an empty id', { id: '' }, 'invalid_event', '/id'],
  ['an id of 256 bytes', { id: 'é'.repeat(128) }, 'invalid_event', '/id'],
  ['a line break in an id', { id: 'a\nb' }, 'invalid_event', '/id'],
  ['a half surrogate in an id', { id: 'a\ud800' }, 'invalid_event', '/id'],
  ['an id that is no text', { id: 7 as unknown as string }, 'invalid_event', '/id'],
  ['a control character in a source', { source: '/s\u0007' }, 'invalid_event', '/source'],
  ['a source beyond 1,024 bytes', { source: `/${'x'.repeat(1_024)}` }, 'invalid_event', '/source'],
  ['a delete character in a subject', { subject: 'a\u007f' }, 'invalid_event', '/subject'],
  ['an extension with a capital', { extensions: { Tenant: 'a' } }, 'invalid_event', '/Tenant'],
  ['an extension with a dash', { extensions: { 'my-tenant': 'a' } }, 'invalid_event', '/my-tenant'],
  ['an extension of 21 characters', { extensions: { aaaaaaaaaaaaaaaaaaaaa: 'a' } }, 'invalid_event', '/aaaaaaaaaaaaaaaaaaaaa'],
  ['an extension without a name', { extensions: { '': 'a' } }, 'invalid_event', '/'],
  ['__proto__ as an extension', { extensions: own('__proto__', 'a') }, 'invalid_event', '/__proto__'],
  ['an attribute as an extension', { extensions: { source: 'a' } }, 'invalid_event', '/source'],
  ['data as an extension', { extensions: { data: 'a' } }, 'invalid_event', '/data'],
  ['an empty key', { extensions: { partitionkey: '' } }, 'invalid_event', '/partitionkey'],
  ['a key that is no text', { extensions: { partitionkey: 7 } }, 'invalid_event', '/partitionkey'],
  ['a key beyond 255 bytes', { extensions: { partitionkey: 'x'.repeat(256) } }, 'invalid_event', '/partitionkey'],
  ['an audience with a line break', { extensions: { audience: 'crm\nerp' } }, 'invalid_event', '/audience'],
];

for (const [title, draft, code, pointer] of REFUSED) {
  test(`refused: ${title}`, () => {
    const problem = made({ maxBytes: 1_000 }).call(draft);
    assert.ok(problem instanceof Problem);
    assert.equal(problem.code, code);
    assert.equal(problem.pointer, pointer);
  });
}

test('the smaller of the two bounds on a payload counts', () => {
  const { call } = made({ maxBytes: LIMITS.payloadBytes * 2 });
  assert.ok(!(call({ data: Buffer.alloc(LIMITS.payloadBytes) }) instanceof Problem));
  assert.ok(call({ data: Buffer.alloc(LIMITS.payloadBytes + 1) }) instanceof Problem);
});

test('a topic of another environment is not declared here', () => {
  assert.equal((made().call({}, { environment: 'staging' }) as Problem).code, 'unknown_topic');
});

test('a call is refused as a whole without an app, without events, and with too many', () => {
  const { take } = made();
  const events = Array.from({ length: 1_001 }, () => ({ type: 'orders.created' }));
  for (const request of [
    { app: '', events: events.slice(0, 1) },
    { app: 'shop', events: [] },
    { app: 'shop', events },
  ]) {
    assert.throws(() => take({ environment: 'default', ...request }), { code: 'invalid_request' });
  }
  assert.equal(take({ environment: 'default', app: 'shop', events: events.slice(1) }).length, 1_000);
});

test('in pieces a call is what it is as a whole, though a topic is declared between two of them', () => {
  const clock = createHandClock();
  let declared: Topic | undefined;
  const accept = createAccept({ topic: () => declared, clock, limits: LIMITS });
  const events = ['1', '2', '3', '4', '5'].map((id) => ({ type: 'orders.created', id }));
  const sizes: number[] = [];
  for (const piece of accept({ environment: 'default', app: 'shop', events }, 2)) {
    sizes.push(piece.length);
    declared = TOPIC;
    for (const one of piece) assert.ok(one instanceof Problem && one.code === 'unknown_topic');
  }
  assert.deepEqual(sizes, [2, 2, 1]);
  assert.ok(!([...accept({ environment: 'default', app: 'shop', events })].flat()[4] instanceof Problem));
});

test('an idempotency key has 1 to 255 bytes and is for one event', () => {
  const { call, take } = made();
  for (const idempotencyKey of ['', 'x'.repeat(256), 'é'.repeat(128)]) {
    assert.throws(() => call({}, { idempotencyKey }), { code: 'invalid_request' });
  }
  const events = [{ type: 'orders.created' }, { type: 'orders.created' }];
  assert.throws(() => take({ environment: 'default', app: 'shop', events, idempotencyKey: 'k' }), { code: 'invalid_request' });
  assert.ok(!(call({}, { idempotencyKey: 'x'.repeat(255) }) instanceof Problem));
});

test('what a publisher leaves out is filled in: id, source, time', () => {
  const { entry } = made();
  const { event, app, environment, dedupe } = entry({});
  assert.match(event.id, /^evt_/);
  assert.deepEqual([event.source, event.time, event.extensions], ['/apps/shop', new Date(START_MS).toISOString(), {}]);
  assert.deepEqual([app, environment, dedupe], ['shop', 'default', undefined]);
  assert.notEqual(entry({}).event.id, event.id);
  assert.ok(!('data' in event), 'no payload is not an empty one');
});

test('what a publisher gives stays as it is, and the stored bytes are the event', () => {
  const draft = {
    type: 'orders.created',
    id: 'i',
    source: '/s',
    subject: 'o 1',
    time: '1990-01-01T00:00:00+02:00',
    datacontenttype: 'text/plain',
    dataschema: 'https://s',
    extensions: { a: 1, b: true, c: 'x' },
    data: Buffer.from([0xff, 0x00]),
  };
  const { event, bytes } = made().entry(draft);
  assert.deepEqual({ ...event, data: [...(event.data ?? [])] }, { ...draft, data: [255, 0] });
  const back = decodeEvent(bytes);
  assert.deepEqual({ ...back, data: [...(back.data ?? [])] }, { ...draft, data: [255, 0] });
});

test('payload bytes are kept as sent: spacing, numbers beyond 2^53, doubled keys, __proto__', () => {
  const text = '{ "n": 12345678901234567890, "n":1.0,\n"__proto__": {"a": 1} }';
  const { event, bytes } = made({ keyPath: '$.a' }).entry({ data: json(text) });
  assert.equal(Buffer.from(event.data ?? []).toString(), text);
  assert.equal(Buffer.from(decodeEvent(bytes).data ?? []).toString(), text);
  assert.equal(event.extensions['partitionkey'], undefined, 'what a prototype would give is no key');
});

test("a topic's key path gives the key, where the publisher sets none", () => {
  const { entry } = made({ keyPath: '$.customer.id' });
  const keyOf = (draft: Partial<Draft>) => entry(draft).event.extensions['partitionkey'];
  assert.equal(keyOf({ data: json('{"customer":{"id":"c1"}}') }), 'c1');
  assert.equal(keyOf({ data: json('{"customer":{"id":7}}') }), '7');
  assert.equal(keyOf({ data: json('{"customer":{"id":"c1"}}'), extensions: { partitionkey: 'own' } }), 'own');
  for (const text of ['{"customer":{}}', '{"customer":{"id":""}}', '{"customer', '7'])
    assert.equal(keyOf({ data: json(text) }), undefined);
  assert.equal(keyOf({ data: json(`{"customer":{"id":"${'x'.repeat(256)}"}}`) }), undefined);
  assert.equal(keyOf({ data: json('{"customer":{"id":"c1"}}'), datacontenttype: 'text/plain' }), undefined);
  assert.equal(keyOf({}), undefined);
});

test('the key stands where the payload has its name, also where that is written with a backslash', () => {
  const [quote, backslash] = [made({ keyPath: `$['"']` }), made({ keyPath: String.raw`$['\\']` })];
  for (let round = 0; round < 100; round++) {
    const keysOf = (text: string) =>
      [quote, backslash].map(({ entry }) => entry({ data: json(text) }).event.extensions['partitionkey']);
    assert.deepEqual(keysOf(String.raw`{"h":[],"\\":"b"}`), [undefined, 'b']);
    assert.deepEqual(keysOf(String.raw`{"h":1,"\"":"q"}`), ['q', undefined]);
  }
});

test('the header dedupes before the id does, and without both nothing does', () => {
  const { entry } = made();
  assert.equal(entry({ id: 'i' }, { idempotencyKey: 'k' }).dedupe?.key, 'key:k');
  const byId = entry({ id: 'i' }).dedupe;
  assert.match(byId?.key ?? '', /^id:/);
  assert.equal(byId?.windowMs, LIMITS.dedupeWindowMs);
  assert.equal(entry({}).dedupe, undefined);
  assert.notEqual(entry({ id: 'i', source: '/other' }).dedupe?.key, byId?.key);
  assert.equal(entry({ id: 'i', source: '/apps/shop' }).dedupe?.key, byId?.key);
});

test('a retry of a client is the same event, though its time and trace are new; anything else is not', () => {
  const { entry, clock } = made();
  const base: Partial<Draft> = {
    id: 'i',
    data: json('{"a":1}'),
    extensions: { b: 1, a: 2, traceparent: '00-1', tracestate: 'x' },
    time: '2026-01-01T00:00:00Z',
  };
  const digestOf = (change: Partial<Draft>) => entry({ ...base, ...change }).dedupe?.digest;
  const digest = digestOf({});
  clock.jump(5_000);
  assert.equal(digestOf({ time: '2026-01-01T00:00:09Z', extensions: { a: 2, b: 1, traceparent: '00-2' } }), digest);
  const others: readonly Partial<Draft>[] = [
    { data: json('{"a": 1}') },
    { data: Buffer.alloc(0) },
    { subject: 's' },
    { extensions: { a: 2 } },
    { extensions: { a: 2, b: '1' } },
    { datacontenttype: 'application/json' },
  ];
  const digests = others.map(digestOf);
  assert.equal(new Set([digest, ...digests]).size, others.length + 1);
});
