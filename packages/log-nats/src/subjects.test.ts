import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createSubjects, UNNAMED } from './subjects.ts';

const plain = createSubjects('');
const prefixed = createSubjects('acme.events');

describe('a subject', () => {
  test('of the default environment is the topic itself', () => {
    assert.equal(plain.subjectOf('default', 'orders.created'), 'orders.created');
    assert.equal(prefixed.subjectOf('default', 'orders.created'), 'acme.events.orders.created');
  });

  test('of another environment stands behind a token that no topic can have', () => {
    assert.equal(plain.subjectOf('staging', 'orders.created'), '@staging.orders.created');
    assert.equal(prefixed.subjectOf('staging', 'orders.created'), 'acme.events.@staging.orders.created');
  });

  test('leads back to its topic and environment, whatever characters the environment has', () => {
    for (const subjects of [plain, prefixed])
      for (const environment of ['default', 'staging', 'Nobody’s.own', 'a b', '100%'])
        assert.deepEqual(subjects.named(subjects.subjectOf(environment, 'a.b')), { environment, topic: 'a.b', isTopic: true });
  });

  test('that is no topic has the name of those that have none', () => {
    const strange = [
      'orders/created',
      'a..b',
      `a.${'x'.repeat(300)}`,
      '$SYS.x',
      'a.b*',
      Array(17).fill('a').join('.'),
      '@%zz.a',
      '@',
    ];
    for (const subject of strange)
      assert.deepEqual(plain.named(subject), { environment: 'default', topic: UNNAMED, isTopic: false }, subject);
    assert.equal(plain.named('@staging.a b').environment, 'staging');
    assert.equal(prefixed.named('others.orders.created').topic, UNNAMED);
  });

  test('has one spelling: another one of the same environment is not its place', () => {
    for (const subject of ['@%73taging.a', '@default.a', '@%2E.a', '@.a'])
      assert.equal(plain.named(subject).isTopic, false, subject);
  });
});

describe('filters', () => {
  test('ask the broker for the topics that are wanted', () => {
    assert.deepEqual(plain.filtersOf('default', ['orders.*', 'users.created']), ['orders.*', 'users.created']);
    assert.deepEqual(plain.filtersOf('staging', ['orders.>']), ['@staging.orders.>']);
  });

  test('ask once for what is named twice or covered by another', () => {
    assert.deepEqual(plain.filtersOf('default', ['orders.created', 'orders.*', 'orders.created', 'orders.*']), ['orders.*']);
  });

  test('ask for all where two have a subject in common, which the broker refuses', () => {
    assert.equal(plain.filtersOf('default', ['orders.*', '*.created']), undefined);
    assert.deepEqual(plain.filtersOf('staging', ['orders.*', '*.created']), ['@staging.>']);
    assert.deepEqual(plain.filtersOf('default', ['orders.*', '*.created.late']), ['orders.*', '*.created.late']);
  });

  test('ask for all where they are too many', () => {
    assert.equal(plain.filtersOf('default', ['>']), undefined);
    assert.equal(
      plain.filtersOf(
        'default',
        Array.from({ length: 65 }, (_, i) => `t${i}`),
      ),
      undefined,
    );
  });
});
