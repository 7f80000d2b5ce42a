/** Address blocks: `10.0.0.0/8`, `2001:db8::/32`. IPv4 and IPv6 never match each other, not even as `::ffff:10.0.0.1`. */

/** Above the longest writing of one. */
export const ADDRESS_CHARS_MAX = 64;

export interface Block {
  readonly network: Uint8Array;
  readonly bits: number;
}

/** Undefined where `text` is no block. Bits beyond the prefix may be set and are ignored. */
export function parseBlock(text: string): Block | undefined {
  const [, address, digits] = /^([^/]{1,64})\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const network = address === undefined ? undefined : parseAddress(address);
  const bits = Number(digits);
  return network === undefined || bits > network.length * 8 ? undefined : { network, bits };
}

export function blockHolds({ network, bits }: Block, address: Uint8Array): boolean {
  if (address.length !== network.length) return false;
  const whole = bits >> 3;
  for (let at = 0; at < whole; at += 1) if (address[at] !== network[at]) return false;
  const rest = bits & 7;
  return rest === 0 || ((address[whole] ?? 0) ^ (network[whole] ?? 0)) >> (8 - rest) === 0;
}

/** 4 or 16 bytes; undefined where `text` is no address. No zone ids, no leading zeros (some read them as octal). */
export function parseAddress(text: string): Uint8Array | undefined {
  if (text.length > ADDRESS_CHARS_MAX) return undefined;
  const bytes = text.includes(':') ? parseV6(text) : parseV4(text);
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

function parseV4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined;
  return parts.map(Number);
}

/** RFC 4291, section 2.2: eight groups, one run of zeros as `::`, the last two groups perhaps as an IPv4 address. */
function parseV6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  // `::` stands for one group of zeros at least.
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return [...head, ...Array<number>(missing).fill(0), ...tail];
}

function parseGroups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups = text.split(':');
  const bytes: number[] = [];
  for (const [at, group] of groups.entries()) {
    const v4 = mayEndInV4 && at === groups.length - 1 ? parseV4(group) : undefined;
    if (v4 === undefined && !/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    bytes.push(...(v4 ?? [parseInt(group, 16) >> 8, parseInt(group, 16) & 255]));
  }
  return bytes;
}
