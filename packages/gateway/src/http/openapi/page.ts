/** docs/api.md: the document for people. Made from it, and from the list of problems. */
import { PROBLEMS } from '@millrace/core/problem';
import { ADVICE } from '@millrace/core/problem-advice';
import { createCallLines, scopesOf } from './page-calls.ts';
import { linkTo, tableOf, titled } from './page-marks.ts';
import { membersOf, schemaLines } from './page-members.ts';
import { CODES } from './problem.ts';
import type { ShownCall, ShownDocument, ShownSchemas } from './shown.ts';

/** What the rules at its head and the list at its end tell of. */
const TOLD_AT_ENDS = ['Problem', 'Page'];

export function pageOf(document: ShownDocument): string {
  const { info, tags, components } = document;
  const told = new Set(TOLD_AT_ENDS);
  const callLines = createCallLines(components, told);
  const calls = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  const sections = tags.map(({ name, description }) => {
    const own = calls.filter(({ operation }) => operation.tags.includes(name));
    return [
      `## ${titled(name)}`,
      description,
      callTable(own),
      ...own.flatMap(callLines),
      ...answered(own, components.schemas, told),
    ];
  });
  return `${[
    '<!-- Made by scripts/generated.ts from the descriptions in packages/gateway/src/http/openapi: change it there. -->',
    '# HTTP API',
    `${info.summary} For programs the same is in [spec/openapi.json](../spec/openapi.json), which a gateway serves at \`GET /openapi.json\`.`,
    contents(document),
    info.description,
    ...sections.flat(),
    ...problemLines(components.schemas),
  ].join('\n\n')}\n`;
}

function contents({ info, tags }: ShownDocument): string {
  const guides = [...info.description.matchAll(/^## (.+)$/gm)].map(([, title = '']) => title);
  return [...guides, ...tags.map(({ name }) => titled(name)), 'Problems'].map((title) => linkTo(title)).join(' · ');
}

function callTable(calls: readonly ShownCall[]): string {
  const rows = calls.map(({ method, path, operation }) => [
    `\`${method} ${path}\``,
    linkTo(operation.summary),
    scopesOf(operation),
  ]);
  return tableOf(['call', 'does', 'scope'], rows);
}

/** What the answers of a section hold, and nothing before it told of. */
function answered(calls: readonly ShownCall[], schemas: ShownSchemas, told: Set<string>): string[] {
  const wanted = namesIn(calls, schemas);
  return Object.keys(schemas)
    .filter((name) => wanted.has(name) && !told.has(name))
    .flatMap((name) => {
      const lines = schemaLines(name, { schemas, told, heading: '###' });
      told.add(name);
      return lines;
    });
}

/** Also those that stand in others. */
function namesIn(value: unknown, schemas: ShownSchemas, found = new Set<string>()): ReadonlySet<string> {
  for (const [, name = ''] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    namesIn(schemas[name], schemas, found);
  }
  return found;
}

function problemLines({ Problem = {} }: ShownSchemas): string[] {
  const rows = CODES.map((code) => [`\`${code}\``, String(PROBLEMS[code][0]), PROBLEMS[code][1], ADVICE[code]]);
  const code = { type: 'string', description: 'Stable: one of those above.' };
  return [
    '## Problems',
    tableOf(['code', 'status', 'means', 'what to do'], rows),
    '### Problem',
    Problem.description ?? '',
    membersOf({ ...Problem, properties: { ...Problem.properties, code } }),
  ];
}
