/** `millrace dev` on a real terminal: keys do something, and the shell gets its terminal back as it was. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { BIN, gatewayIn, withoutMillrace } from './gateway.ts';
import { temporary } from './world.ts';

interface OnTerminal {
  press(keys: string): void;
  /** Resolves once the output holds it behind what was waited for before. */
  until(part: string): Promise<void>;
  readonly ended: Promise<number | null>;
  readonly text: () => string;
}

/** By way of script(1), which makes a terminal of its own. */
function onTerminal(t: TestContext, command: string, directory: string): OnTerminal {
  const child: ChildProcess = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: directory,
    env: { ...withoutMillrace(), TERM: 'xterm' },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  let seen = 0;
  let over = false;
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of waiting) one();
  };
  child.stdout?.on('data', (chunk) => {
    text += String(chunk);
    wake();
  });
  const ended = once(child, 'close').then(([code]) => {
    over = true;
    wake();
    return code as number | null;
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    press: (keys) => void child.stdin?.write(keys),
    async until(part) {
      for (let at = -1; at < 0;) {
        at = text.indexOf(part, seen);
        if (at >= 0) seen = at + part.length;
        else if (over) throw new Error(`it ended without '${part}':\n${text}`);
        else await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
    ended,
    text: () => text,
  };
}

const isThere = spawnSync('script', ['--version']).error === undefined;

describe('millrace dev on a terminal', { timeout: 60_000, skip: isThere ? false : 'script(1) is not installed' }, () => {
  test('takes keys, and leaves the terminal as it was', async (t) => {
    const command = `stty -g; '${process.execPath}' '${BIN}' dev --port 0; echo ended with $?; stty -g`;
    const { press, until, ended, text } = onTerminal(t, command, temporary(t));
    await until('q  quit');
    await until('signature verified');
    press('t');
    await until('orders.created');
    await until('signature verified');
    press('r');
    await until('orders.created');
    await until('signature verified');
    press('c');
    await until('\u001B[H');
    press('?');
    await until('q  quit');
    press('q');
    await until('ended with 0');
    assert.equal(await ended, 0);
    const [before, after, ...more] = text()
      .split(/\s+/)
      .filter((word) => /^[0-9a-f]+(:[0-9a-f]+){8,}$/.test(word));
    assert.ok(before !== undefined && more.length === 0);
    assert.equal(after, before);
  });

  test('ends by Ctrl-C, which the terminal no longer makes a signal of', async (t) => {
    const { press, until } = onTerminal(
      t,
      `'${process.execPath}' '${BIN}' dev --no-sample --port 0; echo ended with $?`,
      temporary(t),
    );
    await until('q  quit');
    press('\u0003');
    await until('Stopping');
    await until('ended with 0');
  });

  test('says that the shell it was started from has another key than the one it shows', async (t) => {
    const dev = `'${process.execPath}' '${BIN}' dev --no-sample --port 0`;
    const { press, until, text } = onTerminal(t, `MILLRACE_KEY=mr_other ${dev}; echo ended with $?`, temporary(t));
    await until('MILLRACE_KEY is set here, to another key than this one');
    await until('q  quit');
    press('q');
    await until('ended with 0');
    assert.ok(!text().includes('mr_other'));
  });

  test('asks a person before something is gone', async (t) => {
    const directory = temporary(t);
    const { press, until } = onTerminal(t, `'${process.execPath}' '${BIN}' topic delete a; echo ended with $?`, directory);
    await until("Delete the topic 'a'?");
    press('n\r');
    await until('nothing was changed');
    await until('ended with 130');
  });
});

describe('millrace as a process', { timeout: 60_000 }, () => {
  test('ends with 130 by Ctrl-C, and says where to go on', async (t) => {
    const directory = temporary(t);
    await gatewayIn(t, directory, ['--no-sample']);
    const child = spawn(process.execPath, [BIN, 'tail'], {
      cwd: directory,
      env: withoutMillrace(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    t.after(() => child.kill('SIGKILL'));
    const ended = once(child, 'close');
    let stderr = '';
    for await (const chunk of child.stderr) {
      stderr += String(chunk);
      // A second one would end it at once.
      if (stderr.includes('Ctrl-C ends') && !child.killed) child.kill('SIGINT');
    }
    assert.deepEqual(await ended, [130, null]);
    assert.match(stderr, /Go on from here: --cursor \S+\n$/);
  });

  test('ends quietly when whoever reads it has gone', () => {
    const { stdout, stderr } = spawnSync('sh', ['-c', `'${process.execPath}' '${BIN}' commands | head -1`], { encoding: 'utf8' });
    assert.match(stdout, /^millrace dev .*\n$/);
    assert.equal(stderr, '');
  });
});
