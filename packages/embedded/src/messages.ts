/** What crosses between the threads that use the store and the store thread. All of it survives a structured clone. */
import type { MessagePort } from 'node:worker_threads';
import type { ProblemCode } from '@millrace/core/problem';
import type {
  Commit,
  DeadLetter,
  KeyedRow,
  AttemptKey,
  AttemptRow,
  LaneRow,
  OpenLane,
  ParkedRow,
  SlotRow,
} from '@millrace/gateway/ports/ledger';
import type { Claim, Claimed, Outcome } from '@millrace/gateway/ports/claims';
import type { Fence, NodeRow, SlotOwner } from '@millrace/gateway/ports/leases';
import type { Page, TopicRetention } from '@millrace/gateway/ports/log';
import type { AppendAnswer, AppendBatch, AttemptColumns, RecordPack } from './packing.ts';
import type { SealStep } from './store/seal.ts';

/** `workerData`. */
export interface Setup {
  readonly directory: string;
  readonly relaxed: boolean;
  readonly segmentBytes: number;
  readonly segmentMs: number;
  readonly maxBytes: number;
  readonly maxPageCount: number | undefined;
  readonly damaged: 'refuse' | 'set-aside';
  readonly nowMs: number;
  readonly fault: Fault | undefined;
}

/** For tests: what happens when sealing reaches a step. */
export interface Fault {
  readonly at: SealStep;
  /** `kill`: the process ends as by kill -9. `full`: the disk is full, as often as `times` says. */
  readonly what: 'kill' | 'full';
  readonly times: number;
}

/** The thread's first word. */
export interface Ready {
  readonly identity: string;
  /** The last offset given out. */
  readonly end: number;
  readonly retentions: readonly TopicRetention[];
  readonly setAside: readonly SetAside[];
}

/** A sealed file that could not be used and was moved to the directory `set-aside`. */
export interface SetAside {
  readonly file: string;
  readonly reason: string;
  /** Events that were in it by the list; they are reported as expired. 0 for a file that was not listed. */
  readonly records: number;
}

export interface PackedCommit extends Omit<Commit, 'attempts'> {
  readonly attempts?: AttemptColumns;
}

export interface StoredResource {
  readonly environment: string;
  readonly id: string;
  readonly version: number;
  /** JSON. */
  readonly value: string;
}

export interface PackedPage extends Omit<Page, 'records'> {
  readonly records: RecordPack;
}

/** The calls, each with what goes in and what comes back. */
export interface LogCalls {
  append: [AppendBatch, AppendAnswer];
  read: [
    {
      readonly after: number;
      readonly only?: { readonly environment: string; readonly topics: readonly string[] } | undefined;
      readonly limit: number;
      readonly maxBytes: number;
    },
    PackedPage,
  ];
  fetch: [number, RecordPack];
  positionAt: [number, number];
  bounds: [
    null,
    {
      readonly first?: { offset: number; timeMs: number };
      readonly last?: { offset: number; timeMs: number };
      readonly end: number;
    },
  ];
  declareTopic: [TopicRetention, null];
  trim: [null, null];
}

export interface LedgerCalls {
  commit: [PackedCommit, null];
  lanes: [null, readonly LaneRow[]];
  slots: [null, readonly SlotRow[]];
  handledAfter: [{ readonly lane: string; readonly shard: string; readonly after: string }, readonly string[]];
  openLanes: [null, readonly OpenLane[]];
  due: [
    { readonly lane: string; readonly shard: string; readonly dueMs: number; readonly limit: number },
    { readonly rows: readonly ParkedRow[]; readonly nextDueMs?: number },
  ];
  keyed: [{ readonly lane: string; readonly shard: string }, readonly KeyedRow[]];
  parked: [{ readonly lane: string; readonly shard: string; readonly position: string }, ParkedRow | undefined];
  attempts: [{ readonly subscription: string; readonly before?: AttemptKey; readonly limit: number }, readonly AttemptRow[]];
  attemptsOf: [{ readonly lane: string; readonly shard: string; readonly position: string }, readonly AttemptRow[]];
  deadLetters: [{ readonly subscription: string; readonly after?: string; readonly limit: number }, readonly DeadLetter[]];
  deadLetter: [string, DeadLetter | undefined];
  deadLetterCounts: [null, readonly { readonly subscription: string; readonly count: number }[]];
  pruneAttempts: [number, null];
}

export interface DirectoryCalls {
  getResource: [{ readonly kind: string; readonly environment: string; readonly id: string }, StoredResource | undefined];
  listResources: [
    {
      readonly kind: string;
      readonly environment?: string;
      readonly after?: { readonly environment: string; readonly id: string };
      readonly limit: number;
    },
    readonly StoredResource[],
  ];
  putResource: [
    {
      readonly kind: string;
      readonly environment: string;
      readonly id: string;
      readonly value: string;
      readonly expect?: 'absent' | number;
    },
    StoredResource,
  ];
  deleteResource: [
    { readonly kind: string; readonly environment: string; readonly id: string; readonly expect?: number },
    boolean,
  ];
}

export interface ClaimCalls {
  claim: [readonly Claim[], readonly Claimed[]];
  settleClaims: [readonly Outcome[], null];
  pruneClaims: [null, null];
}

/** A node, and which process of that name it is. */
export interface Member {
  readonly node: string;
  readonly token: string;
}

/** `atMs`: of a clock that never jumps and that all threads of the process share. */
export interface LeaseCalls {
  leaseRenew: [
    { readonly member: Member; readonly address: string; readonly load: number; readonly leaseMs: number; readonly atMs: number },
    readonly Fence[],
  ];
  leaseTake: [{ readonly member: Member; readonly slots: readonly number[]; readonly atMs: number }, readonly Fence[]];
  leaseRelease: [{ readonly member: Member; readonly slots: readonly number[] }, null];
  leaseLeave: [Member, null];
  leaseNodes: [{ readonly atMs: number }, readonly NodeRow[]];
  leaseSlots: [{ readonly atMs: number }, readonly SlotOwner[]];
  leaseCommit: [{ readonly commit: PackedCommit; readonly fences: readonly Fence[] }, null];
}

export interface Calls extends LogCalls, LedgerCalls, DirectoryCalls, ClaimCalls, LeaseCalls {
  /** Another thread that may ask, at the other end of this port. */
  connect: [MessagePort, null];
  close: [null, null];
}
export type CallName = keyof Calls;

export interface Question<Name extends CallName = CallName> {
  readonly number: number;
  readonly call: Name;
  /** Wall time at the caller: the thread has no clock of its own. */
  readonly nowMs: number;
  readonly value: Calls[Name][0];
}

export type Answer =
  | { readonly number: number; readonly value: unknown }
  | {
      readonly number: number;
      readonly problem: { readonly code: ProblemCode; readonly message: string; readonly advice: string | undefined };
    };

/** What others have changed, in the order in which it was. */
export type Heard =
  | { readonly appended: RecordPack; readonly bytes: number }
  /** Everything up to here was appended, and is not told: so much is on its way that it would wait too long. */
  | { readonly skippedTo: number }
  | {
      readonly changed: {
        readonly kind: string;
        readonly environment: string;
        readonly id: string;
        readonly now?: StoredResource;
      };
    }
  | { readonly declared: TopicRetention };

/** The store thread to whoever asks it. */
export type Told =
  /** `unheard`: one Int32, the bytes of what others appended that are on their way. */
  | { readonly ready: Ready; readonly unheard?: SharedArrayBuffer }
  | { readonly heard: readonly Heard[] }
  | { readonly refused: { readonly code: ProblemCode; readonly message: string; readonly advice: string | undefined } }
  /** `held`: what was done counts, and whoever asked hears of it at `release`, when all others have been told. */
  | { readonly answers: readonly Answer[]; readonly held?: boolean }
  | { readonly release: true }
  /** Retention took files with offsets up to here. */
  | { readonly removedThrough: number };

/** Of topics never declared: seven days. */
export const DEFAULT_RETENTION_MS = 7 * 86_400_000;

/** A topic or app with its environment, as one key. */
export function nameOf(environment: string, name: string): string {
  return `${environment}\0${name}`;
}
