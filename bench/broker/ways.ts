/** What is measured of a log on NATS: the same verbs for the driver (ours.ts) and for the bare client (raw.ts). */
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { Entry } from '@millrace/gateway/ports/log';

/** How many calls are under way at once, and how many events are in each. */
export interface Pipelining {
  readonly calls: number;
  readonly perCall: number;
}

export interface Way {
  /** Resolves when the broker has answered for all. What is made beforehand is made before `started`. */
  append(entries: readonly Entry[], how: Pipelining, started: () => void): Promise<void>;
  /** Resolves, when it listens, with a promise that resolves once so many more have come. */
  follow(count: number): Promise<{ readonly came: Promise<void> }>;
  /** From the first message that is there, `count` in all. Resolves with what is to be closed then. */
  readBack(count: number, started: () => void): Promise<() => Promise<void>>;
  /** Removes what is there: it would fill the disk, and its pages are written while others are measured. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** A client of its own, beside what is measured. */
export async function openClient(servers: string, stream: string) {
  const nc = await connect({ servers });
  const jsm = await jetstreamManager(nc);
  return {
    nc,
    jsm,
    async empty() {
      await jsm.streams.purge(stream);
    },
  };
}

/** Each caller has its next events answered before it goes on. */
export async function pipelined<Each>(
  all: readonly Each[],
  { calls, perCall }: Pipelining,
  call: (part: readonly Each[]) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < all.length) {
      const part = all.slice(next, next + perCall);
      next += part.length;
      await call(part);
    }
  };
  await Promise.all(Array.from({ length: calls }, caller));
}

export function mustBe(read: number, count: number): void {
  if (read !== count) throw new Error(`${read} events were read of ${count}`);
}
