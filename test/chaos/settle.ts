/** Waiting until nothing is owed any more, or nothing moves. */
import { deadLettersOf } from './api.ts';
import type { Book, Published } from './book.ts';
import type { Ready } from './process.ts';
import { pass } from './waiting.ts';

export interface Settle {
  /** Until nothing of these is owed. Gives up, with a breach, where none of them has moved for longer than any pause may be. */
  (events: readonly Published[]): Promise<void>;
}

interface Needs {
  readonly book: Book;
  readonly up: () => Promise<Ready>;
}

/** Longer than any retry schedule here, and than the pauses between an open breaker's probes. */
const STALL_MS = 30_000;
const LOOK_MS = 500;
const MISSING_TOLD = 5;

export function createSettle({ book, up }: Needs): Settle {
  /** Of dead letters only the gateway can tell. None is for a range: nothing here is old enough to expire. */
  async function readDeadLetters(): Promise<void> {
    const now = await up();
    for (const { id } of book.specs)
      for (const { event, cause } of await deadLettersOf(now, id)) {
        if (event === undefined) book.breach(`${id} has a dead letter for a range (${cause})`);
        else book.died(id, event.id);
      }
  }

  function giveUp(events: readonly Published[], owed: number): void {
    const { n } = book.life;
    book.breach(`life ${n}: ${owed} deliveries are owed and none of them came for ${STALL_MS / 1_000} s`);
    for (const what of book.missing(events, MISSING_TOLD)) book.breach(what);
  }

  return async (events) => {
    let owed = Infinity;
    let movedAt = performance.now();
    for (;;) {
      await readDeadLetters();
      const now = book.owedOf(events);
      if (now === 0) return;
      if (now < owed) movedAt = performance.now();
      owed = now;
      if (performance.now() - movedAt > STALL_MS) return giveUp(events, owed);
      await Promise.race([book.settled(), pass(LOOK_MS)]);
    }
  };
}
