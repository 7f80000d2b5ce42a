/** Each call as lines to paste into a shell, with the key in $KEY. */
import { block } from './page-marks.ts';
import type { ShownMedia, ShownOperation } from './shown.ts';

const ADDRESS = 'http://127.0.0.1:4400';
/** A longer line is broken between its arguments. */
const LINE_CHARS = 120;

/** One block per example, with what it shows where there are several. */
export function curlsOf(method: string, path: string, operation: ShownOperation): string[] {
  const examples = Object.entries(operation.requestBody?.content ?? {}).flatMap(([type, media]) => examplesOf(type, media));
  if (examples.length === 0) return [block('sh', lineOf(method, path, operation))];
  return examples.map((example) => {
    const title = examples.length === 1 ? '' : `# ${example.summary}\n`;
    return block('sh', `${title}${lineOf(method, path, operation, example)}`);
  });
}

interface Body {
  readonly summary: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly value: unknown;
}

function examplesOf(type: string, { example, examples = {} }: ShownMedia): Body[] {
  const one = example === undefined ? [] : [{ summary: '', value: example }];
  return [...one, ...Object.values(examples)].map(({ summary, value, ...rest }) => ({
    summary,
    value,
    headers: ('x-headers' in rest ? rest['x-headers'] : undefined) ?? { 'content-type': type },
  }));
}

function lineOf(method: string, path: string, operation: ShownOperation, body?: Body): string {
  const needsMethod = body === undefined ? method !== 'GET' : method !== 'POST';
  const isKeyed = operation.security.length > 0;
  const parts = [
    `curl -sS${needsMethod ? ` -X ${method}` : ''} ${addressOf(path, operation)}`,
    ...(isKeyed ? ['-H "Authorization: Bearer $KEY"'] : []),
    ...Object.entries(body?.headers ?? {}).map(([name, value]) => `-H ${quoted(`${headerName(name)}: ${value}`)}`),
    ...(body === undefined ? [] : [dataOf(body)]),
  ];
  return broken(parts);
}

const headerName = (name: string): string => (name === 'content-type' ? 'Content-Type' : name);

function addressOf(path: string, { parameters = [] }: ShownOperation): string {
  const exampleOf = (name: string): string => {
    const [example] = parameters.find((parameter) => parameter.name === name)?.schema.examples ?? [];
    return typeof example === 'string' ? example : name;
  };
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => exampleOf(name));
  // Where one that may be left out has an example, the call shows nothing without it.
  const query = parameters.filter(
    ({ in: place, required, schema }) => place === 'query' && (required === true || schema.examples !== undefined),
  );
  if (query.length === 0) return `${ADDRESS}${filled}`;
  return quoted(`${ADDRESS}${filled}?${query.map(({ name }) => `${name}=${exampleOf(name)}`).join('&')}`);
}

/** Lines keep their ends; everything else is sent as it stands. */
function dataOf({ value }: Body): string {
  if (typeof value !== 'string') return `-d ${quoted(JSON.stringify(value))}`;
  return `--data-binary $${quoted(value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n'))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function broken(parts: readonly string[]): string {
  const lines = [''];
  for (const part of parts) {
    const last = lines.at(-1) ?? '';
    if (last !== '' && last.length + part.length >= LINE_CHARS) lines.push(`  ${part}`);
    else lines[lines.length - 1] = last === '' ? part : `${last} ${part}`;
  }
  return lines.join(' \\\n');
}
