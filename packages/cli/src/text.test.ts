/** What people read: details, times, counts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { count, cut, detailsOf, plain, relative, spanOf, wrapped } from './text.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');

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

  test('are counted', () => {
    assert.deepEqual(
      [count(1, 'delivery'), count(2, 'delivery'), count(2, 'key'), count(1_200, 'event')],
      ['1 delivery', '2 deliveries', '2 keys', '1,200 events'],
    );
  });

  test('that are long are broken between words', () => {
    assert.deepEqual(wrapped('how long a stop may take', 10), ['how long a', 'stop may', 'take']);
    assert.deepEqual(wrapped('a b', Infinity), ['a b']);
  });

  test('that are cut end with a sign', () => {
    assert.deepEqual([cut('abc', 3), cut('abcd', 3), cut('abc', Infinity)], ['abc', 'ab…', 'abc']);
    assert.equal(plain('a\tb\u0085c'), 'a b c');
  });
});
