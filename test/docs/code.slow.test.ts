/** The code in the guide of the SDK and in the README, compiled against the SDK as it is: what they show is there, and takes what they give it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { temporary } from '../../packages/gateway/test/process.ts';
import { ROOT } from '../../scripts/tree.ts';

const PAGES = ['docs/sdk.md', 'README.md'];
const SDK = join(ROOT, 'sdk/js/millrace.ts');
/** As it is, it compiles; what is done to it below does not. */
const GOOD = "gateway.subscribe('orders.*', show, { group: 'mailer' });";

/** What the blocks take for granted: names of the reader's own. */
const GIVEN = `
import type * as Millrace from 'millrace';
declare global {
  const key: string;
  const secret: string;
  const gateway: Millrace.Gateway;
  const orders: readonly object[];
  const pool: { query(sql: string, values: unknown[]): Promise<{ readonly rows: unknown[] }> };
  type Handler = Millrace.Handler;
  type Hooks = Millrace.Hooks;
  type SubscribeOptions = Millrace.SubscribeOptions;
  function save(event: Millrace.ReceivedEvent, idempotencyKey?: string): Promise<void>;
  function stockFor(event: Millrace.ReceivedEvent): Promise<boolean>;
  function userOf(request: Request): Promise<{ readonly id: string } | undefined>;
  function show(event: Millrace.ReceivedEvent): void;
  function showCount(waiting: number): void;
  function reload(why: string): void;
  function count(...what: unknown[]): void;
  function done(receipt: Millrace.Receipt): void;
  function refused(error: unknown): void;
}
`;

interface Block {
  /** Named by its page and line, so that an error says where it is. */
  readonly name: string;
  readonly code: string;
}

/** Each is a module of its own, at the lines that it has in the page. Where it imports nothing of the SDK, it is given all of it. */
function blocksOf(page: string, text: string): Block[] {
  return [...text.matchAll(/^( *)```(ts|js)\n(.*?)^\1```$/gms)].map(({ index, 2: kind, 3: code = '' }) => {
    const before = text.slice(0, index).split('\n').length;
    const all = code.includes("from 'millrace'") ? '' : `import { ${exportsOf().join(', ')} } from 'millrace';`;
    return { name: `${basename(page, '.md')}-${before}.${kind}`, code: `${all}export {};${'\n'.repeat(before)}${code}` };
  });
}

function exportsOf(): string[] {
  return [...readFileSync(SDK, 'utf8').matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm)].map(
    ([, name = '']) => name,
  );
}

/** What the compiler says of them. */
async function compiled(t: Pick<TestContext, 'after'>, blocks: readonly Block[]): Promise<string> {
  const folder = temporary(t);
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'given.d.ts'), GIVEN);
  for (const { name, code } of blocks) writeFileSync(join(folder, name), code);
  const compilerOptions = {
    lib: ['esnext', 'dom', 'dom.iterable'],
    paths: { millrace: [SDK] },
    allowJs: true,
    checkJs: true,
    // Blocks are parts: what they make is used in the text.
    noUnusedLocals: false,
    noUnusedParameters: false,
  };
  const settings = { extends: join(ROOT, 'tsconfig.base.json'), compilerOptions, include: ['*'] };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  return promisify(execFile)(join(ROOT, 'node_modules', '.bin', 'tsc'), ['-p', '.', '--pretty', 'false'], { cwd: folder }).then(
    () => '',
    ({ stdout, message }: { readonly stdout?: string; readonly message: string }) => stdout || message,
  );
}

function pageOf(code: string): Block[] {
  return blocksOf('page.md', `# A page\n\n\`\`\`ts\n${code}\n\`\`\`\n`);
}

describe('the code that people copy', { timeout: 120_000 }, () => {
  test('compiles against the SDK', async (t) => {
    const pages = PAGES.map((page) => blocksOf(page, readFileSync(join(ROOT, page), 'utf8')));
    assert.ok(pages.every((blocks) => blocks.length > 0));
    assert.equal(await compiled(t, [...pages.flat(), ...pageOf(GOOD)]), '');
  });

  test('shows tests that pass', async (t) => {
    const [block, ...others] = blocksOf('docs/sdk.md', readFileSync(join(ROOT, 'docs/sdk.md'), 'utf8')).filter(({ code }) =>
      code.includes("from 'node:test'"),
    );
    assert.ok(block && others.length === 0);
    const given = `const secret = ${JSON.stringify(`whsec_${btoa('0'.repeat(32))}`)};`;
    const file = join(temporary(t), 'own.test.ts');
    writeFileSync(file, given + block.code.replace("'millrace'", JSON.stringify(pathToFileURL(SDK).href)));
    // Of this test's own run it knows nothing, or it would report to it.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const { stdout } = await promisify(execFile)(process.execPath, ['--test-reporter=tap', file], { env });
    assert.match(stdout, /^# pass 2$/m);
  });

  for (const [what, wrong, complaint] of [
    ['an option that is not there', GOOD.replace('group', 'gruop'), /page-3\.ts\(4,.*gruop/],
    ['a call that is not there', GOOD.replace('subscribe', 'listen'), /page-3\.ts\(4,.*listen/],
    ['a value that it does not take', GOOD.replace("'mailer'", '7'), /page-3\.ts\(4,.*number/],
    ['an export that is not there', `import { conect } from 'millrace';\n${GOOD}`, /page-3\.ts\(4,.*conect/],
  ] as const)
    test(`does not compile with ${what}, and it is said where`, async (t) => {
      assert.match(await compiled(t, pageOf(wrong)), complaint);
    });
});
