/** Host names to addresses that may be dialled. */
import type { LookupAddress, LookupAllOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { type Egress, type Refused, refusalOf } from './egress.ts';

/** dns.lookup, as far as it is used here. */
export type Lookup = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/** Of one host, offered to one connection: a host with hundreds would be tried until the timeout. */
const ADDRESSES_TRIED_MAX = 16;
/** The order is the resolver's own (RFC 6724); Node may race the families. */
const OPTIONS: LookupAllOptions = { all: true, order: 'verbatim' };

type Found = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/**
 * A look-up for net.connect that hands on only what the policy allows, and fails with code `blocked_address` when nothing is
 * left. Nothing is remembered: each connection has an answer from after it was begun, or from one under way.
 *
 * Look-ups of one name that are under way together are one: they go through two threads of the process (libuv), and a
 * host with a thousand connections to open would hold up the names of all others. Bounded by the caller's connect timeout,
 * which gives up the connection; the look-up itself ends when the system's resolver does.
 */
export function createCheckedLookup({ egress, lookup }: { readonly egress: Egress; readonly lookup: Lookup }): LookupFunction {
  const find = shared(lookup);

  return (hostname, { all }, callback) => {
    find(hostname, (error, addresses) => {
      if (error !== null) return callback(error, [], 0);
      const permitted = permittedOf(egress, hostname, addresses);
      if (permitted instanceof Error) return callback(permitted, [], 0);
      const [first] = permitted;
      if (all === true) callback(null, permitted.slice(0, ADDRESSES_TRIED_MAX));
      else callback(null, first?.address ?? '', first?.family);
    });
  };
}

/** An error that send-errors.ts knows. */
export function refuse(host: string, refused: readonly Refused[]): NodeJS.ErrnoException {
  return Object.assign(new Error(refusalOf(host, refused)), { code: 'blocked_address' });
}

function permittedOf(egress: Egress, host: string, addresses: readonly LookupAddress[]): LookupAddress[] | Error {
  if (addresses.length === 0) return Object.assign(new Error(`${host} has no address`), { code: 'ENODATA' });
  const judged = addresses.map((found) => ({ found, address: found.address, nature: egress.objection(host, found.address) }));
  const permitted = judged.filter(({ nature }) => nature === undefined).map(({ found }) => found);
  return permitted.length > 0
    ? permitted
    : refuse(
        host,
        judged.map(({ address, nature = '' }) => ({ address, nature })),
      );
}

function shared(lookup: Lookup): (hostname: string, found: Found) => void {
  /** Waiting for one name: as many as connections are being opened to it at most. */
  const underWay = new Map<string, Found[]>();

  return (hostname, found) => {
    const waiting = underWay.get(hostname);
    if (waiting !== undefined) return void waiting.push(found);
    const asked = [found];
    underWay.set(hostname, asked);
    lookup(hostname, OPTIONS, (error, addresses) => {
      underWay.delete(hostname);
      for (const tell of asked) tell(error, addresses);
    });
  };
}
