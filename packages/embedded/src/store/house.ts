/** Housekeeping, one thing at a time: full hot tables are sealed, what has expired or is too much is dropped. */
import { Problem } from '@millrace/core/problem';
import { isStorageError } from './faults.ts';
import type { FileList } from './files.ts';
import type { Hot } from './hot.ts';
import type { Fault } from '../messages.ts';
import type { Names } from './names.ts';
import type { Removed } from './removed.ts';
import { dropExpired } from './retention.ts';
import { seal } from './seal.ts';
import type { SealStep } from './seal.ts';
import type { Sealed } from './sealed.ts';
import type { State } from './state.ts';

/** Copied between two turns while sealing keeps up with the appends; more where it falls behind. */
const PIECE_BYTES = 1024 * 1024;

export interface House {
  /** Resolves when all older hot tables are sealed and what is due is dropped. Calls queue up. */
  keep(nowMs: number): Promise<void>;
  /** The same with nobody waiting. What goes wrong comes up again at the next keep(). */
  keepQuietly(nowMs: number): void;
  /** Gives up what goes on and resolves when it has. */
  close(): Promise<void>;
}

export interface HouseOptions {
  readonly state: State;
  readonly names: Names;
  readonly files: FileList;
  readonly sealed: Sealed;
  readonly removed: Removed;
  /** Oldest first; the last one takes appends. Sealed ones are taken out. */
  readonly hots: Hot[];
  readonly maxBytes: number;
  readonly fault: Fault | undefined;
  readonly turn: () => Promise<void>;
  /** Hot tables or files have changed. */
  readonly changed: () => void;
  /** Retention took files with offsets up to `through`. */
  readonly took: (through: number) => void;
}

export function createHouse(options: HouseOptions): House {
  const { state, names, files, sealed, removed, hots, maxBytes, turn, changed } = options;
  const { fault } = options;
  let faultsLeft = fault?.times ?? 0;
  let work: Promise<void> = Promise.resolve();
  let isClosing = false;

  async function turnOrStop(): Promise<void> {
    await turn();
    if (isClosing) throw new Problem('log_unavailable', 'The store is being closed');
  }

  async function keepNow(nowMs: number): Promise<void> {
    while (hots.length > 1) {
      await turnOrStop();
      await seal(hots[0]!, nowMs, {
        state,
        names,
        files,
        turn: turnOrStop,
        pieceBytes: () => PIECE_BYTES * (hots.length - 1),
        reached,
      });
      hots.shift();
      changed();
    }
    const hotBytes = () => hots.reduce((sum, { bytes }) => sum + bytes, 0);
    await dropExpired(nowMs, { state, names, files, sealed, removed, maxBytes, hotBytes, turn: turnOrStop, took });
  }

  function took(through: number): void {
    changed();
    options.took(through);
  }

  function reached(step: SealStep): void {
    if (fault?.at !== step || faultsLeft === 0) return;
    faultsLeft--;
    if (fault.what === 'kill') process.kill(process.pid, 'SIGKILL');
    else throw Object.assign(new Error('no space left on device (made by a test)'), { code: 'ENOSPC' });
  }

  function keep(nowMs: number): Promise<void> {
    const mine = work.then(() => keepNow(nowMs));
    work = mine.catch(() => {});
    return mine;
  }

  return {
    keep,
    keepQuietly(nowMs) {
      keep(nowMs).catch((error: unknown) => {
        // Neither the disk nor a close: a bug. As an unhandled rejection it ends the thread.
        if (!isStorageError(error) && !(error instanceof Problem)) throw error;
      });
    },
    async close() {
      isClosing = true;
      await work;
    },
  };
}
