/**
 * The egress policy: where the gateway may send on behalf of those who set endpoints. Without it a subscription is a way to
 * make the gateway knock on doors of its own network (server-side request forgery).
 *
 * Refused are all addresses that are not globally reachable unicast (addresses.ts names them and their sources), and those
 * where cloud machines hand out credentials, unless the allow-list says otherwise. The judgement is of the address that is
 * dialled (connect.ts), so neither a redirect nor a second answer of the DNS nor an odd spelling gets round it.
 */
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { Problem } from '@millrace/core/problem';
import {
  type Address,
  isIn,
  isMetadata,
  METADATA_NATURE,
  natureOf,
  parseAddress,
  parseRange,
  type Range,
  translatedOf,
} from './addresses.ts';

/** Each is looked at for every connection. */
export const ALLOW_MAX = 1_000;
/** Addresses that a refusal names: a host may have hundreds. */
const NAMED_MAX = 3;

export interface Egress {
  /** What speaks against dialling this address for this host, in a few words; undefined: nothing does. */
  objection(host: string, address: string): string | undefined;
  /**
   * For configuration: why this address would be refused, in a sentence for a client; undefined when that can't be said
   * without asking the DNS, or when it would not be. Judges literal addresses in every spelling and names of the machine itself.
   */
  checkHost(url: URL): string | undefined;
}

/**
 * A policy that allows public addresses and what `allow` names, at most 1,000 entries of these kinds:
 *
 * - a CIDR (`10.0.0.0/8`, `fd00::/8`) or a single address: these may be dialled for every host. An IPv4 entry holds for the
 *   IPv4-mapped form too. An entry that covers 64:ff9b::/96 allows the NAT64 translator: the IPv4 address inside is judged as
 *   if it were dialled itself.
 * - a host name (`hooks.internal`) or `*.suffix` (every name below the suffix, not the suffix itself): whatever it resolves
 *   to may be dialled, private addresses too, so that whoever controls the name in the DNS decides. Not the metadata addresses of
 *   cloud machines (169.254.169.254, fd00:ec2::254 and their like): those only by a CIDR or address that covers them.
 * - `loopback`: 127.0.0.0/8 and ::1.
 *
 * Throws a Problem `invalid_request` that names the entry which is none of these.
 */
export function createEgress({ allow }: { readonly allow: readonly string[] }): Egress {
  if (allow.length > ALLOW_MAX)
    throw new Problem('invalid_request', `at most ${ALLOW_MAX} entries can be allowed for egress`, {
      advice: 'Put addresses together as CIDRs, or names as *.suffix.',
    });
  const { ranges, names, suffixes } = entriesOf(allow);

  function isNamed(host: string): boolean {
    return names.has(host) || suffixes.some((suffix) => host.endsWith(suffix));
  }

  function judge(address: Address, named: boolean): string | undefined {
    if (ranges.some((range) => isIn(range, address)) || (named && !isMetadata(address))) return undefined;
    return natureOf(address);
  }

  function objection(host: string, text: string): string | undefined {
    const address = parseAddress(text);
    if (address === undefined) return 'no IP address';
    const named = isNamed(nameOf(host));
    const translated = translatedOf(address);
    const inside = translated && judge(translated, named);
    return judge(address, named) ?? (inside && `${inside}, behind NAT64: allow that address too`);
  }

  return {
    objection,
    checkHost({ hostname }) {
      const host = hostname.replace(/^\[|\]$/g, '');
      const addresses = isIP(host) === 0 ? addressesOf(nameOf(host)) : [host];
      const refused = addresses.flatMap((address) => {
        const nature = objection(host, address);
        return nature === undefined ? [] : [{ address, nature }];
      });
      return refused.length === 0 || refused.length < addresses.length ? undefined : refusalOf(host, refused);
    },
  };
}

/** What nobody has allowed anything to: the right one for a gateway that faces strangers. */
export const PUBLIC_ONLY: Egress = createEgress({ allow: [] });

/** Refuses nothing. For benchmarks, tests, and behind a proxy that decides. */
export const ANYWHERE: Egress = { objection: () => undefined, checkHost: () => undefined };

export interface Refused {
  readonly address: string;
  readonly nature: string;
}

/** The sentence for a host of which every address is refused: which, why, and what to do. */
export function refusalOf(host: string, refused: readonly Refused[]): string {
  const named = refused.slice(0, NAMED_MAX).map(({ address, nature }) => `${address} (${nature})`);
  const more = refused.length > NAMED_MAX ? ` and ${refused.length - NAMED_MAX} more` : '';
  const where = refused[0]?.address === host ? '' : `${host} is at `;
  return `${where}${named.join(', ')}${more}: not public, so nothing is sent there; allow it with ${entriesFor(host, refused)}`;
}

function entriesFor(host: string, refused: readonly Refused[]): string {
  const { address = '', nature = '' } = refused[0] ?? {};
  const byAddress = `--allow-egress ${nature.startsWith('loopback') ? 'loopback' : address}`;
  const nameHelps = address !== host && !refused.every(({ nature }) => nature.startsWith(METADATA_NATURE));
  return nameHelps ? `${byAddress} or --allow-egress ${nameOf(host)}` : byAddress;
}

const LOOPBACK = ['127.0.0.0/8', '::1'];
const LOOPBACK_ADDRESSES = ['127.0.0.1', '::1'];

/** Names that mean the same on every machine, with where they lead: RFC 6761 §6.3, Debian's /etc/hosts, Google's metadata. */
function addressesOf(name: string): readonly string[] {
  if (/(^|\.)localhost$/.test(name)) return LOOPBACK_ADDRESSES;
  if (name === 'localhost.localdomain' || name === 'ip6-localhost' || name === 'ip6-loopback') return LOOPBACK_ADDRESSES;
  return name === 'metadata.google.internal' || name === 'metadata.goog' ? ['169.254.169.254'] : [];
}

/** Names are compared without case and without the dot of the root. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

interface Entries {
  readonly ranges: Range[];
  readonly names: Set<string>;
  readonly suffixes: string[];
}

function entriesOf(allow: readonly string[]): Entries {
  const entries: Entries = { ranges: [], names: new Set(), suffixes: [] };
  for (const entry of allow) add(entries, entry);
  return entries;
}

function add({ ranges, names, suffixes }: Entries, entry: string): void {
  const texts = entry === 'loopback' ? LOOPBACK : [entry];
  const parsed = texts.map((text) => parseRange(text)).filter((range) => range !== undefined);
  if (parsed.length > 0) return void ranges.push(...parsed);
  const name = checkedName(entry.replace(/^\*\./, ''));
  if (name === undefined) throw refusedEntry(entry);
  if (entry.startsWith('*.')) suffixes.push(`.${name}`);
  else names.add(name);
}

/** As URLs spell it (IDNA, lower case); undefined for what can be no host name, such as numbers, which are addresses there. */
function checkedName(text: string): string | undefined {
  // domainToASCII reads a URL's host: it would take what stands before a slash for the whole.
  if (/[\s/:@?#%[\]\\*]/.test(text)) return undefined;
  const name = nameOf(domainToASCII(text));
  if (name.length > 253 || isIP(name) !== 0) return undefined;
  return /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/.test(name) ? name : undefined;
}

function refusedEntry(entry: string): Problem {
  const shown = entry.slice(0, 100);
  const slip = /^[\da-f.:]+\/\d+$/i.test(entry)
    ? 'is no CIDR: its prefix is too long, or its address has bits beyond the prefix'
    : 'is no CIDR, address, host name or *.suffix';
  return new Problem('invalid_request', `egress can not be allowed to "${shown}": it ${slip}`, {
    advice:
      'Write a CIDR (10.0.0.0/8), an address (10.0.0.7), a host (hooks.internal), hosts below one (*.internal) or loopback.',
  });
}
