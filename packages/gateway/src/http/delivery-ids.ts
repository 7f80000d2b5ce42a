/**
 * Ids of deliveries: lane, shard and position with `~` between them, short enough to be read. What is not a letter, a
 * digit, `.`, `_` or `-` is percent-encoded (RFC 3986, section 2.1): a log may name its shards as it likes.
 */
import type { LanePosition } from '../ports/ledger.ts';

export function idOf({ lane, shard, position }: LanePosition): string {
  return [lane, shard, position].map(encoded).join('~');
}

/** What `idOf` was given; undefined for what it never made. */
export function placeIn(id: string): LanePosition | undefined {
  const [lane, shard, position, ...rest] = id.split('~').map(decoded);
  if (lane === undefined || shard === undefined || position === undefined || rest.length > 0) return undefined;
  return { lane, shard, position };
}

/** Nearly always there is nothing to do, and it is done once per delivery. */
const PLAIN = /^[A-Za-z0-9._-]*$/;

function encoded(part: string): string {
  if (PLAIN.test(part)) return part;
  return encodeURIComponent(part).replaceAll(/[~!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined; // not percent-encoded text
  }
}
