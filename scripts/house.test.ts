import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { breachesOf, RULES } from './house.ts';

// Pieced together, so that this file does not break the rules it is about.
const SLEEP = ['set', 'Timeout(done, 50);'].join('');
const HOME = ['', 'root', 'millrace'].join('/');
const HOST = ['registry', 'npmjs', 'org'].join('.');

const CASES: readonly { rule: string; bad: readonly [string, string][]; good: readonly [string, string][] }[] = [
  {
    rule: 'names say what a thing is',
    bad: [
      ['packages/core/src/util.ts', ''],
      ['packages/core/src/string-utils.ts', ''],
      ['packages/core/src/utils/text.ts', ''],
      ['packages/gateway/src/lane.ts', ['class Lane', 'Manager {}'].join('')],
      ['packages/gateway/src/lane.ts', ['export function test', 'Helper(): void {}'].join('')],
    ],
    good: [
      ['packages/core/src/utility-pole.ts', 'const simple = 1;'],
      ['packages/core/src/text.ts', "import { inspect } from 'node:util';"],
    ],
  },
  {
    rule: 'tests await signals',
    bad: [
      ['packages/core/src/topic.test.ts', SLEEP],
      ['test/flow/receiver.ts', `\nawait ${SLEEP}`],
    ],
    good: [
      ['packages/gateway/src/clock.ts', SLEEP],
      ['packages/gateway/src/clock.test.ts', `// real time: the clock itself is under test\n${SLEEP}`],
      ['packages/gateway/src/clock.test.ts', `${SLEEP} // real time: the clock itself is under test`],
    ],
  },
  {
    rule: 'versions are exact',
    bad: [
      ['package.json', '{ "dependencies": { "undici": "^8.12.4" } }'],
      ['packages/core/package.json', '{ "devDependencies": { "svix": "*" } }'],
    ],
    good: [
      ['package.json', '{ "dependencies": { "undici": "8.12.4", "x": "1.0.0-rc.1" }, "peerDependencies": { "pg": ">=8" } }'],
    ],
  },
  {
    rule: 'the lock names no host',
    bad: [['package-lock.json', '"resolved": "https://mirror.example/undici.tgz",']],
    good: [['package-lock.json', '"resolved": "packages/core",']],
  },
  {
    rule: 'nothing names a machine',
    bad: [
      ['packages/core/src/topic.ts', `// see ${HOME}/notes.md`],
      ['.npmrc', `//${HOST}/:always-auth=true`],
      ['.npmrc', 'registry = https://mirror.example'],
    ],
    good: [['README.md', 'Open https://example.com/home/page, then ./root/x.']],
  },
];

describe('house rules', () => {
  for (const { rule, bad, good } of CASES) {
    for (const [file, source] of bad) {
      test(`'${rule}' refuses ${JSON.stringify(source)} in ${file}`, () => {
        const breaches = breachesOf(file, source);
        assert.ok(breaches.length === 1 && breaches[0]?.includes(`→ ${rule} →`), `breaches: ${JSON.stringify(breaches)}`);
      });
    }
    for (const [file, source] of good) {
      test(`${file} may hold ${JSON.stringify(source)}`, () => assert.deepEqual(breachesOf(file, source), []));
    }
  }

  test('a breach names its line', () => {
    assert.match(breachesOf('test/flow/receiver.ts', `\n\n${SLEEP}`)[0] ?? '', /^test\/flow\/receiver\.ts:3 → /);
  });

  test('every rule has a case that shows it bites', () => {
    assert.deepEqual(CASES.map(({ rule }) => rule).toSorted(), RULES.map(({ name }) => name).toSorted());
  });
});
