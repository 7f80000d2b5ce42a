/**
 * IP addresses as numbers, ranges of them, and what the registries say of each: the ground on which egress.ts decides.
 *
 * Sources: IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190, as of October 2025), RFC 4291 for what
 * is no unicast, RFC 6052 for NAT64. Coarser than the registries on purpose: 192.0.0.0/24 and 2001::/23 hold a few globally
 * reachable anycast addresses, none of which is an endpoint; of IPv6 only 2000::/3 is handed out at all, the rest is reserved.
 *
 * Not node:net's BlockList: it takes 10.0.0.1 for a member of ::/0, lets 10.0.0.1/8 pass for 10.0.0.0/8, and can't say which
 * range it was.
 */
import { isIP } from 'node:net';

/** An IPv4 address in its IPv6 form (::ffff:0:0/96) is the IPv4 address: whoever dials it reaches that one. */
export interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

export interface Range {
  readonly bits: 32 | 128;
  readonly first: bigint;
  readonly last: bigint;
}

/** Undefined for what is no address. A zone (`fe80::1%eth0`) is passed over: it says where, not who. */
export function parseAddress(text: string): Address | undefined {
  const [bare = ''] = text.split('%');
  const version = isIP(bare);
  if (version === 0) return undefined;
  if (version === 4) return { bits: 32, value: ipv4(bare) };
  const value = ipv6(bare);
  return value >> 32n === MAPPED_PREFIX ? { bits: 32, value: value & IPV4_MASK } : { bits: 128, value };
}

/**
 * A CIDR (RFC 4632, RFC 4291 §2.3) or a single address. Undefined for anything else, and for a CIDR whose address has bits
 * beyond its prefix: 10.0.0.1/8 is a slip, and one that allows more than was meant.
 */
export function parseRange(text: string): Range | undefined {
  const [, base = '', length] = /^([^/%]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const address = parseAddress(base);
  if (address === undefined) return undefined;
  const { bits, value } = address;
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
  const shorter = bits === 32 && isIP(base) === 6 ? 96 : 0;
  const prefix = length === undefined ? bits : Number(length) - shorter;
  if (prefix < 0 || prefix > bits) return undefined;
  const rest = (1n << BigInt(bits - prefix)) - 1n;
  return (value & rest) === 0n ? { bits, first: value, last: value | rest } : undefined;
}

export function isIn({ bits, first, last }: Range, address: Address): boolean {
  return bits === address.bits && first <= address.value && address.value <= last;
}

/** Why an address is no public one, in a few words; undefined for one that is globally reachable unicast. */
export function natureOf(address: Address): string | undefined {
  return SPECIAL.find(({ range }) => isIn(range, address))?.nature;
}

/** Where cloud machines hand out their credentials. */
export function isMetadata(address: Address): boolean {
  return METADATA.some((range) => isIn(range, address));
}

/** The IPv4 address that a NAT64 translator dials for this one (RFC 6052, the well-known prefix; a network's own prefix nobody can know). */
export function translatedOf(address: Address): Address | undefined {
  return isIn(NAT64, address) ? { bits: 32, value: address.value & IPV4_MASK } : undefined;
}

const IPV4_MASK = 0xffff_ffffn;
const MAPPED_PREFIX = 0xffffn;

function ipv4(text: string): bigint {
  return text.split('.').reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** Of a text that isIP has found to be one: so there is at most one `::`, and every group fits. */
function ipv6(text: string): bigint {
  const groups = text.replace(/[\d.]+\.[\d.]+$/, (dotted) => {
    const value = ipv4(dotted);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [head = [], tail = []] = groups.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const between = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return [...head, ...between, ...tail].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** Of a text of ours. */
function range(text: string): Range {
  const parsed = parseRange(text);
  if (parsed === undefined) throw new Error(`${text} is no range`);
  return parsed;
}

/** What natureOf says of isMetadata. */
export const METADATA_NATURE = 'the metadata service of a cloud machine';
const NAT64 = range('64:ff9b::/96');

/** AWS, Google, Azure and OpenStack; ECS tasks; EKS pods; AWS and Google by IPv6; Alibaba; Azure's wire server, a public address. */
const METADATA = [
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
  'fe80::a9fe:a9fe',
  '100.100.100.200',
  '168.63.129.16',
].map(range);

/** The first that fits gives the name, so the narrower stand before the wider. */
const SPECIAL: readonly { readonly range: Range; readonly nature: string }[] = [
  ...METADATA.map((range) => ({ range, nature: METADATA_NATURE })),
  ...(
    [
      ['0.0.0.0/8', 'this network, RFC 791'],
      ['10.0.0.0/8', 'private, RFC 1918'],
      ['100.64.0.0/10', 'shared behind carrier-grade NAT, RFC 6598'],
      ['127.0.0.0/8', 'loopback, RFC 1122'],
      ['169.254.0.0/16', 'link-local, RFC 3927'],
      ['172.16.0.0/12', 'private, RFC 1918'],
      ['192.0.0.0/24', 'protocol assignments, RFC 6890'],
      ['192.0.2.0/24', 'documentation, RFC 5737'],
      ['192.88.99.0/24', '6to4 relays, RFC 7526'],
      ['192.168.0.0/16', 'private, RFC 1918'],
      ['198.18.0.0/15', 'benchmarks, RFC 2544'],
      ['198.51.100.0/24', 'documentation, RFC 5737'],
      ['203.0.113.0/24', 'documentation, RFC 5737'],
      ['224.0.0.0/4', 'multicast, RFC 5771'],
      ['255.255.255.255', 'broadcast, RFC 919'],
      ['240.0.0.0/4', 'reserved, RFC 1112'],
      ['::', 'unspecified, RFC 4291'],
      ['::1', 'loopback, RFC 4291'],
      ['::/96', 'IPv4-compatible, RFC 4291'],
      ['64:ff9b::/96', 'NAT64, RFC 6052'],
      ['64:ff9b:1::/48', 'NAT64 of a local network, RFC 8215'],
      ['100::/64', 'discarded, RFC 6666'],
      ['2001::/32', 'Teredo, RFC 4380'],
      ['2001::/23', 'protocol assignments, RFC 2928'],
      ['2001:db8::/32', 'documentation, RFC 3849'],
      ['2002::/16', '6to4, RFC 3056'],
      ['3fff::/20', 'documentation, RFC 9637'],
      ['5f00::/16', 'segment routing, RFC 9602'],
      ['fc00::/7', 'private, RFC 4193'],
      ['fe80::/10', 'link-local, RFC 4291'],
      ['fec0::/10', 'site-local, RFC 3879'],
      ['ff00::/8', 'multicast, RFC 4291'],
      // What is left of IPv6 outside 2000::/3.
      ['::/3', 'reserved, RFC 4291'],
      ['4000::/2', 'reserved, RFC 4291'],
      ['8000::/1', 'reserved, RFC 4291'],
    ] as const
  ).map(([text, nature]) => ({ range: range(text), nature })),
];
