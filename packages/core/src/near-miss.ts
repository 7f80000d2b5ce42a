/** Names that were mistyped: which of those that are known was meant. */

/** Typing errors in one name: one letter that is missing, too many, another, or changed places with its neighbour. */
const ERRORS_MAX = 2;
/** What is longer than any name of ours is none of them, and takes time to compare. */
const CHARS_MAX = 40;

/** The nearest of `names`, where one is near enough to be meant. How words are put together in it, and capitals, count for nothing. */
export function meantAmong(names: Iterable<string>, given: string): string | undefined {
  if (given.length > CHARS_MAX) return undefined;
  const plain = plainOf(given);
  if (plain.length < 2) return undefined;
  let meant: string | undefined;
  // Of a short name two letters are most of it.
  let least = Math.min(ERRORS_MAX, Math.ceil(plain.length / 3)) + 1;
  for (const name of names) {
    const errors = errorsBetween(plain, plainOf(name));
    if (name === given || errors >= least) continue;
    [meant, least] = [name, errors];
  }
  return meant;
}

/** As the end of a sentence about `given`; empty where nothing is near. */
export function didYouMean(names: Iterable<string>, given: string): string {
  const meant = meantAmong(names, given);
  return meant === undefined ? '' : ` (did you mean '${meant}'?)`;
}

const plainOf = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '');

/** Optimal string alignment. One more than counts for all that is further. */
function errorsBetween(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > ERRORS_MAX) return ERRORS_MAX + 1;
  let before: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const isSame = one[i - 1] === other[j - 1];
      let errors = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        errors = Math.min(errors, (before[j - 2] ?? 0) + 1);
      row.push(errors);
    }
    [before, last] = [last, row];
  }
  return last[other.length] ?? 0;
}
