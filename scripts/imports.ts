/**
 * Imports point one way: `gateway/main → drivers → gateway/ports → core`, and beside it: flow files do not know each other,
 * drivers do not know each other, conformance knows ports and core, console and SDKs know only spec/.
 *
 * A check of our own, because the linter's no-restricted-imports sees only the words between the quotes: not where a relative
 * path ends up, and no `import()`.
 */
import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, posix } from 'node:path';
import { filesIn, isForTests, ROOT } from './tree.ts';

export interface Import {
  readonly line: number;
  readonly specifier: string;
  /** Nothing of it is left at run time. */
  readonly typeOnly: boolean;
}

interface Rule {
  readonly name: string;
  readonly why: string;
  /** Which files it holds. */
  readonly holds: (file: string) => boolean;
  /** `to` is a path in the repository, `node:name`, or `npm:name`. */
  readonly breaks: (from: string, to: string, typeOnly: boolean) => boolean;
}

const GATEWAY = 'packages/gateway/src/';
const DRIVER = /^packages\/(embedded|memory|(log|store|bridge)-[^/]+)\//;

const within =
  (...folders: readonly string[]) =>
  (path: string): boolean =>
    folders.some((folder) => path.startsWith(folder));

const sourceOf =
  (...folders: readonly string[]) =>
  (file: string): boolean =>
    within(...folders)(file) && !isForTests(file);

/** `packages/core/`, `sdk/js/`: the unit that a relative import must not leave. */
const unitOf = (path: string): string | undefined => /^(packages|sdk)\/[^/]+\//.exec(path)?.[0];

const isModule = (to: string): boolean => /^(node|npm):/.test(to);

export const RULES: readonly Rule[] = [
  {
    name: 'core stands alone',
    why: 'it runs at the edge and in SDK tests, so it may use nothing but itself and Web APIs',
    holds: sourceOf('packages/core/'),
    breaks: (_, to) => !within('packages/core/src/')(to),
  },
  {
    name: 'ports know only core',
    why: 'a driver author reads a port and needs nothing else of the gateway',
    holds: sourceOf(`${GATEWAY}ports/`),
    breaks: (_, to) => !within('packages/core/', `${GATEWAY}ports/`)(to),
  },
  {
    name: 'flow files do not import each other',
    why: 'gateway.ts composes the steps, so that the journey is read in one place; import type is fine',
    holds: sourceOf(`${GATEWAY}flow/`),
    breaks: (_, to, typeOnly) => !typeOnly && within(`${GATEWAY}flow/`)(to),
  },
  {
    name: 'the flow knows no door',
    why: 'the simulation runs the flow without HTTP, sessions or a process around it',
    holds: sourceOf(`${GATEWAY}flow/`, `${GATEWAY}lanes/`),
    breaks: (_, to) => within(`${GATEWAY}http/`, `${GATEWAY}realtime/`, `${GATEWAY}gateway.ts`, `${GATEWAY}main.ts`)(to),
  },
  {
    name: 'only main.ts knows drivers',
    why: 'a driver is added or left out in one file (packages/gateway/src/main.ts); everything else speaks to ports',
    holds: (file) => sourceOf('packages/')(file) && file !== `${GATEWAY}main.ts` && !DRIVER.test(file),
    breaks: (_, to) => DRIVER.test(to),
  },
  {
    name: 'drivers do not know each other',
    why: 'what two drivers share belongs into core or into the conformance suite',
    holds: (file) => DRIVER.test(file),
    breaks: (from, to) => DRIVER.test(to) && unitOf(from) !== unitOf(to),
  },
  {
    name: 'drivers know only the ports of the gateway',
    why: 'a driver that leans on the inside of the gateway breaks when the inside changes',
    holds: (file) => DRIVER.test(file),
    breaks: (_, to) => within('packages/gateway/')(to) && !within(`${GATEWAY}ports/`)(to),
  },
  {
    name: 'nobody imports the command',
    why: 'packages/cli is the outermost: it starts the gateway and speaks to one over HTTP',
    holds: (file) => sourceOf('packages/')(file) && !within('packages/cli/')(file),
    breaks: (_, to) => within('packages/cli/')(to),
  },
  {
    name: 'conformance knows ports and core',
    why: 'the suite judges any driver, so it must not lean on one, nor on the gateway',
    holds: sourceOf('packages/conformance/'),
    breaks: (_, to) => !to.startsWith('node:') && !within('packages/conformance/', 'packages/core/', `${GATEWAY}ports/`)(to),
  },
  {
    name: 'conformance is for tests',
    why: 'it brings node:test along',
    holds: (file) => sourceOf('packages/')(file) && !within('packages/conformance/')(file),
    breaks: (_, to) => within('packages/conformance/')(to),
  },
  {
    name: 'the console knows only spec/',
    why: 'it uses the public HTTP API as anybody would, so that the API is enough for anybody',
    holds: sourceOf('packages/console/'),
    breaks: (_, to) => !to.startsWith('npm:') && !within('packages/console/', 'spec/')(to),
  },
  {
    name: 'SDKs know only spec/',
    why: 'an SDK is one file that people copy; it runs in browsers and at the edge',
    holds: sourceOf('sdk/'),
    breaks: (from, to) => !within(unitOf(from) ?? 'sdk/', 'spec/')(to),
  },
  {
    name: 'packages are imported by name',
    why: 'a relative path into another package breaks once both are installed from npm',
    holds: (file) => unitOf(file) !== undefined && file.startsWith('packages/'),
    breaks: (from, to) => !isModule(to) && to.startsWith('packages/') && unitOf(from) !== unitOf(to),
  },
  {
    name: 'sources do not import tests',
    why: 'tests are not published',
    holds: sourceOf('packages/', 'sdk/'),
    breaks: (_, to) => !isModule(to) && isForTests(to),
  },
];

/** One line per breach: `file:line imports 'x' → rule → why`. */
export function breachesOf(file: string, source: string): string[] {
  return readImports(source).flatMap(({ line, specifier, typeOnly }) => {
    const to = targetOf(file, specifier);
    const byPath = specifier.startsWith('.');
    return RULES.filter((rule) => rule.holds(file) && rule.breaks(file, to, typeOnly))
      .filter((rule) => byPath || rule.name !== 'packages are imported by name')
      .map((rule) => `${file}:${line} imports '${specifier}' → ${rule.name} → ${rule.why}`);
  });
}

/**
 * Reads import lines and no more of the language: statements begin at the start of a line (the formatter sees to that), so
 * comments and most strings stay out. `import()` is read wherever it stands, except in a line comment.
 */
export function readImports(source: string): Import[] {
  const statements =
    /^(?:import|export)\b(?!\s*\()(?<type>\s+type\b(?!\s+from\b|\s*,))?(?:[^;'"`]*?\bfrom)?\s*['"](?<specifier>[^'"\n]+)['"]/gm;
  const calls = /^(?!\s*(?:\/\/|\*)).*?\bimport\(\s*['"`](?<specifier>[^'"`\n]+)['"`]/gm;
  return [...source.matchAll(statements), ...source.matchAll(calls)]
    .map(({ index, groups }) => ({
      line: source.slice(0, index).split('\n').length,
      specifier: groups?.['specifier'] ?? '',
      typeOnly: groups?.['type'] !== undefined,
    }))
    .toSorted((a, b) => a.line - b.line);
}

function targetOf(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.join(posix.dirname(file), specifier);
  const ours = /^@millrace\/([^/]+)(?:\/(.+))?$/.exec(specifier);
  if (ours !== null) return `packages/${ours[1]}/src/${ours[2] ?? ours[1]}.ts`;
  return isBuiltin(specifier) ? `node:${specifier.replace(/^node:/, '')}` : `npm:${specifier}`;
}

export function importBreaches(root = ROOT): string[] {
  return filesIn(root)
    .filter((file) => /\.[jt]s$/.test(file))
    .flatMap((file) => breachesOf(file, readFileSync(join(root, file), 'utf8')));
}

if (import.meta.main) {
  const breaches = importBreaches();
  for (const breach of breaches) console.log(breach);
  process.exitCode = breaches.length === 0 ? 0 : 1;
}
