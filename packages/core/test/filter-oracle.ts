/**
 * Filters in the slowest and plainest way, to compare with: every combination of `$or`, every way to choose leaves, with
 * a record of the array element each stands in. It shares no code with src.
 */
type Json = unknown;
type Where = ReadonlyMap<string, number>;
interface Leaf {
  readonly path: string;
  readonly value: Json;
  readonly where: Where;
}
type Term = [path: string, list: Json[]];

export function oracleMatches(filter: Json, event: Json): boolean {
  const leaves: Leaf[] = [];
  collect(event, [], '', new Map(), new Map(), leaves);
  return combinations(filter, []).some((terms) => choose(terms, leaves, new Map()));
}

/** `where` is every array element around the value, `object` those around the object whose member it is: values of one field are one. */
function collect(value: Json, path: string[], address: string, where: Where, object: Where, leaves: Leaf[]): void {
  if (value === undefined) return;
  if (Array.isArray(value)) {
    value.forEach((item, at) => collect(item, path, `${address}[${at}]`, new Map(where).set(address, at), object, leaves));
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value))
      collect(item, [...path, name], `${address}.${JSON.stringify(name)}`, where, where, leaves);
  } else leaves.push({ path: JSON.stringify(path), value, where: object });
}

function combinations(filter: Json, path: string[]): Term[][] {
  let all: Term[][] = [[]];
  for (const [name, value] of Object.entries(filter as object)) {
    const below =
      name === '$or'
        ? (value as Json[]).flatMap((branch) => combinations(branch, path))
        : Array.isArray(value)
          ? [[[JSON.stringify([...path, name]), value] satisfies Term]]
          : combinations(value, [...path, name]);
    all = all.flatMap((one) => below.map((other) => [...one, ...other]));
  }
  return all;
}

/** Leaves for the terms that take one first; then what may be absent is looked for in the same elements. */
function choose(terms: Term[], leaves: Leaf[], where: Where, absent: string[] = []): boolean {
  const [term, ...rest] = terms;
  if (term === undefined) return absent.every((path) => !leaves.some((leaf) => leaf.path === path && joined(where, leaf.where)));
  const [path, list] = term;
  for (const leaf of leaves) {
    const both = leaf.path === path ? joined(where, leaf.where) : undefined;
    if (both !== undefined && list.some((item) => holds(item, leaf.value)) && choose(rest, leaves, both, absent)) return true;
  }
  return list.some((item) => isAbsence(item)) && choose(rest, leaves, where, [...absent, path]);
}

function joined(one: Where, other: Where): Where | undefined {
  for (const [array, at] of other) if ((one.get(array) ?? at) !== at) return undefined;
  return new Map([...one, ...other]);
}

function isAbsence(item: Json): boolean {
  return typeof item === 'object' && item !== null && (item as { exists?: unknown }).exists === false;
}

function holds(item: Json, value: Json): boolean {
  if (typeof item !== 'object' || item === null) return item === value;
  const [name, wanted] = Object.entries(item)[0] as [string, Json];
  const text = typeof value === 'string' ? value : undefined;
  const lower = text?.toLowerCase();
  if (name === 'exists') return wanted === true;
  if (name === 'exactly') return value === wanted;
  if (name === 'anything-but') return !butHolds(wanted, value);
  if (name === 'numeric') return typeof value === 'number' && numeric(wanted as (string | number)[], value);
  if (text === undefined || lower === undefined) return false;
  if (name === 'cidr') return inBlock(String(wanted), text);
  if (name === 'wildcard') return wildcard(String(wanted)).test(text);
  if (name === 'equals-ignore-case') return lower === String(wanted).toLowerCase();
  const folded = (wanted as { 'equals-ignore-case'?: string })['equals-ignore-case']?.toLowerCase();
  const subject = folded === undefined ? text : lower;
  return name === 'prefix' ? subject.startsWith(folded ?? String(wanted)) : subject.endsWith(folded ?? String(wanted));
}

function butHolds(wanted: Json, value: Json): boolean {
  if (typeof wanted !== 'object' || wanted === null) return wanted === value;
  if (Array.isArray(wanted)) return wanted.includes(value);
  return Object.entries(wanted).some(([name, items]) => [items].flat().some((item) => holds({ [name]: item }, value)));
}

function numeric([name, limit, ...more]: (string | number)[], value: number): boolean {
  const bound = Number(limit);
  const now = { '=': value === bound, '<': value < bound, '<=': value <= bound, '>': value > bound, '>=': value >= bound }[
    String(name)
  ];
  return now === true && (more.length === 0 || numeric(more, value));
}

function wildcard(pattern: string): RegExp {
  const source = pattern.replace(/\\\*|\\\\|\*|[^A-Za-z0-9]/gu, (one) =>
    one === '*' ? '[^]*' : `\\u{${one.codePointAt(one.startsWith('\\') && one.length > 1 ? 1 : 0)?.toString(16)}}`,
  );
  return new RegExp(`^${source}$`, 'u');
}

/** By the platform's own address parser. */
function inBlock(block: string, text: string): boolean {
  const [network = '', bits] = block.split('/');
  const host = (address: string) => {
    try {
      return new URL(address.includes(':') ? `http://[${address}]` : `http://${address}`).hostname === '' ? undefined : address;
    } catch {
      return undefined;
    }
  };
  if (
    host(text) === undefined ||
    !/^[\da-fA-F.:]+$/.test(text) ||
    (!text.includes(':') && !/^(?:(?:0|[1-9]\d*)\.){3}(?:0|[1-9]\d*)$/.test(text))
  )
    return false;
  const wide = (address: string) => {
    if (!address.includes(':'))
      return { size: 32, value: address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n) };
    const full = new URL(`http://[${address}]`).hostname.slice(1, -1);
    const [head = '', tail] = full.split('::');
    const groups = (part: string | undefined) => (part === undefined || part === '' ? [] : part.split(':'));
    const middle = Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
    return {
      size: 128,
      value: [...groups(head), ...middle, ...groups(tail)].reduce((sum, part) => sum * 65536n + BigInt(`0x${part}`), 0n),
    };
  };
  const [one, other] = [wide(network), wide(text)];
  return (
    one.size === other.size && one.value >> BigInt(one.size - Number(bits)) === other.value >> BigInt(one.size - Number(bits))
  );
}
