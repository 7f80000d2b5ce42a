import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { chromium } from './chromium.ts';
import { findRuntime } from './find.ts';
import { packaged } from './packaged.ts';
import { type Runtime, RuntimeUnavailable } from './runtime.ts';
import { runRuntimes } from './runtimes.ts';

function temporary(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-runtimes-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function shell(t: TestContext) {
  const fetched: string[] = [];
  const runtime = (name: string): Runtime => ({
    name,
    find: (cache) => (fetched.includes(name) ? join(cache, name) : undefined),
    async fetch() {
      if (name === 'missing') throw new RuntimeUnavailable('it is not to be had', 'Look elsewhere.');
      fetched.push(name);
    },
  });
  const cache = temporary(t);
  const run = async (...args: string[]) => {
    const lines: string[] = [];
    const code = await runRuntimes(args, { runtimes: ['missing', 'good'].map(runtime), cache, say: (line) => lines.push(line) });
    return { code, lines };
  };
  return { run, fetched, cache };
}

describe('npm run runtimes', () => {
  test('up gets what is missing, once, and says where it is', async (t) => {
    const { run, fetched, cache } = shell(t);
    assert.deepEqual(await run('status', 'good'), { code: 0, lines: ['good is not here'] });
    for (let n = 0; n < 2; n++) assert.deepEqual(await run('up', 'good'), { code: 0, lines: [`good ${join(cache, 'good')}`] });
    assert.deepEqual(fetched, ['good']);
  });

  test('one that can not be had says what to do, and the others are got all the same', async (t) => {
    const { run, cache } = shell(t);
    const lines = ['missing: it is not to be had', '  → Look elsewhere.', 'missing is not here', `good ${join(cache, 'good')}`];
    assert.deepEqual(await run('up'), { code: 1, lines });
  });

  test('a name or verb it does not know is answered with those it does', async (t) => {
    const { run } = shell(t);
    assert.deepEqual(await run('up', 'netscape'), { code: 1, lines: ['no such runtime: netscape; there are missing, good'] });
    assert.match((await run('down')).lines[0] ?? '', /up\|status/);
  });
});

describe('a runtime from npm', () => {
  const PINS = { 'here-x64': { package: '@millrace-test/none', integrity: 'sha512-AAAA' } };
  const one = (here: string): Runtime => packaged({ name: 'one', version: '1.0.0', program: 'bin/one', pins: PINS }, here);

  /** An npm that packs what it is told to: the real one would ask a registry. */
  function fakeNpm(t: TestContext, script: string): void {
    const folder = temporary(t);
    const { PATH = '' } = process.env;
    t.after(() => (process.env['PATH'] = PATH));
    writeFileSync(join(folder, 'npm'), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, 'npm'), 0o755);
    process.env['PATH'] = `${folder}${delimiter}${PATH}`;
  }

  test('that is not what was pinned is not unpacked', async (t) => {
    const cache = temporary(t);
    fakeNpm(t, 'echo forged > forged.tgz');
    await assert.rejects(one('here-x64').fetch(cache), /is not what was pinned: sha512-/);
    assert.deepEqual(readdirSync(join(cache, 'runtimes')), []);
    assert.equal(one('here-x64').find(cache), undefined);
  });

  test('that is what was pinned is unpacked whole, and found', async (t) => {
    const cache = temporary(t);
    fakeNpm(
      t,
      `mkdir -p package/bin && echo x > package/bin/one && tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - package | gzip -n > one.tgz; rm -r package`,
    );
    const told = await one('here-x64')
      .fetch(cache)
      .catch(({ message }: Error) => message);
    const [, integrity = ''] = /pinned: (\S+)/.exec(String(told)) ?? [];
    const pins = { 'here-x64': { package: '@millrace-test/none', integrity } };
    const good = packaged({ name: 'one', version: '1.0.0', program: 'bin/one', pins }, 'here-x64');
    await good.fetch(cache);
    assert.deepEqual(findRuntime(good, cache), { path: join(cache, 'runtimes', 'one-1.0.0-here-x64', 'bin/one'), skip: false });
  });

  test('that npm has not says so, and so does a platform without a pin', async (t) => {
    fakeNpm(t, 'echo E404 >&2; exit 1');
    await assert.rejects(one('here-x64').fetch(temporary(t)), {
      name: 'RuntimeUnavailable',
      message: /could not be fetched: E404/,
    });
    await assert.rejects(one('there-x64').fetch(temporary(t)), {
      message: /not pinned for there-x64/,
      advice: 'Pinned are here-x64.',
    });
  });

  test('that is not here skips a test with the command that gets it', (t) => {
    assert.deepEqual(findRuntime(one('here-x64'), temporary(t)), {
      path: '',
      skip: 'there is no one here: npm run runtimes -- up one',
    });
  });
});

test('Chromium may be named, and is looked for in the path', (t) => {
  const folder = temporary(t);
  const { PATH = '', MILLRACE_CHROMIUM } = process.env;
  t.after(() => {
    process.env['PATH'] = PATH;
    if (MILLRACE_CHROMIUM === undefined) delete process.env['MILLRACE_CHROMIUM'];
    else process.env['MILLRACE_CHROMIUM'] = MILLRACE_CHROMIUM;
  });
  process.env['PATH'] = folder;
  delete process.env['MILLRACE_CHROMIUM'];
  assert.equal(chromium.find(''), undefined);
  writeFileSync(join(folder, 'chromium'), '', { mode: 0o755 });
  assert.equal(chromium.find(''), join(folder, 'chromium'));
  writeFileSync(join(folder, 'mine'), '', { mode: 0o755 });
  process.env['MILLRACE_CHROMIUM'] = join(folder, 'mine');
  assert.equal(chromium.find(''), join(folder, 'mine'));
});
