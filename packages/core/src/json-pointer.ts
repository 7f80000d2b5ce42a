/** JSON pointers (RFC 6901), built member by member. */
export function pointerTo(base: string, member: string | number): string {
  return `${base}/${String(member).replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
