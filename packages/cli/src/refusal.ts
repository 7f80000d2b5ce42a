/** Why a verb can not do what it was asked to: what, why, and the next command. */
import { EXIT, type Exit } from './exit-codes.ts';

export class Refusal extends Error {
  readonly exit: Exit;
  /** What to do about it, one sentence or a command. */
  readonly advice: string | undefined;
  /** Of the gateway's problem, where it was one. */
  readonly code: string | undefined;
  readonly pointer: string | undefined;

  constructor(exit: Exit, message: string, details: RefusalDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'Refusal';
    this.exit = exit;
    this.advice = details.advice;
    this.code = details.code;
    this.pointer = details.pointer;
  }
}

export interface RefusalDetails {
  readonly advice?: string | undefined;
  readonly code?: string | undefined;
  readonly pointer?: string | undefined;
  readonly cause?: unknown;
}

/** A wrong argument that only shows when its value is read. */
export function misused(message: string, advice?: string): Refusal {
  return new Refusal(EXIT.usage, message, { advice });
}
