/** Questions to the store thread and their answers, over whatever carries the messages; and what is told without a question. */
import type { Transferable } from 'node:worker_threads';
import { Problem } from '@millrace/core/problem';
import type { LogRecord, TopicRetention } from '@millrace/gateway/ports/log';
import type { Answer, CallName, Calls, Heard, Question, Told } from './messages.ts';
import { unpackRecords } from './packing.ts';
import { partOf } from './parts.ts';

export interface AskOptions<Value> {
  readonly transfer?: readonly Transferable[];
  /** Called in the very turn in which the answer arrives: before anything that is told after it. */
  readonly take?: (value: Value) => void;
}

/** What other threads did, in the order in which it was done. */
export interface Hearing {
  appended?(records: readonly LogRecord[]): void;
  skippedTo?(end: number): void;
  changed?(change: Extract<Heard, { changed: unknown }>['changed']): void;
  declared?(topic: TopicRetention): void;
}

export interface StoreCalls {
  /** Rejects with a Problem; with `log_unavailable` or `ledger_unavailable` at once when the thread has ended. */
  ask<Name extends CallName>(call: Name, value: Calls[Name][0], options?: AskOptions<Calls[Name][1]>): Promise<Calls[Name][1]>;
  onRemoved(listener: (through: number) => void): void;
  onHeard(hearing: Hearing): void;
}

export interface OpenCalls extends StoreCalls {
  /** What the thread told, but for its first word. */
  take(told: Told): void;
  /** Nothing is answered any more. */
  end(cause: unknown): void;
  /** From now on only 'close' may be asked. */
  refuse(): void;
  /** Resolves when all that was asked has its answer. */
  settled(): Promise<void>;
}

interface Waiting {
  readonly call: CallName;
  readonly take: ((value: never) => void) | undefined;
  resolve(value: unknown): void;
  reject(problem: Problem): void;
}

interface Needs {
  readonly now: () => number;
  post(question: Question, transfer: readonly Transferable[]): void;
  /** Of what others appended so much was heard. */
  readonly heard?: (bytes: number) => void;
}

export function createCalls({ now, post, heard = () => undefined }: Needs): OpenCalls {
  const waiting = new Map<number, Waiting>();
  const hearings: Hearing[] = [];
  const idle: (() => void)[] = [];
  let held: (() => void)[] = [];
  let removed: (through: number) => void = () => {};
  let asked = 0;
  let ended: { readonly cause: unknown } | undefined;
  let isClosing = false;

  function settle(answer: Answer, isHeld: boolean): void {
    const { take } = waiting.get(answer.number)!;
    if ('value' in answer) take?.(answer.value as never);
    if (isHeld) held.push(() => conclude(answer));
    else conclude(answer);
  }

  /** What ended meanwhile was told so. */
  function conclude(answer: Answer): void {
    const asked = waiting.get(answer.number);
    waiting.delete(answer.number);
    if ('problem' in answer) asked?.reject(problemFrom(answer.problem));
    else asked?.resolve(answer.value);
    if (waiting.size === 0) for (const wake of idle.splice(0)) wake();
  }

  function release(): void {
    const concluded = held;
    held = [];
    for (const conclude of concluded) conclude();
  }

  function hear(one: Heard): void {
    if ('appended' in one) {
      const records = unpackRecords(one.appended);
      for (const hearing of hearings) hearing.appended?.(records);
      heard(one.bytes);
    } else if ('skippedTo' in one) for (const hearing of hearings) hearing.skippedTo?.(one.skippedTo);
    else if ('changed' in one) for (const hearing of hearings) hearing.changed?.(one.changed);
    else for (const hearing of hearings) hearing.declared?.(one.declared);
  }

  function unavailable(call: CallName): Problem {
    const cause = ended?.cause;
    const why = cause === undefined ? 'is closed' : `has failed: ${(cause as Error).message}`;
    return new Problem(`${partOf(call)}_unavailable`, `The embedded store ${why}`, { cause });
  }

  return {
    ask<Name extends CallName>(call: Name, value: Calls[Name][0], options: AskOptions<Calls[Name][1]> = {}) {
      if (ended !== undefined || (isClosing && call !== 'close')) return Promise.reject(unavailable(call));
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const number = ++asked;
      waiting.set(number, { call, take: options.take, resolve, reject });
      post({ number, call, nowMs: now(), value }, options.transfer ?? []);
      return promise as Promise<Calls[Name][1]>;
    },
    onRemoved: (listener) => void (removed = listener),
    onHeard: (hearing) => void hearings.push(hearing),
    take(told) {
      if ('answers' in told) for (const answer of told.answers) settle(answer, told.held === true);
      else if ('heard' in told) for (const one of told.heard) hear(one);
      else if ('release' in told) release();
      else if ('removedThrough' in told) removed(told.removedThrough);
    },
    end(cause) {
      ended ??= { cause };
      for (const { call, reject } of waiting.values()) reject(unavailable(call));
      waiting.clear();
      for (const wake of idle.splice(0)) wake();
    },
    refuse: () => void (isClosing = true),
    settled: () => (waiting.size === 0 ? Promise.resolve() : new Promise((resolve) => void idle.push(resolve))),
  };
}

export function problemFrom({
  code,
  message,
  advice,
}: {
  readonly code: Problem['code'];
  readonly message: string;
  readonly advice: string | undefined;
}): Problem {
  return new Problem(code, message, advice === undefined ? {} : { advice });
}
