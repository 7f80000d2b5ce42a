/** What a move is given, and what comes of it. */
import type { Directory } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import type { LedgerCounts } from './ledger.ts';

export interface MigrateOptions {
  /** The data directory. */
  readonly data: string;
  /** Addresses, as `start` takes them. */
  readonly log: string;
  readonly store?: string;
  /** Looks and counts; nothing is written anywhere. */
  readonly dryRun?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Ends it where it is, with its reason; another run goes on from there. Not any more once it has switched over. */
  readonly signal?: AbortSignal;
}

export interface Progress {
  readonly phase: 'look' | 'copy' | 'verify' | 'ledger';
  /** Events, or rows of the ledger. */
  readonly done: number;
  /** 0 to 1, where it is known. */
  readonly part?: number;
}

export interface Migrated extends Partial<LedgerCounts> {
  readonly state: 'planned' | 'moved' | 'already-moved';
  readonly log: string;
  readonly store?: string;
  readonly events: number;
  readonly bytes: number;
  readonly sha256?: string;
  readonly subscriptions?: number;
  /** Events that only the ledger had any more, of `events`. */
  readonly kept?: number;
}

export interface FormerStore {
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  close(): Promise<void>;
}
export type NewStore = Omit<FormerStore, 'log'>;

/** Knows the drivers. `nowMs` is what they judge age by, `onFailure` is told when one can't go on. */
export interface Openers {
  former(options: { readonly data: string; readonly nowMs: number; readonly onFailure: OnFailure }): Promise<FormerStore>;
  log(options: { readonly address: string; readonly nowMs: number; readonly onFailure: OnFailure }): Promise<Log>;
  store(options: {
    readonly address: string | undefined;
    readonly directory: string;
    readonly onFailure: OnFailure;
  }): Promise<NewStore>;
}
type OnFailure = (error: Error) => void;

export interface Needs extends MigrateOptions {
  readonly open: Openers;
  /** Wall time. */
  readonly now: () => number;
  /** Called before each step that writes: for tests of what ends it there. */
  readonly reached?: (step: 'begin' | 'copy' | 'verify' | 'store' | 'directory' | 'ledger' | 'switch') => void;
}

export interface Working extends Needs {
  readonly onFailure: OnFailure;
  readonly opened: { close(): Promise<void> }[];
}
