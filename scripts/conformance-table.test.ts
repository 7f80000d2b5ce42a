import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tableOf, withTables } from './conformance-table.ts';

test('a table has a row for each area and each behaviour, and says why one is left out', () => {
  const areas = { append: { 'keeps order': 1, 'keeps bytes': 1 }, read: { 'goes on': 1 } };
  const table = tableOf('the log', areas, [
    { name: 'embedded', gaps: {} },
    { name: 'NATS', gaps: { 'keeps bytes': 'it can not' } },
    { name: 'Kafka', gaps: undefined },
  ]);
  for (const line of [
    '| the log | embedded | NATS | Kafka |',
    '| append | 2 | 1 of 2 | not yet |',
    '| read | 1 | 1 | not yet |',
    'NATS leaves 1 out: it can not.',
    '| keeps bytes | ✔ | gap |  |',
  ])
    assert.ok(table.split('\n').includes(line), `${line}\n\n${table}`);
});

test('a text without a place for the tables is refused, and one that has them is not changed', () => {
  assert.throws(() => withTables('no place'), RangeError);
  const place = 'before\n<!-- conformance: written by scripts/generated.ts -->\n<!-- /conformance -->\nafter';
  const written = withTables(place);
  assert.match(written, /^before\n[^]*\| append \| [^]*\nafter$/);
  assert.equal(withTables(written), written);
});
