/**
 * Between one life of the gateway and one durable thing: latency, faults, and what a crash leaves of a call. A call is
 * applied at one instant, never half; its answer comes at that instant or later, or never when the life ends first.
 */
import type { Problem } from '@millrace/core/problem';
import type { Random } from './random.ts';
import type { Life, World } from './world.ts';

export interface Wire {
  /** Reading: may fail, and is forgotten at a crash. */
  read<T>(what: string, apply: () => Promise<T>): Promise<T>;
  /** Changing something: at a crash it happens or not. */
  write<T>(what: string, apply: () => Promise<T>, options?: { readonly mayFail?: 'before' | 'unknown' }): Promise<T>;
  /** The life has ended: decides what becomes of the writes under way. */
  sever(): Promise<void>;
}

export interface WireOptions {
  readonly world: World;
  readonly life: Life;
  readonly random: Random;
  readonly latencyMs: number;
  readonly fault: () => Problem;
  /** How likely a call fails now. */
  readonly faultRate: () => number;
  /** A gateway that was abandoned called nevertheless. */
  readonly onGhost: (what: string) => void;
  /** A write was applied and its caller told that it failed. */
  readonly onUnknown?: () => void;
  /** Nothing goes over it now: what is under way may arrive, its answer does not. */
  readonly isCut?: () => boolean;
}

/** Until a call is given up whose answer never came: drivers have such a bound, less than a lease. */
const CUT_MS = 60;

interface Write {
  readonly what: string;
  apply(): Promise<unknown>;
}

export function createWire(options: WireOptions): Wire {
  const { world, life, random, latencyMs, fault, faultRate, onGhost, onUnknown, isCut = () => false } = options;
  const under = new Set<Write>();

  function never<T>(what: string): Promise<T> {
    onGhost(what);
    return new Promise(() => {});
  }

  /** Settles now or a little later: in the gap the thing is done and the caller does not know. */
  function answer(what: string, settle: () => void): void {
    const delayMs = random.chance(0.7) ? 0 : random.gap(latencyMs);
    if (delayMs === 0 && !life.isFrozen) settle();
    else world.at(delayMs, `${what} answered`, settle, life);
  }

  function call<T>(
    what: string,
    write: Write | undefined,
    apply: () => Promise<T>,
    mayFail: 'no' | 'before' | 'unknown',
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const failing = mayFail !== 'no' && random.chance(faultRate());
      const appliedFirst = failing && mayFail === 'unknown' && random.chance(0.5);
      const run = async (): Promise<void> => {
        if (write !== undefined) under.delete(write);
        if (isCut()) return cut();
        if (failing && !appliedFirst) return answer(`${what} failed`, () => reject(fault()));
        try {
          const result = await apply();
          if (appliedFirst) {
            onUnknown?.();
            return answer(`${what} applied but failed`, () => reject(fault()));
          }
          answer(what, () => resolve(result));
        } catch (error) {
          answer(`${what} refused`, () => reject(error));
        }
      };
      /** Whoever waits finds out only after a while. */
      const cut = async (): Promise<void> => {
        const applied = write !== undefined && random.chance(0.3);
        if (applied) await apply().catch(() => undefined);
        if (applied) onUnknown?.();
        world.at(random.gap(CUT_MS), `${what} cut off${applied ? ' after it was applied' : ''}`, () => reject(fault()), life);
      };
      world.at(random.gap(latencyMs), failing && !appliedFirst ? `${what} fails` : what, run, life, 'outside');
    });
  }

  return {
    read: (what, apply) => (life.alive ? call(what, undefined, apply, 'before') : never(what)),
    write(what, apply, { mayFail } = {}) {
      if (!life.alive) return never(what);
      const write: Write = { what, apply };
      under.add(write);
      return call(what, write, apply, mayFail ?? 'no');
    },
    async sever() {
      for (const write of under) {
        const applied = random.chance(0.5);
        world.trace.note(`crash: ${write.what} was ${applied ? '' : 'not '}applied`);
        // A write that would have been refused is simply not applied.
        if (applied) await write.apply().catch(() => undefined);
      }
      under.clear();
    },
  };
}
