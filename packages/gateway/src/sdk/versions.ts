/** Versions as Semantic Versioning 2.0.0 writes and orders them: as much of it as names of releases need. */

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** What stands before a release: `rc.1`. */
  readonly before: readonly string[];
}

const NUMBER = '(0|[1-9]\\d{0,5})';
const WORDS = '[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*';
const VERSION = new RegExp(`^${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-(${WORDS}))?(?:\\+${WORDS})?$`);
const CHARS_MAX = 64;

/** Undefined for what is none. What follows a `+` says nothing of the order. */
export function versionIn(text: string): Version | undefined {
  const [, major, minor, patch, before] = (text.length > CHARS_MAX ? null : VERSION.exec(text)) ?? [];
  if (major === undefined) return undefined;
  return { major: Number(major), minor: Number(minor), patch: Number(patch), before: before?.split('.') ?? [] };
}

export function isSameLine(one: Version, other: Version): boolean {
  return one.major === other.major && one.minor === other.minor;
}

/** Below 0 where the first comes before. */
export function compareVersions(one: Version, other: Version): number {
  return one.major - other.major || one.minor - other.minor || one.patch - other.patch || compareBefore(one, other);
}

/** Section 11: a release comes after all that stands before it; of equal beginnings the longer one comes after. */
function compareBefore({ before: one }: Version, { before: other }: Version): number {
  if (one.length === 0 || other.length === 0) return other.length - one.length;
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const order = compareWords(one[at] as string, other[at] as string);
    if (order !== 0) return order;
  }
  return one.length - other.length;
}

/** Numbers by value, and before words. */
function compareWords(one: string, other: string): number {
  const [first, second] = [one, other].map((word) => (/^\d+$/.test(word) ? Number(word) : Infinity)) as [number, number];
  if (first !== second) return first < second ? -1 : 1;
  return one < other ? -1 : one > other ? 1 : 0;
}
