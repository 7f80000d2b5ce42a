/** The command line itself: help, wrong words, the tree of commands, completion. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { errorOf, millrace } from '../test/world.ts';
import { EXIT_TEXTS } from './exit-codes.ts';
import type { CommandTree } from './tree.ts';

async function tree(): Promise<CommandTree> {
  return JSON.parse((await millrace(['commands', '--json'])).stdout);
}

function leavesOf(command: CommandTree): CommandTree[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

describe('the command line', () => {
  test('brings its help without the server', async () => {
    const { exit, stdout, stderr } = await millrace(['--help']);
    assert.deepEqual([exit, stderr], [0, '']);
    assert.ok(stdout.startsWith('Examples:\n'));
    for (const [code, text] of EXIT_TEXTS) assert.match(stdout, new RegExp(` ${code}  ${text}`));
    const isLoaded = (name: string): boolean =>
      Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes(name));
    assert.ok(!isLoaded('fastify'));
    await import('@millrace/gateway/main');
    assert.ok(isLoaded('fastify'), 'this is how it would be seen');
  });

  test('has a help with examples first for every command', async () => {
    for (const { path } of [...leavesOf(await tree()), ...(await tree()).commands]) {
      const { exit, stdout } = await millrace([...path.split(' '), '--help']);
      assert.equal(exit, 0, path);
      assert.ok(stdout.startsWith('Examples:\n  '), path);
      const [examples = ''] = stdout.split('\n\n');
      if (path.includes(' '))
        for (const line of examples.split('\n').slice(1)) assert.ok(line.startsWith(`  millrace ${path}`), `${path}: ${line}`);
      assert.match(stdout, new RegExp(`Usage: millrace ${path}`));
      assert.match(stdout, /Global Options:[^]*--json/);
    }
  });

  test('says its version', async () => {
    assert.match((await millrace(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('names the nearest word, exit code 2, nothing on stdout', async () => {
    for (const [args, meant] of [
      [['strat'], /unknown command 'strat'\nDid you mean start\?/],
      [['topic', 'lst'], /unknown command 'lst'\nDid you mean list\?/],
      [['subscription', 'puase', 'x'], /Did you mean pause\?/],
      [['publish', '--fiel', 'x'], /unknown option '--fiel'\nDid you mean --file\?/],
      [['topic', 'list', '--jsn'], /Did you mean --json\?/],
      [['dead-leter'], /Did you mean dead-letter\?/],
    ] as const) {
      const { exit, stdout, stderr } = await millrace(args);
      assert.deepEqual([exit, stdout], [2, '']);
      assert.match(stderr, meant);
    }
  });

  test('names the help of the command that was meant', async () => {
    for (const [args, hint] of [
      [['topic', 'lst'], '"millrace topic --help" lists its commands.'],
      [['topic', 'list', '--nope'], '"millrace topic list --help" lists its options.'],
      [['nope'], '"millrace --help" lists its commands.'],
    ] as const)
      assert.ok((await millrace(args)).stderr.endsWith(`${hint}\n`), args.join(' '));
  });

  test('gives help by a word of its own, too', async () => {
    for (const [args, shown] of [
      [['help'], /Run a gateway:/],
      [['help', 'topic'], /Usage: millrace topic /],
      [['help', 'topic', 'create'], /Usage: millrace topic create /],
    ] as const) {
      const { exit, stdout } = await millrace(args);
      assert.equal(exit, 0);
      assert.match(stdout, shown);
    }
    for (const [args, said] of [
      [['help', 'nope'], /^unknown command 'nope'/],
      [['help', 'topc'], /^unknown command 'topc'\nDid you mean topic\?/],
      [['help', 'topic', 'lst'], /^unknown command 'lst'\nDid you mean list\?/],
    ] as const) {
      const { exit, stdout, stderr } = await millrace(args);
      assert.deepEqual([exit, stdout], [2, '']);
      assert.match(stderr, said);
    }
  });

  test('shows what there is where a word is missing, exit code 2', async () => {
    for (const args of [[], ['topic'], ['dead-letter']]) {
      const { exit, stdout, stderr } = await millrace(args);
      assert.deepEqual([exit, stdout], [2, '']);
      assert.match(stderr, /Commands:|Run a gateway:/);
    }
  });

  test('tells programs in JSON what was wrong', async () => {
    const ended = await millrace(['topic', 'get', '--json']);
    const { message, exit } = errorOf(ended);
    assert.deepEqual([message, exit, ended.exit, ended.stdout], ["missing required argument 'topic'", 2, 2, '']);
  });

  test('takes global options before and after the command', async () => {
    for (const args of [
      ['--url', 'ftp://x', 'topic', 'list'],
      ['topic', 'list', '--url', 'ftp://x'],
    ])
      assert.match((await millrace(args)).stderr, /--url "ftp:\/\/x" is no address/);
  });

  test('is known as a tree', async () => {
    const root = await tree();
    const leaves = leavesOf(root).map(({ path }) => path);
    for (const noun of ['app', 'topic', 'subscription'])
      for (const verb of ['list', 'get', 'create', 'update', 'delete'])
        assert.ok(leaves.includes(`${noun} ${verb}`), `${noun} ${verb}`);
    const dev = root.commands.find(({ path }) => path === 'dev');
    const port = dev?.options.find(({ long }) => long === '--port');
    assert.deepEqual([port?.environment, port?.takesValue], ['MILLRACE_PORT', true]);
    const people = await millrace(['commands']);
    assert.match(people.stdout, /^millrace replay <subscription> +send the events/m);
  });
});

describe('completion', () => {
  test('of bash gives commands, then options', async () => {
    const { stdout } = await millrace(['completion', 'bash']);
    const completed = (line: string): string[] => {
      const words = line.split(' ');
      const script = `${stdout}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _millrace; echo "\${COMPREPLY[@]}"`;
      const { status, stdout: said, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, '']);
      return said.trim().split(' ');
    };
    assert.deepEqual(completed('millrace to'), ['topic', 'token', 'token-key']);
    assert.deepEqual(completed('millrace top'), ['topic']);
    assert.deepEqual(completed('millrace topic cr'), ['create']);
    assert.deepEqual(completed('millrace topic create --ret'), ['--retention']);
    assert.deepEqual(completed('millrace --json dead-letter re'), ['redrive']);
    assert.deepEqual(completed('millrace publish --js'), ['--json']);
  });

  for (const shell of ['zsh', 'fish']) {
    test(`of ${shell} names every command, and ${shell} takes it where it is installed`, async () => {
      const { stdout } = await millrace(['completion', shell]);
      for (const { path } of leavesOf(await tree())) assert.ok(stdout.includes(path.split(' ').at(-1) ?? ''), path);
      if (spawnSync(shell, ['--version']).error !== undefined) return;
      const { status, stderr } = spawnSync(shell, ['-n', '-c', stdout], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, '']);
    });
  }

  test('of another shell is refused', async () => {
    const { exit, stderr } = await millrace(['completion', 'tcsh']);
    assert.equal(exit, 2);
    assert.match(stderr, /Allowed choices are bash, zsh, fish/);
  });
});
