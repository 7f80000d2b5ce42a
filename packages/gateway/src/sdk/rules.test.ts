import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { SdkRule } from '../ports/directory.ts';
import { chosenBy } from './rules.ts';

const ALL = ['0.2.0', '0.1.9', '0.1.10-rc.1', '0.1.2', '0.1.0'].map((version) => ({ version }));
const client = (name: string, app = 'shop') => ({ environment: 'default', app, client: name });

function chosen(rule: SdkRule, own = '0.2.0', name?: string): readonly string[] {
  const { version, why } = chosenBy(rule, { own: { version: own }, all: ALL }, name === undefined ? undefined : client(name));
  return [version, why];
}

describe('which version of the SDK an app gets', { timeout: 10_000 }, () => {
  test('without a rule it is that of the gateway, also after one that was newer', () => {
    assert.deepEqual(chosen({}), ['0.2.0', 'latest']);
    assert.deepEqual(chosen({}, '0.1.9'), ['0.1.9', 'latest']);
  });

  test('a pinned version stays, whatever the gateway has', () => {
    assert.deepEqual(chosen({ pin: '0.1.0' }), ['0.1.0', 'pin']);
    assert.deepEqual(chosen({ pin: '0.1.7' }), ['0.2.0', 'latest'], 'gone, it is the latest: a page needs one');
  });

  test('patches are followed up to the gateway, and not into another line', () => {
    assert.deepEqual(chosen({ follow: 'patch', from: '0.1.0' }), ['0.1.9', 'patch']);
    assert.deepEqual(chosen({ follow: 'patch', from: '0.1.0' }, '0.1.2'), ['0.1.2', 'patch'], 'it was set back');
    assert.deepEqual(chosen({ follow: 'patch', from: '0.2.0' }), ['0.2.0', 'patch']);
    assert.deepEqual(chosen({ follow: 'patch', from: '0.3.0' }), ['0.2.0', 'latest']);
  });

  test('a rollout reaches about its percentage of 10,000 clients, and those of a smaller one stay in', () => {
    const inside = (percent: number, app = 'shop'): Set<number> => {
      const rule = { pin: '0.1.0', rollout: { version: '0.2.0', percent } };
      const among = { own: { version: '0.2.0' }, all: ALL };
      const numbers = Array.from({ length: 10_000 }, (_, at) => at);
      return new Set(numbers.filter((at) => chosenBy(rule, among, client(`user-${at}`, app)).why === 'rollout'));
    };
    const [none, ten, half, all] = [inside(0), inside(10), inside(50), inside(100)];
    assert.deepEqual([none.size, all.size], [0, 10_000]);
    // Four standard deviations of 10,000 draws.
    assert.ok(Math.abs(ten.size - 1_000) <= 120, `${ten.size}`);
    assert.ok(Math.abs(half.size - 5_000) <= 200, `${half.size}`);
    assert.deepEqual(ten, inside(10), 'the same ones at every time');
    for (const at of ten) assert.ok(half.has(at));
    assert.notDeepEqual(ten, inside(10, 'crm'), 'not the same ones for every app');
  });

  test('who does not say who it is has no part in a rollout', () => {
    const rule = { pin: '0.1.0', rollout: { version: '0.2.0', percent: 100 } } as const;
    assert.deepEqual(chosen(rule), ['0.1.0', 'pin']);
    assert.deepEqual(chosen(rule, '0.2.0', 'user-1'), ['0.2.0', 'rollout']);
    assert.deepEqual(chosen({ rollout: { version: '0.9.0', percent: 100 } }, '0.2.0', 'user-1'), ['0.2.0', 'latest']);
  });
});
