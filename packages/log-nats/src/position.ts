/** Positions are stream sequences: 16 decimal digits, so that `<` on strings is log order. JetStream begins at 1. */
import { Problem } from '@millrace/core/problem';
import type { Position } from '@millrace/gateway/ports/log';

const DIGITS = 16;
const POSITION = /^\d{16}$/;

/** Sequence 0 is before everything. */
export function positionOf(sequence: number): Position {
  return sequence === 0 ? '' : String(sequence).padStart(DIGITS, '0');
}

/** Rejects what this log never gave out: read as a number it would silently mean another event. */
export function sequenceOf(position: Position): number {
  if (position === '') return 0;
  if (!POSITION.test(position))
    throw new Problem('invalid_request', `'${position.slice(0, 64)}' is not a position of a NATS stream`);
  return Number(position);
}
