/**
 * Notices on their way to the main thread, which prints them: what comes in one turn goes over as one message, and the next one
 * only when that was taken, so that no screen that is slow fills the memory of another thread.
 */
import type { Notice } from '../api.ts';

/** Of deliveries: past it they are counted. More than a screen of people shows in a second, many times over. */
const DELIVERIES_MAX = 1_000;
/** Of all: past it the others are counted, too. They come by the change of a state, not by the event. */
const NOTICES_MAX = 10_000;

export interface Outbox {
  add(notice: Notice): void;
  /** What was sent last was taken. */
  taken(): void;
}

export function createOutbox(post: (notices: readonly Notice[], unprinted: number) => void): Outbox {
  let waiting: Notice[] = [];
  let unprinted = 0;
  let isUnderWay = false;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || isUnderWay || waiting.length + unprinted === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      isUnderWay = true;
      post(waiting, unprinted);
      [waiting, unprinted] = [[], 0];
    });
  }

  return {
    add(notice) {
      if (waiting.length < ('eventId' in notice ? DELIVERIES_MAX : NOTICES_MAX)) waiting.push(notice);
      else unprinted++;
      schedule();
    },
    taken() {
      isUnderWay = false;
      schedule();
    },
  };
}
