/** Tests of strings: ignoring case, and by wildcard. */

/**
 * Text as `equals-ignore-case` compares it: every code point upper-cased and then lower-cased on its own, so that what
 * stands beside a letter (the Greek final sigma) does not change it and a prefix folds as it does inside the whole.
 */
export function foldCase(text: string): string {
  if (/^[\0-\x7f]*$/.test(text)) return text.toLowerCase();
  return Array.from(text, (letter) => letter.toUpperCase().toLowerCase()).join('');
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

/**
 * Matches by taking the first and last part at the ends and every part between at its first occurrence after the one
 * before. The leftmost choice is never worse, so there is nothing to go back to: the text is walked once.
 */
export function matchesWildcard(parts: readonly string[], text: string): boolean {
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (parts.length === 1) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let from = first.length;
  for (let at = 1; at < parts.length - 1; at += 1) {
    const part = parts[at] ?? '';
    const found = text.indexOf(part, from);
    if (found === -1 || found + part.length > end) return false;
    from = found + part.length;
  }
  return true;
}
