/** Details, times and counts for people. Control characters are not let through. */
import { stripVTControlCharacters } from 'node:util';

export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** What a stranger sent must not move the cursor of a terminal. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  return stripVTControlCharacters(text).replace(/[\u0000-\u001F\u007F-\u009F]+/g, ' ');
}

/** One line per member, nested ones by their path: `deliver.webhook.url  https://…`. Empty ones are left out. */
export function detailsOf(record: object, nowMs: number): string[] {
  return alignedOf(pairsOf(record, nowMs));
}

/** As they stand in details, to be put together with others. */
export function pairsOf(record: object, nowMs: number): [name: string, said: string][] {
  return flattened(record, '', nowMs);
}

/** Between a name and what is said of it. */
const GAP = '  ';

export function alignedOf(pairs: readonly (readonly [name: string, said: string])[]): string[] {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}${GAP}${value}`);
}

/** Lines of at most `width` characters, broken between words. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function flattened(value: unknown, name: string, nowMs: number): [string, string][] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) {
    if (value.every((one) => typeof one !== 'object' || one === null)) return [[name, plain(value.join(', '))]];
    return value.flatMap((one, at) => flattened(one, `${name}.${at + 1}`, nowMs));
  }
  // Filters are read as they were written.
  if (typeof value === 'object' && name === 'filter') return [[name, JSON.stringify(value)]];
  if (typeof value === 'object')
    return Object.entries(value).flatMap(([member, one]) => flattened(one, name === '' ? member : `${name}.${member}`, nowMs));
  const text = typeof value === 'string' ? plain(value) : JSON.stringify(value);
  return [[name, typeof value === 'string' && name.endsWith('At') ? `${text}  (${relative(value, nowMs)})` : text]];
}

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

/** `3 min ago`, `in 2 h`, `now`; `-` for what is no time. */
export function relative(time: string | undefined, nowMs: number): string {
  const ms = time === undefined ? Number.NaN : Date.parse(time);
  if (Number.isNaN(ms)) return '-';
  const distance = Math.abs(ms - nowMs);
  if (distance < 1_000) return 'now';
  const text = spanOf(distance);
  return ms > nowMs ? `in ${text}` : `${text} ago`;
}

/** `450 ms`, `12 s`, `3 min`, `5 h`, `9 d`: in the largest unit of which there is one. */
export function spanOf(ms: number): string {
  const [unit, size] = UNITS.find(([, size]) => ms >= size) ?? ['ms', 1];
  return `${Math.round(ms / size)} ${unit}`;
}

/** `1 event`, `2 events`, `2 deliveries`. */
export function count(many: number, unit: string): string {
  const plural = /[^aeiou]y$/.test(unit) ? `${unit.slice(0, -1)}ies` : `${unit}s`;
  return `${number(many)} ${many === 1 ? unit : plural}`;
}

/** `1,200`. */
export function number(value: number): string {
  return value.toLocaleString('en-US');
}

/** `12:04:05.123` of today's clock here. */
export function clockTime(time: string | number): string {
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(11, 23);
}

/** UTF-8, without a copy of the bytes. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
}
