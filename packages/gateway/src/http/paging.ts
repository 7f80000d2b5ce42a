/** Lists in pages: `?limit=` and an opaque `?cursor=`, answered with `{ data, next }`; `next` is null at the end. */
import { Problem } from '@millrace/core/problem';
import { HTTP_BOUNDS } from './bounds.ts';

export interface PageQuery {
  readonly limit?: string;
  readonly cursor?: string;
}

export interface PageAnswer {
  readonly data: readonly object[];
  readonly next: string | null;
}

export function limitOf({ limit }: PageQuery): number {
  if (limit === undefined) return HTTP_BOUNDS.listDefault;
  const count = /^\d{1,4}$/.test(limit) ? Number(limit) : 0;
  if (count < 1 || count > HTTP_BOUNDS.listMax)
    throw new Problem('invalid_request', `limit is a whole number from 1 to ${HTTP_BOUNDS.listMax}`, { pointer: '/query/limit' });
  return count;
}

/** Any list of texts and numbers; what it means is the route's secret. */
export type Place = readonly (string | number)[];

export function cursorTo(place: Place): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** The place in a cursor of `shape`: one type per part, numbers whole and from 0 on. Throws for what no answer of ours held. */
export function placeOf({ cursor }: PageQuery, shape: readonly ('string' | 'number')[]): Place | undefined {
  if (cursor === undefined) return undefined;
  const parts = parsed(cursor);
  if (!Array.isArray(parts) || parts.length !== shape.length || !shape.every((type, at) => isOf(type, parts[at])))
    throw new Problem('invalid_request', "this cursor is not one of this list's", { pointer: '/query/cursor' });
  return parts;
}

function isOf(type: 'string' | 'number', part: unknown): boolean {
  return typeof part === type && (type === 'string' || (Number.isSafeInteger(part) && (part as number) >= 0));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    return undefined; // the caller says what is wrong
  }
}
