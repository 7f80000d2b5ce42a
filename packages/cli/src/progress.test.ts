/** Progress: a bar for who looks on, lines for a log. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createProgress, type Progress } from './progress.ts';
import type { Terminal } from './terminal.ts';

interface Made {
  readonly progress: Progress;
  readonly text: () => string;
  readonly pass: (ms: number) => void;
}

function made({ live = 0, quiet = false }: { readonly live?: number; readonly quiet?: boolean }): Made {
  let text = '';
  let nowMs = 0;
  const terminal = {
    quiet,
    live,
    hint: (line: string) => void (text += `${line}\n`),
    draw: (part: string) => void (text += part),
  } as unknown as Terminal;
  return { progress: createProgress(terminal, 'event', () => nowMs), text: () => text, pass: (ms) => void (nowMs += ms) };
}

describe('progress', () => {
  test('in a log is a line per ten percent', () => {
    const { progress, text } = made({});
    for (const done of [50, 100, 150, 380, 1_000]) progress.at(done, done / 1_000);
    progress.end();
    assert.equal(text(), '10 %  100 events\n30 %  380 events\n100 %  1,000 events\n');
  });

  test('for a person is a bar, once it has taken half a second', () => {
    const { progress, text, pass } = made({ live: 120 });
    pass(400);
    progress.at(100, 0.1);
    assert.equal(text(), '');
    pass(600);
    progress.at(500, 0.5);
    assert.equal(text(), `\r\u001B[2K${'█'.repeat(12)}${'░'.repeat(12)}  50 %  500 events  500/s  1 s left`);
    pass(10);
    progress.at(510, 0.51);
    assert.doesNotMatch(text(), /51 %/, 'it is not drawn more often than an eye can follow');
    progress.end();
    assert.ok(text().endsWith('\r\u001B[2K'), 'the line is empty again');
  });

  test('stays in one line of a narrow terminal', () => {
    const { progress, text, pass } = made({ live: 40 });
    pass(1_000);
    progress.at(500, 0.5);
    assert.equal(text().slice('\r\u001B[2K'.length).length, 39);
  });

  test('without a known end counts', () => {
    const { progress, text, pass } = made({ live: 120 });
    pass(1_000);
    progress.at(2_000, undefined);
    assert.match(text(), /2,000 events {2}2,000\/s$/);
  });

  test('is silent where it is asked to be', () => {
    const { progress, text } = made({ quiet: true });
    progress.at(1_000, 1);
    progress.end();
    assert.equal(text(), '');
  });
});
