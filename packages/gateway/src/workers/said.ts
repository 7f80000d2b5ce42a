/** Errors on their way from one thread to another: what a person is told of them, with the class that says how. */
import { Problem, type ProblemCode } from '@millrace/core/problem';
import { StartRefused } from '../refused.ts';
import type { Said } from './messages.ts';

export function said(error: unknown): Said {
  if (error instanceof Problem) {
    const { code, message, advice } = error;
    return { kind: 'problem', code, message, ...(advice === undefined ? {} : { advice }) };
  }
  if (error instanceof StartRefused) return { kind: 'refused', message: error.message, advice: error.advice };
  return { kind: 'error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

export function errorOf({ kind, code, message, advice }: Said): Error {
  if (kind === 'problem') return new Problem(code as ProblemCode, message, advice === undefined ? {} : { advice });
  if (kind === 'refused') return new StartRefused(message, advice ?? '');
  const error = new Error(message);
  // It has said where it comes from; where it was made again is of no use to anybody.
  error.stack = message;
  return error;
}
