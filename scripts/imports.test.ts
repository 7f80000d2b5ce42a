import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { breachesOf, readImports, RULES } from './imports.ts';

/** One made-up line per rule that breaks it, and a neighbour that does not. */
const CASES: readonly { rule: string; file: string; bad: readonly string[]; good: readonly string[] }[] = [
  {
    rule: 'core stands alone',
    file: 'packages/core/src/filter/match.ts',
    bad: [
      "import { hash } from 'node:crypto';",
      "import { hash } from 'crypto';",
      "import Ajv from 'ajv';",
      "import type { Log } from '@millrace/gateway/ports/log';",
      "const crypto = await import('node:crypto');",
    ],
    good: ["import { keyOf } from '../event.ts';", "import { keyOf } from '@millrace/core/event';"],
  },
  {
    rule: 'ports know only core',
    file: 'packages/gateway/src/ports/log.ts',
    bad: ["import { LIMITS } from '../limits.ts';", "import type { Stats } from 'node:fs';"],
    good: ["import type { Event } from '@millrace/core/event';", "import type { Clock } from './clock.ts';"],
  },
  {
    rule: 'flow files do not import each other',
    file: 'packages/gateway/src/flow/deliver.ts',
    bad: [
      "import { createAppender } from './append.ts';",
      "export { createAppender } from './append.ts';",
      "import { createAppender } from '../flow/append.ts';",
      "import { createAppender } from '@millrace/gateway/flow/append';",
      "import { type Appender } from './append.ts';",
    ],
    good: [
      "import type { Appender } from './append.ts';",
      "export type { Appender } from './append.ts';",
      "import { createLane } from '../lanes/lane.ts';",
    ],
  },
  {
    rule: 'the flow knows no door',
    file: 'packages/gateway/src/lanes/tail.ts',
    bad: ["import { reply } from '../http/app.ts';", "import type { Session } from '../realtime/session.ts';"],
    good: ["import type { Publish } from '../api.ts';"],
  },
  {
    rule: 'only main.ts knows drivers',
    file: 'packages/gateway/src/gateway.ts',
    bad: [
      "import { openEmbedded } from '@millrace/embedded';",
      "import type { Memory } from '@millrace/memory/log';",
      "const nats = await import('@millrace/log-nats');",
    ],
    good: ["import type { Log } from './ports/log.ts';"],
  },
  {
    rule: 'drivers do not know each other',
    file: 'packages/store-postgres/src/ledger.ts',
    bad: ["import { createKeys } from '@millrace/memory/dedupe';", "import { createKeys } from '@millrace/log-kafka';"],
    good: ["import { createKeys } from './dedupe.ts';", "import pg from 'pg';"],
  },
  {
    rule: 'drivers know only the ports of the gateway',
    file: 'packages/embedded/src/embedded.ts',
    bad: ["import { LIMITS } from '@millrace/gateway/limits';", "import type { Gateway } from '@millrace/gateway/api';"],
    good: ["import type { Log } from '@millrace/gateway/ports/log';", "import { DatabaseSync } from 'node:sqlite';"],
  },
  {
    rule: 'nobody imports the command',
    file: 'packages/gateway/src/serve.ts',
    bad: ["import { doctor } from '@millrace/cli/verbs/doctor';"],
    good: ["import { start } from './start.ts';"],
  },
  {
    rule: 'conformance knows ports and core',
    file: 'packages/conformance/src/log/append.ts',
    bad: ["import { createMemoryLog } from '@millrace/memory/log';", "import { LIMITS } from '@millrace/gateway/limits';"],
    good: ["import { test } from 'node:test';", "import type { Log } from '@millrace/gateway/ports/log';"],
  },
  {
    rule: 'conformance is for tests',
    file: 'packages/memory/src/log.ts',
    bad: ["import { logConformance } from '@millrace/conformance/log';"],
    good: ["import { Problem } from '@millrace/core/problem';"],
  },
  {
    rule: 'the console knows only spec/',
    file: 'packages/console/src/app.ts',
    bad: ["import { keyOf } from '@millrace/core/event';", "import type { Health } from '@millrace/gateway/api';"],
    good: [
      "import { signal } from '@preact/signals';",
      "import problems from '../../../spec/problems.json' with { type: 'json' };",
    ],
  },
  {
    rule: 'SDKs know only spec/',
    file: 'sdk/js/millrace.ts',
    bad: ["import { keyOf } from '@millrace/core/event';", "import { hash } from 'node:crypto';", "import x from 'undici';"],
    good: ["import type { Problem } from '../../spec/problem.ts';"],
  },
  {
    rule: 'packages are imported by name',
    file: 'packages/gateway/src/registry.ts',
    bad: ["import { keyOf } from '../../core/src/event.ts';"],
    good: ["import { keyOf } from '@millrace/core/event';", "import vectors from '../../../spec/vectors/topics.json';"],
  },
  {
    rule: 'sources do not import tests',
    file: 'packages/gateway/src/registry.ts',
    bad: ["import { fixture } from './registry.test.ts';", "import { world } from '../test/world.ts';"],
    good: ["import { deque } from './deque.ts';"],
  },
];

describe('import directions', () => {
  for (const { rule, file, bad, good } of CASES) {
    for (const line of bad) {
      test(`'${rule}' refuses ${line} in ${file}`, () => {
        const breaches = breachesOf(file, `// first line\n${line}\n`);
        assert.ok(
          breaches.some((breach) => breach.startsWith(`${file}:2 imports '`) && breach.includes(`→ ${rule} →`)),
          `breaches: ${JSON.stringify(breaches)}`,
        );
      });
    }
    for (const line of good) {
      test(`${file} may ${line}`, () => assert.deepEqual(breachesOf(file, line), []));
    }
  }

  test('every rule has a case that shows it bites', () => {
    assert.deepEqual(CASES.map(({ rule }) => rule).toSorted(), RULES.map(({ name }) => name).toSorted());
  });

  test('main.ts knows drivers, and tests may use them', () => {
    const line = "import { openEmbedded } from '@millrace/embedded';";
    for (const file of ['packages/gateway/src/main.ts', 'packages/gateway/src/gateway.test.ts', 'test/flow/flow.test.ts']) {
      assert.deepEqual(breachesOf(file, line), []);
    }
  });

  test('a test beside core may use node:test', () => {
    assert.deepEqual(breachesOf('packages/core/src/topic.test.ts', "import { test } from 'node:test';"), []);
  });
});

describe('reading imports', () => {
  test('statements over several lines, exports, side effects and calls are read with their line', () => {
    const source = [
      '/** Like this: import { a } from "./comment.ts"; */',
      "import {\n  a,\n  b,\n} from './several.ts';",
      "import './effect.ts';",
      "export * from './all.ts';",
      "export type { T } from './types.ts';",
      "import type from './named-type.ts';",
      "  const later = await import('./later.ts');",
      "// const never = await import('./never.ts');",
      "export const from = 'here';",
      "export function start(from: string): string {\n  return from === 'latest' ? 'a' : 'b';\n}",
    ].join('\n');
    assert.deepEqual(
      readImports(source).map(({ line, specifier, typeOnly }) => [line, specifier, typeOnly]),
      [
        [2, './several.ts', false],
        [6, './effect.ts', false],
        [7, './all.ts', false],
        [8, './types.ts', true],
        [9, './named-type.ts', false],
        [10, './later.ts', false],
      ],
    );
  });
});
