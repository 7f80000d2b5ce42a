/** How far something long has come: after half a second a bar where a person looks on, else a line per ten percent. On stderr. */
import { count, cut, number, spanOf } from './text.ts';
import type { Terminal } from './terminal.ts';

/** What is done sooner needs no bar. */
const SILENT_MS = 500;
/** A bar is drawn so often at most. */
const DRAW_MS = 100;
const BAR_CHARACTERS = 24;

export interface Progress {
  /** `part` of all, 0 to 1, where that is known; `done` in the unit people count in. */
  at(done: number, part: number | undefined): void;
  /** Removes the bar. Idempotent. */
  end(): void;
}

export function createProgress(terminal: Terminal, unit: string, now: () => number = () => performance.now()): Progress {
  const startedMs = now();
  let drawnMs = -Infinity;
  let tenths = 0;
  let drawn = false;

  function bar(done: number, part: number | undefined): string {
    const elapsedMs = Math.max(1, now() - startedMs);
    const rate = `${count(done, unit)}  ${number(Math.round((done * 1_000) / elapsedMs))}/s`;
    if (part === undefined) return rate;
    const filled = Math.round(part * BAR_CHARACTERS);
    const left = part > 0 && part < 1 ? `  ${spanOf((elapsedMs * (1 - part)) / part)} left` : '';
    return `${'█'.repeat(filled)}${'░'.repeat(BAR_CHARACTERS - filled)}  ${Math.floor(part * 100)} %  ${rate}${left}`;
  }

  return {
    at(done, part) {
      if (terminal.quiet) return;
      if (terminal.live > 0) {
        if (now() - startedMs < SILENT_MS || now() - drawnMs < DRAW_MS) return;
        drawnMs = now();
        drawn = true;
        // A line that wraps could not be removed again.
        terminal.draw(`\r\u001B[2K${cut(bar(done, part), terminal.live - 1)}`);
        return;
      }
      const reached = Math.floor((part ?? 0) * 10);
      if (reached <= tenths) return;
      tenths = reached;
      terminal.hint(`${reached * 10} %  ${count(done, unit)}`);
    },
    end() {
      if (drawn) terminal.draw('\r\u001B[2K');
      drawn = false;
    },
  };
}
