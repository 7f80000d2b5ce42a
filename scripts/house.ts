/** House rules that neither compiler nor linter holds: names, sleeps in tests, exact versions, a lock and sources without a place in them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesIn, isForTests, ROOT } from './tree.ts';

interface Rule {
  readonly name: string;
  readonly what: string;
  readonly holds: (file: string) => boolean;
  /** Lines (from 1) that break it. */
  readonly breaks: (file: string, source: string) => readonly number[];
}

const isCode = (file: string): boolean => /\.[jt]s$/.test(file);

export const RULES: readonly Rule[] = [
  {
    name: 'names say what a thing is',
    what: 'no Impl, Manager, Helper or util in the name of a file or of anything declared',
    holds: isCode,
    breaks: (file, source) => [
      ...(/(impl|manager|helpers?|utils?)([./-]|$)/i.test(file) ? [1] : []),
      ...linesWith(
        /\b(?:class|function|interface|type|const|let)\s+(?:\w*(?:Impl|Manager|Helpers?|Utils?)|helpers?|utils?)\b/,
        source,
      ),
    ],
  },
  {
    name: 'tests await signals',
    what: 'no setTimeout in a test: await what should happen; where real time is the subject, a comment `real time: why` stands beside it or above',
    holds: (file) => isCode(file) && isForTests(file) && !file.startsWith('bench/'),
    breaks: (_, source) => linesWith(/\bsetTimeout\(/, source).filter((line) => !isAllowed(source, line)),
  },
  {
    name: 'versions are exact',
    what: 'a dependency in package.json is one version, so that every machine runs the same',
    holds: (file) => /(^|\/)package\.json$/.test(file),
    breaks: (_, source) => rangesIn(source),
  },
  {
    name: 'the lock names no host',
    what: 'package-lock.json without addresses in `resolved` (.npmrc: omit-lockfile-registry-resolved), so that npm ci asks the registry it is given',
    holds: (file) => /(^|\/)package-lock\.json$/.test(file),
    breaks: (_, source) => linesWith(/"resolved":\s*"[^"]*:\/\//, source),
  },
  {
    name: 'nothing names a machine',
    what: 'no path of a home or work directory, and no registry host',
    holds: (file) => !/(^|\/)package-lock\.json$/.test(file),
    breaks: (_, source) =>
      linesWith(/(?<![\w.~/-])\/(?:work|root|home|Users)\/[\w.-]|registry\.(?:npmjs|yarnpkg)\.|^registry\s*=/, source),
  },
];

/** One line per breach: `file:line → rule → what is wanted`. */
export function breachesOf(file: string, source: string): string[] {
  return RULES.filter((rule) => rule.holds(file)).flatMap((rule) =>
    rule.breaks(file, source).map((line) => `${file}:${line} → ${rule.name} → ${rule.what}`),
  );
}

function linesWith(pattern: RegExp, source: string): number[] {
  return source.split('\n').flatMap((line, at) => (pattern.test(line) ? [at + 1] : []));
}

function isAllowed(source: string, line: number): boolean {
  return source
    .split('\n')
    .slice(Math.max(0, line - 2), line)
    .some((text) => /\/\/ real time: \S/.test(text));
}

/** Peers stay ranges: whoever installs a driver chooses its client library. */
function rangesIn(source: string): number[] {
  const manifest: Record<string, Record<string, string> | undefined> = JSON.parse(source);
  const ranges = ['dependencies', 'devDependencies', 'optionalDependencies']
    .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version));
  return ranges.map(([name]) => source.split('\n').findIndex((line) => line.includes(`"${name}":`)) + 1);
}

export function houseBreaches(root = ROOT): string[] {
  return filesIn(root).flatMap((file) => {
    const bytes = readFileSync(join(root, file));
    return bytes.includes(0) ? [] : breachesOf(file, bytes.toString());
  });
}

if (import.meta.main) {
  const breaches = houseBreaches();
  for (const breach of breaches) console.log(breach);
  process.exitCode = breaches.length === 0 ? 0 : 1;
}
