/** Tables as people read them, wide and narrow. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Column, cutsIds, tableOf } from './table.ts';

interface Row {
  readonly id: string;
  readonly why: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'WHY', value: ({ why }) => why, shrinks: 1 },
];

describe('a table', () => {
  test('stands in columns', () => {
    assert.deepEqual(
      tableOf(
        COLUMNS,
        [
          { id: 'a', why: 'short' },
          { id: 'long-id', why: '' },
        ],
        80,
      ),
      ['ID       WHY', 'a        short', 'long-id'],
    );
  });

  test('is cut where that is allowed, ids never', () => {
    const rows = [{ id: 'an-id-that-is-copied', why: 'a reason that is far too long for this terminal' }];
    const [, line = ''] = tableOf(COLUMNS, rows, 40);
    assert.equal(line.length, 40);
    assert.match(line, /^an-id-that-is-copied {2}a reason that.*…$/);
    assert.match(tableOf(COLUMNS, rows, 10)[1] ?? '', /^an-id-that-is-copied /);
    assert.equal(tableOf(COLUMNS, rows, Infinity)[1], `${rows[0]?.id}  ${rows[0]?.why}`);
  });

  test('takes from the least important first, and shows the end of an id', () => {
    const columns: readonly Column<Row>[] = [
      { title: 'OUTCOME', value: () => 'delivered' },
      { title: 'WHY', value: ({ why }) => why, shrinks: 2 },
      { title: 'ID', value: ({ id }) => id, shrinks: 1, isId: true },
    ];
    const rows = [{ id: 'evt_2al2ri6rxnktxjyqwnyozyw7gs', why: 'it said that it is full' }];
    assert.equal(tableOf(columns, rows, 60)[1], 'delivered  it said that it is full  evt_2al2ri6rxnktxj…yw7gs');
    assert.equal(tableOf(columns, rows, 46)[1], 'delivered  it said that it is full  evt_…yw7gs');
    assert.equal(tableOf(columns, rows, 40)[1], 'delivered  it said that it …  evt_…yw7gs');
    assert.deepEqual([cutsIds(columns, rows, 46), cutsIds(columns, rows, 66)], [true, false]);
  });

  test('cuts what is long before anything else', () => {
    const columns: readonly Column<Row>[] = [
      { title: 'WHY', value: ({ why }) => why, shrinks: 2, most: 12 },
      { title: 'ID', value: ({ id }) => id, shrinks: 1, isId: true },
    ];
    const rows = [{ id: 'evt_2al2ri6rxnktxj', why: 'a reason that is very long' }];
    assert.equal(tableOf(columns, rows, 32)[1], 'a reason th…  evt_2al2ri6rxnktxj');
    assert.equal(tableOf(columns, rows, 46)[1], 'a reason that is very long  evt_2al2ri6rxnktxj');
  });

  test('leaves out what matters least, before what matters becomes short', () => {
    const columns: readonly Column<Row>[] = [
      { title: 'WHY', value: ({ why }) => why, shrinks: 2, least: 12 },
      { title: 'TOPIC', value: () => 'orders.created', shrinks: 1, drops: 2 },
      { title: 'ID', value: ({ id }) => id, shrinks: 1, drops: 1, isId: true },
    ];
    const rows = [{ id: 'evt_2al2ri6rxnktxj', why: 'a reason that is long' }];
    const at = (width: number): string | undefined => tableOf(columns, rows, width)[1];
    assert.equal(at(43), 'a reason that is long  orders.…  evt_…nktxj');
    assert.equal(at(34), 'a reason th…  orders.…  evt_…nktxj');
    assert.equal(at(33), 'a reason that is long  orders.cr…');
    assert.equal(at(21), 'a reason that is long');
    assert.equal(at(10), 'a reason …');
  });

  test('lets no control characters through', () => {
    const [, line = ''] = tableOf(COLUMNS, [{ id: 'a', why: '\u001B[2Jcleared\u0007\r\nand more' }], 80);
    assert.equal(line, 'a   cleared and more');
  });
});
