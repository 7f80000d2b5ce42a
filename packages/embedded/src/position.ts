/** Positions of the embedded log: 16 decimal digits of an offset that starts at 1, so that `<` on strings is log order. */
import { Problem } from '@millrace/core/problem';
import type { Position } from '@millrace/gateway/ports/log';

/** The one shard. */
export const SHARD = '0';

const DIGITS = 16;
const POSITION = /^\d{16}$/;

/** Offset 0 is before everything. */
export function positionOf(offset: number): Position {
  return offset === 0 ? '' : String(offset).padStart(DIGITS, '0');
}

/** Rejects what no embedded log ever gave out: read as a number it would silently mean another event. */
export function offsetOf(position: Position): number {
  if (position === '') return 0;
  if (!POSITION.test(position))
    throw new Problem('invalid_request', `'${position.slice(0, 64)}' is not a position of the embedded log`);
  return Number(position);
}

export function mustBeShard(shard: string): void {
  if (shard !== SHARD) throw new RangeError(`the embedded log has one shard, '${SHARD}', not '${shard}'`);
}
