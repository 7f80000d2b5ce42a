/** Texts: without case, and by wildcard. */
import { spend, UNBOUNDED, type Work } from './work.ts';

const ASCII = /^[\0-\x7f]*$/;

/**
 * Text as `equals-ignore-case` compares it: every code point upper-cased and then lower-cased on its own, so that what
 * stands beside a letter (the Greek final sigma) does not change it and a prefix folds as it does inside the whole.
 * No code point becomes shorter by it, in UTF-16; some become up to three times as long ('ΐ'; 'ß' becomes 'ss').
 */
export function foldCase(text: string, work: Work = UNBOUNDED): string {
  if (ASCII.test(text)) return foldAscii(text, work);
  let folded = '';
  for (const letter of text) folded += foldLetter(letter, work);
  return folded;
}

/** As far into foldCase(text) as `length` characters at least, or all of it: a prefix needs no more. */
export function foldHead(text: string, length: number, work: Work = UNBOUNDED): string {
  const head = text.slice(0, length);
  if (ASCII.test(head)) return foldAscii(head, work);
  let folded = '';
  for (const letter of text) {
    if (folded.length >= length) break;
    folded += foldLetter(letter, work);
  }
  return folded;
}

/** The same from the end. */
export function foldTail(text: string, length: number, work: Work = UNBOUNDED): string {
  const tail = text.slice(Math.max(0, text.length - length));
  if (ASCII.test(tail)) return foldAscii(tail, work);
  let folded = '';
  for (let at = text.length; at > 0 && folded.length < length;) {
    // Half a character stands for itself, as it does to the iterator of foldCase.
    const isPair = at > 1 && (text.codePointAt(at - 2) ?? 0) > 0xff_ff;
    at -= isPair ? 2 : 1;
    folded = foldLetter(text.slice(at, at + (isPair ? 2 : 1)), work) + folded;
  }
  return folded;
}

function foldAscii(text: string, work: Work): string {
  spend(work, 12 + (text.length >> 3));
  return text.toLowerCase();
}

/** Up to 300 ns with what surrounds it, as letters beyond ASCII are looked up. */
function foldLetter(letter: string, work: Work): string {
  spend(work, 12);
  return letter.toUpperCase().toLowerCase();
}

/** From here on a piece compared whole costs less than the engine's startsWith, which takes 3 ns for every character. */
const SHORT = 16;

export function startsWith(text: string, part: string): boolean {
  return part.length <= SHORT ? text.startsWith(part) : text.slice(0, part.length) === part;
}

export function endsWith(text: string, part: string): boolean {
  return part.length <= SHORT ? text.endsWith(part) : text.slice(-part.length) === part;
}

/** What one of these takes at most. */
export function comparingSteps(part: string): number {
  return 2 + (part.length >> 5);
}

/**
 * The literal parts between the `*` of a wildcard; `\*` and `\\` stand for themselves. Undefined where the pattern has
 * two `*` in a row or another escape.
 */
export function wildcardParts(pattern: string): string[] | undefined {
  const parts = [''];
  for (let at = 0; at < pattern.length; at += 1) {
    const letter = pattern.charAt(at);
    if (letter === '*') {
      if (pattern.charAt(at + 1) === '*') return undefined;
      parts.push('');
      continue;
    }
    if (letter === '\\') at += 1;
    if (letter === '\\' && !'*\\'.includes(pattern.charAt(at) || 'none')) return undefined;
    parts[parts.length - 1] += pattern.charAt(at);
  }
  return parts;
}
