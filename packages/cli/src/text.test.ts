/** What people read: tables, details, times. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Column, cut, detailsOf, plain, relative, spanOf, tableOf } from './text.ts';

interface Row {
  readonly id: string;
  readonly why: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'ID', value: ({ id }) => id },
  { title: 'WHY', value: ({ why }) => why, shrinks: true },
];
const NOW = Date.parse('2026-11-23T12:00:00Z');

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

  test('lets no control characters through', () => {
    const [, line = ''] = tableOf(COLUMNS, [{ id: 'a', why: '\u001B[2Jcleared\u0007\r\nand more' }], 80);
    assert.equal(line, 'a   cleared and more');
  });
});

describe('details', () => {
  test('are a line per member, nested ones by their path', () => {
    assert.deepEqual(
      detailsOf(
        {
          id: 'crm',
          topics: ['a', 'b'],
          deliver: { webhook: { url: 'http://x/' } },
          filter: { data: { n: [1] } },
          nothing: null,
          attempts: [{ n: 1 }, { n: 2 }],
          createdAt: '2026-11-23T11:57:00.000Z',
        },
        NOW,
      ),
      [
        'id                   crm',
        'topics               a, b',
        'deliver.webhook.url  http://x/',
        'filter               {"data":{"n":[1]}}',
        'attempts.1.n         1',
        'attempts.2.n         2',
        'createdAt            2026-11-23T11:57:00.000Z  (3 min ago)',
      ],
    );
  });
});

describe('times and lengths', () => {
  test('are said in one unit', () => {
    for (const [ms, text] of [
      [0, '0 ms'],
      [450, '450 ms'],
      [12_000, '12 s'],
      [180_000, '3 min'],
      [5 * 3_600_000, '5 h'],
      [90 * 86_400_000, '90 d'],
    ] as const)
      assert.equal(spanOf(ms), text);
  });

  test('are said from now', () => {
    const at = (ms: number): string => relative(new Date(NOW + ms).toISOString(), NOW);
    assert.deepEqual([at(0), at(-90_000), at(7_200_000)], ['now', '2 min ago', 'in 2 h']);
    assert.deepEqual([relative(undefined, NOW), relative('never', NOW)], ['-', '-']);
  });

  test('that are cut end with a sign', () => {
    assert.deepEqual([cut('abc', 3), cut('abcd', 3), cut('abc', Infinity)], ['abc', 'ab…', 'abc']);
    assert.equal(plain('a\tb\u0085c'), 'a b c');
  });
});
