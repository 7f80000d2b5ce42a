import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from '../test/vectors.ts';
import { ATTRIBUTE_CHARS_MAX, startDraft } from './attributes.ts';
import { decodeEvent, encodeEvent } from './event-bytes.ts';

const set = (name: string, value: unknown): void => startDraft((one) => `/${one}`).set(name, value);

test('an attribute that no broker would take is refused by its length, before anything else looks at it', () => {
  const millions = [`a/b${';c=d'.repeat(4_000_000)}`, 'x'.repeat(16_000_000)];
  for (const name of ['datacontenttype', 'time', 'subject', 'note']) {
    for (const value of millions) refusal(() => set(name, value), 'payload_too_large', `/${name}`);
  }
  set('note', 'x'.repeat(ATTRIBUTE_CHARS_MAX - 'note'.length));
  set('datacontenttype', `a/b${';c=d'.repeat(4_000)}`);
  refusal(() => set('note', 'x'.repeat(ATTRIBUTE_CHARS_MAX)), 'payload_too_large', '/note');
  const draft = startDraft((one) => `/${one}`);
  draft.set('a', 'x'.repeat(ATTRIBUTE_CHARS_MAX - 3));
  draft.set('b', true);
  refusal(() => draft.set('c', 1), 'payload_too_large', '/c');
});

test('an attribute may have a name that every object has', () => {
  const draft = startDraft((name) => `/${name}`);
  for (const [name, value] of [
    ['type', 't'],
    ['constructor', 'x'],
    ['valueof', 'y'],
  ])
    draft.set(name as string, value);
  const { extensions } = draft.end(undefined);
  assert.deepEqual(extensions, { constructor: 'x', valueof: 'y' });
  const stored = decodeEvent(encodeEvent({ id: '1', source: '/s', type: 't', extensions: extensions ?? {} }));
  assert.deepEqual(stored.extensions, extensions);
});

test('no stored event decides what the names of its attributes are looked up in', () => {
  const extensions = JSON.parse('{"__proto__":{"audience":"crm"},"a":1}');
  const stored = decodeEvent(encodeEvent({ id: '1', source: '/s', type: 't', extensions }));
  assert.equal(Object.getPrototypeOf(stored.extensions), Object.prototype);
  assert.equal(stored.extensions['audience'], undefined);
  assert.equal(stored.extensions['a'], 1);
});
