/** Who gets colour, data, hints. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { coloursOf, createTerminal, type Terminal } from './terminal.ts';
import type { Out } from './world.ts';

function out(isTTY: boolean): Out & { text: string } {
  return {
    text: '',
    write(more) {
      this.text += more;
      return true;
    },
    drained: async () => undefined,
    isTTY,
    columns: isTTY ? 80 : undefined,
  };
}

function made(options: { json?: boolean; quiet?: boolean }): {
  terminal: Terminal;
  stdout: { text: string };
  stderr: { text: string };
} {
  const stdout = out(false);
  const stderr = out(false);
  return { terminal: createTerminal(options, { stdout, stderr, environment: {} }), stdout, stderr };
}

describe('the terminal', () => {
  test('has colour where a person looks on, unless told otherwise', () => {
    for (const [isTTY, environment, colours] of [
      [true, {}, true],
      [false, {}, false],
      [true, { NO_COLOR: '1' }, false],
      [true, { NO_COLOR: '' }, true],
      [false, { FORCE_COLOR: '1' }, true],
      [true, { FORCE_COLOR: '0' }, false],
      [false, { FORCE_COLOR: '1', NO_COLOR: '1' }, false],
    ] as const)
      assert.equal(coloursOf(out(isTTY), environment), colours, JSON.stringify([isTTY, environment]));
  });

  test('keeps data and all else apart', () => {
    const { terminal, stdout, stderr } = made({});
    terminal.data({ n: 1 }, () => 'one');
    terminal.record({ n: 2 });
    terminal.hint('hint');
    terminal.warn('warning');
    terminal.error('wrong', 'do this');
    assert.equal(stdout.text, 'one\n');
    assert.equal(stderr.text, 'hint\nwarning\nwrong\ndo this\n');
  });

  test('writes JSON where it is asked for', () => {
    const { terminal, stdout } = made({ json: true });
    terminal.data({ n: 1 }, () => 'one');
    terminal.line('a line for people');
    terminal.raw(() => 'two', '{"n":1.0}');
    assert.equal(stdout.text, '{"n":1}\n{"n":1.0}\n');
  });

  test('that is quiet leaves out hints and no warning', () => {
    const { terminal, stderr } = made({ quiet: true });
    terminal.hint('hint');
    terminal.warn('warning');
    assert.equal(stderr.text, 'warning\n');
  });
});
