/** Wildcards, compiled: `a*b*c`. */
import { comparingSteps, endsWith, startsWith } from './text.ts';
import { spend, type Work } from './work.ts';

/** Where `text` has the part at or after `from`; -1 where it has it nowhere. */
type Find = (text: string, from: number) => number;

/**
 * Matches by taking the first and last part at the ends and every part between at its first occurrence after the one
 * before. The leftmost choice is never worse, so there is nothing to go back to: the text is walked once.
 */
export function compileWildcard(parts: readonly string[]): (text: string, work: Work) => boolean {
  const [first = ''] = parts;
  if (parts.length === 1) {
    return (text, work) => {
      spend(work, 1);
      return text === first;
    };
  }
  const last = parts.at(-1) ?? '';
  const steps = comparingSteps(first) + comparingSteps(last);
  const between = parts.slice(1, -1).map((part) => ({ length: part.length, find: finder(part) }));
  return (text, work) => {
    spend(work, steps);
    if (text.length < first.length + last.length || !startsWith(text, first) || !endsWith(text, last)) return false;
    const end = text.length - last.length;
    let from = first.length;
    for (const { length, find } of between) {
      const found = find(text, from);
      // Half a step for every character passed over.
      spend(work, 1 + (((found === -1 ? text.length : found) - from + length) >> 1));
      if (found === -1 || found + length > end) return false;
      from = found + length;
    }
    return true;
  };
}

/** Up to here the engine's own search takes no more than 10 ns for a character, whatever stands in part and text. */
const OWN_SEARCH_CHARS_MAX = 64;

/** The engine's search looks at up to 250 characters again for each of the text where a long part nearly fits everywhere. */
function finder(part: string): Find {
  if (part.length <= OWN_SEARCH_CHARS_MAX) return (text, from) => text.indexOf(part, from);
  const borders = bordersOf(part);
  return (text, from) => {
    let fits = 0;
    for (let at = from; at < text.length; at += 1) {
      fits = grown(part, borders, fits, text.charCodeAt(at));
      if (fits === part.length) return at + 1 - fits;
    }
    return -1;
  };
}

/** For every length of a beginning of `part`, how much of its end is a beginning of `part` again (Knuth, Morris, Pratt 1977). */
function bordersOf(part: string): Uint16Array {
  const borders = new Uint16Array(part.length + 1);
  let fits = 0;
  for (let at = 1; at < part.length; at += 1) {
    fits = grown(part, borders, fits, part.charCodeAt(at));
    borders[at + 1] = fits;
  }
  return borders;
}

/** How much of `part` fits when one more character has come. */
function grown(part: string, borders: Uint16Array, fits: number, unit: number): number {
  let length = fits;
  while (length > 0 && part.charCodeAt(length) !== unit) length = borders[length] as number;
  return part.charCodeAt(length) === unit ? length + 1 : length;
}
