/** The guide of the SDK beside its file: what the one has, the other tells. That its code compiles is shown in code.slow.test.ts. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { filesIn, ROOT } from '../../scripts/tree.ts';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const sdk = read('sdk/js/millrace.ts');
const guide = read('docs/sdk.md');

/** Whole words, and only where the guide speaks of code: `client` is a word of every day, too. */
const told = new Set(guide.match(/^```.*?^```$|`[^`\n]+`/gms)?.flatMap((code) => code.match(/\w+/g) ?? []));
const untold = (names: Iterable<string>): string[] => [...new Set(names)].filter((name) => !told.has(name));
const found = (pattern: RegExp, text = sdk): string[] => [...text.matchAll(pattern)].map(([, name = '']) => name);

function membersOf(name: string): string[] {
  const [, body = ''] = new RegExp(`^export interface ${name}\\b.*? \\{$(.*?)^\\}$`, 'ms').exec(sdk) ?? [];
  return found(/^ {2}(?:readonly )?(\w+)\??[:(]/gm, body);
}

function choicesOf(name: string): string[] {
  const [, body = ''] = new RegExp(`^export type ${name} =(.*?);$`, 'ms').exec(sdk) ?? [];
  return found(/'(\w+)'/g, body);
}

describe('the guide of the SDK', () => {
  test('has all that the file exports for use', () => {
    // What a custom transport or another language's test drives is told in the file alone.
    const names = found(/^export (?:async )?(?:const|function|class) (\w+)/gm).filter((name) => name !== 'conversation');
    assert.ok(names.length > 15);
    assert.deepEqual(untold(names), []);
  });

  for (const name of [
    'SendOptions',
    'HttpOptions',
    'ConnectOptions',
    'Hooks',
    'SubscribeOptions',
    'Message',
    'Gap',
    'Gateway',
    'Subscription',
  ])
    test(`names every member of ${name}`, () => {
      assert.ok(membersOf(name).length > 2);
      assert.deepEqual(untold(membersOf(name)), []);
    });

  for (const name of ['ReceiverOptions', 'OutboxOptions', 'KeepOptions'])
    test(`names every member of ${name}`, () => {
      assert.ok(membersOf(name).length > 0);
      assert.deepEqual(untold(membersOf(name)), []);
    });

  for (const name of ['TokenReason', 'Refusal', 'State'])
    test(`names every ${name}`, () => {
      assert.ok(choicesOf(name).length > 3);
      assert.deepEqual(untold(choicesOf(name)), []);
    });

  test('tells of every code of its own', () => {
    const codes = found(/(?:GatewayError|passing)\(\s*'(\w+)'/g);
    assert.ok(codes.length > 10);
    assert.deepEqual(untold([...codes, ...choicesOf('Gap')]), []);
  });
});

/** As GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return found(/^#+ (.+)$/gm, text).map((title) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

describe('links', () => {
  const pages = filesIn(ROOT).filter((file) => file.endsWith('.md'));
  for (const page of pages)
    test(`of ${page} lead somewhere`, () => {
      const code = /^```.*?^```$/gms;
      const targets = found(/\]\((?!\w+:)([^)\s]+)\)/g, read(page).replace(code, ''));
      const lost = targets.filter((target) => {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : normalize(join(dirname(page), path));
        if (!existsSync(join(ROOT, file))) return true;
        return anchor !== undefined && file.endsWith('.md') && !anchorsOf(read(file).replace(code, '')).includes(anchor);
      });
      assert.deepEqual(lost, []);
    });
});
