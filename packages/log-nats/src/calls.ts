/** Calls of append: what has become of each entry, until the call is answered as a whole. */
import type { Appended, Entry } from '@millrace/gateway/ports/log';
import { unavailable } from './problems.ts';

export interface Call {
  readonly entries: readonly Entry[];
  readonly results: (Result | undefined)[];
  readonly sinceMs: number;
  /** Entries nothing is known of yet. */
  left: number;
  problem: unknown;
  isOver: boolean;
  readonly resolve: (results: readonly Appended[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** Of what was stored, the time comes at the end: the broker's answer does not tell it. */
export type Result = Appended | { readonly sequence: number };

export interface Calls {
  readonly size: number;
  begin(entries: readonly Entry[]): { readonly call: Call; readonly done: Promise<readonly Appended[]> };
  settle(call: Call, at: number, result: Result): void;
  /** The call rejects once all its entries are settled: the publisher is answered when it can't change any more. */
  refuse(call: Call, problem: unknown): void;
  /** The call rejects now. */
  giveUp(call: Call, reason: unknown): void;
  giveUpAll(reason: unknown): void;
  /** Gives up those that have waited too long. */
  giveUpLate(): void;
}

interface Needs {
  readonly shard: string;
  readonly positionOf: (sequence: number) => string;
  readonly timesOf: (sequences: readonly number[]) => Promise<readonly number[]>;
}

/** Longer than a leader takes to be elected; a publisher has waited long enough to be told. */
const PATIENCE_MS = 10_000;

export function createCalls({ shard, positionOf, timesOf }: Needs): Calls {
  const open = new Set<Call>();

  function landed(call: Call): void {
    if (!call.isOver && --call.left === 0) void finish(call);
  }

  async function finish(call: Call): Promise<void> {
    if (call.problem !== undefined) return giveUp(call, call.problem);
    try {
      const results = await withTimes(call.results as Result[]);
      end(call);
      call.resolve(results);
    } catch (error) {
      giveUp(call, unavailable(error));
    }
  }

  async function withTimes(results: readonly Result[]): Promise<Appended[]> {
    const sequences = results.flatMap((result) => ('sequence' in result ? [result.sequence] : []));
    const times = sequences.length === 0 ? [] : await timesOf(sequences);
    let next = 0;
    return results.map((result) => {
      if (!('sequence' in result)) return result;
      return { status: 'appended', shard, position: positionOf(result.sequence), timeMs: times[next++]! };
    });
  }

  function giveUp(call: Call, reason: unknown): void {
    if (call.isOver) return;
    end(call);
    call.reject(reason);
  }

  function end(call: Call): void {
    call.isOver = true;
    open.delete(call);
  }

  return {
    get size() {
      return open.size;
    },
    begin(entries) {
      const { promise: done, resolve, reject } = Promise.withResolvers<readonly Appended[]>();
      const results = Array.from<undefined>({ length: entries.length });
      const sinceMs = performance.now();
      const call = { entries, results, sinceMs, left: entries.length, problem: undefined, isOver: false, resolve, reject };
      open.add(call);
      return { call, done };
    },
    settle(call, at, result) {
      call.results[at] = result;
      landed(call);
    },
    refuse(call, problem) {
      call.problem ??= problem;
      landed(call);
    },
    giveUp,
    giveUpAll(reason) {
      for (const call of open) giveUp(call, reason);
    },
    giveUpLate() {
      const nowMs = performance.now();
      for (const call of open)
        if (nowMs - call.sinceMs > PATIENCE_MS) giveUp(call, unavailable(new Error('the event may be stored or not')));
    },
  };
}
