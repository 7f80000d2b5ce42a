/** Which name was meant by one that is not known. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { didYouMean, meantAmong } from './near-miss.ts';

const NAMES = ['data', 'topics', 'filter', 'deliver', 'ackWait', 'ratePerSecond', 'to', 'id'];

describe('a name that is not known', () => {
  for (const [given, meant] of [
    ['dta', 'data'],
    ['dtaa', 'data'],
    ['adta', 'data'],
    ['Data', 'data'],
    ['topic', 'topics'],
    ['ack_wait', 'ackWait'],
    ['ackwiat', 'ackWait'],
    ['ratePerSec', undefined],
    ['ratePerSecnd', 'ratePerSecond'],
    ['colour', undefined],
    ['x', undefined],
    ['ot', 'to'],
    ['', undefined],
    ['data'.repeat(20), undefined],
    ['__proto__', undefined],
  ] as const)
    test(`such as '${given.slice(0, 20)}' ${meant === undefined ? 'is near to none' : `was meant as '${meant}'`}`, () =>
      assert.equal(meantAmong(NAMES, given), meant));

  test('is nearest to the one with the fewest errors', () => assert.equal(meantAmong(['filters', 'filter'], 'filtr'), 'filter'));

  test('is no near miss of itself', () => assert.equal(meantAmong(['data'], 'data'), undefined));

  test('ends a sentence with what was meant, or adds nothing to it', () =>
    assert.deepEqual([didYouMean(NAMES, 'dta'), didYouMean(NAMES, 'colour')], [" (did you mean 'data'?)", '']));
});
