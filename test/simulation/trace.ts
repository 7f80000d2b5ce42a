/** What happened, in order: a hash over all of it, the last lines for a failure's history, all of them when asked. */
import { hashText } from './random.ts';

export interface Trace {
  note(line: string): void;
  hash(): string;
  /** The newest lines, oldest first; only those that mention one of `words` where words are given. */
  last(count: number, words?: readonly string[]): readonly string[];
  lines(): number;
}

const KEPT = 20_000;

export function createTrace(at: () => string, print?: (line: string) => void): Trace {
  const kept: string[] = [];
  let first = hashText('');
  let second = hashText('second');
  let count = 0;

  return {
    note(line) {
      const dated = `${at()} ${line}`;
      first = hashText(dated, first);
      second = hashText(dated, Math.imul(second, 31) >>> 0);
      count += 1;
      kept.push(dated);
      if (kept.length > KEPT) kept.splice(0, KEPT / 2);
      print?.(dated);
    },
    hash: () => first.toString(16).padStart(8, '0') + second.toString(16).padStart(8, '0'),
    last: (wanted, words) =>
      (words === undefined ? kept : kept.filter((line) => words.some((word) => line.includes(word)))).slice(-wanted),
    lines: () => count,
  };
}
