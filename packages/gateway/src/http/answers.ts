/** What several routes write the same way. */
import { isTimestamp } from '@millrace/core/attributes';
import { Problem } from '@millrace/core/problem';
import type { Versioned } from '../ports/directory.ts';

export function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

/** A time as RFC 3339 writes it, in ms. */
export function readTime(text: string, pointer: string): number {
  const ms = isTimestamp(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms) || ms < 0)
    throw new Problem(
      'invalid_request',
      `${pointer.slice(pointer.lastIndexOf('/') + 1)} is a time such as 2026-11-23T17:20:00Z (RFC 3339)`,
      { pointer },
    );
  return ms;
}

/** Versions start again with a resource that was deleted and made anew: its time of creation tells the two apart. */
export function etagOf({ version, value }: Versioned<{ readonly createdMs: number }>): string {
  return `"${version}-${value.createdMs.toString(36)}"`;
}

/** The headers of a request that say when it counts (RFC 9110, section 13). */
export interface Conditions {
  readonly 'if-match'?: string | undefined;
  readonly 'if-none-match'?: string | undefined;
}

/** Of a PUT to what is there: throws `version_mismatch` where it was to make one, or to change another version. */
export function checkConditions(
  { 'if-match': match, 'if-none-match': none }: Conditions,
  present: Versioned<{ readonly createdMs: number }>,
): void {
  if (none !== undefined && isAmong(none, present))
    throw new Problem('version_mismatch', `'${present.id}' is there already, at ${etagOf(present)}`, {
      advice: 'To change what is there, leave If-None-Match out or send If-Match with this ETag.',
    });
  checkMatch(match, present);
}

function isAmong(header: string, present: Versioned<{ readonly createdMs: number }>): boolean {
  return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etagOf(present));
}

/** Throws `version_mismatch` unless the resource is the one that If-Match names, where there is such a header. */
export function checkMatch(header: string | undefined, present: Versioned<{ readonly createdMs: number }>): void {
  if (header === undefined || header.trim() === '*') return;
  if (!header.split(',').some((tag) => tag.trim() === etagOf(present))) {
    throw new Problem('version_mismatch', `'${present.id}' is now at ${etagOf(present)}`, {
      advice: 'Read it again, then repeat your change.',
    });
  }
}

/** Whether the client has this very answer already (If-None-Match). */
export function isKnown(header: string | undefined, etag: string): boolean {
  const strong = (tag: string): string => tag.trim().replace(/^W\//, '');
  const known = header?.split(',').map(strong) ?? [];
  return known.includes(strong(etag)) || known.includes('*');
}
