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
}

interface Write {
  readonly what: string;
  apply(): Promise<unknown>;
}

export function createWire({ world, life, random, latencyMs, fault, faultRate, onGhost, onUnknown }: WireOptions): Wire {
  const under = new Set<Write>();

  function never<T>(what: string): Promise<T> {
    onGhost(what);
    return new Promise(() => {});
  }

  /** Settles now or a little later: in the gap the thing is done and the caller does not know. */
  function answer(what: string, settle: () => void): void {
    if (random.chance(0.7)) settle();
    else world.at(random.gap(latencyMs), `${what} answered`, settle, life);
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
      world.at(random.gap(latencyMs), failing && !appliedFirst ? `${what} fails` : what, run, life);
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
