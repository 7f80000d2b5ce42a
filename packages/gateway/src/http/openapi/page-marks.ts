/** Markdown, and words for schemas. */
import type { Shown } from './shown.ts';

export function titled(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** As GitHub names a heading. */
export function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\w\s-]/g, '')
    .trim()
    .replaceAll(/\s+/g, '-');
}

export function linkTo(title: string): string {
  return `[${title}](#${anchorOf(title)})`;
}

export function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

export function block(language: 'sh' | 'json', text: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

export const coded = (text: string): string => `\`${text}\``;

export function nameIn({ $ref }: Shown): string | undefined {
  return $ref?.split('/').at(-1);
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'whole number',
  number: 'number',
  boolean: 'true or false',
  object: 'object',
  array: 'list',
  null: 'null',
};

export function typeOf(schema: Shown): string {
  const { anyOf, oneOf, allOf, enum: words, items } = schema;
  const name = nameIn(schema);
  if (name !== undefined) return linkTo(name);
  if ('const' in schema) return coded(JSON.stringify(schema.const));
  if (words !== undefined) return words.map((word) => coded(String(word))).join(', ');
  const either = anyOf ?? oneOf;
  if (either !== undefined) return either.map(typeOf).join(' or ');
  const listed = allOf?.at(-1)?.properties?.['data']?.items;
  if (listed !== undefined) return `page of ${typeOf(listed)}`;
  if (schema.type === 'array' && items !== undefined) return `list of ${typeOf(items)}`;
  const kinds = [schema.type ?? []].flat().map((type) => KINDS[type] ?? type);
  return `${kinds.join(' or ') || 'any'}${rangeOf(schema)}`;
}

function rangeOf({ minimum, maximum }: Shown): string {
  if (minimum === undefined || maximum === undefined) return '';
  return `, ${minimum.toLocaleString('en')} to ${maximum.toLocaleString('en')}`;
}

export function defaultOf({ default: value }: Shown, isRequired = false): string {
  if (isRequired) return 'required';
  return value === undefined ? '' : coded(JSON.stringify(value));
}
