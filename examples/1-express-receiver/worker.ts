/** Works on what the inbox holds, after the ack: several messages at a time, failures again after a pause, then given up. */
import type { Claim, Inbox, Message } from './inbox.ts';

export interface Work {
  /** Resolves when the message is done. What it does must bear being done twice: the process may die just before that is noted. */
  (message: Message, signal: AbortSignal): Promise<void>;
}

export interface WorkerOptions {
  readonly inbox: Inbox;
  readonly work: Work;
  /** Messages at once. */
  readonly concurrency?: number;
  /** The longest that one may take; then its signal aborts, and it counts as failed. */
  readonly workMs?: number;
  /** Pauses before further attempts, ms: their number is the number of further attempts. */
  readonly retryMs?: readonly number[];
  readonly onFailed?: (message: Message, error: string) => void;
}

export interface Worker {
  /** Something new is in the inbox. */
  wake(): void;
  /** Takes nothing more; resolves when what is under way has ended. */
  stop(): Promise<void>;
}

const RETRY_MS = [1_000, 10_000, 60_000];

export function startWorker({
  inbox,
  work,
  concurrency = 4,
  workMs = 30_000,
  retryMs = RETRY_MS,
  onFailed = () => undefined,
}: WorkerOptions): Worker {
  // A claim outlasts the work, so that it runs out only when its process is gone.
  const claimMs = 2 * workMs;
  let bell = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  let ringsAtMs = Infinity;
  let stopped = false;

  /** All look again, and set the timer anew. */
  function wake(): void {
    clearTimeout(timer);
    ringsAtMs = Infinity;
    bell.resolve();
    bell = Promise.withResolvers();
  }

  async function loop(): Promise<void> {
    while (!stopped) {
      // Taken before looking: who comes in between rings this one.
      const rung = bell.promise;
      const claim = await inbox.claim(Date.now() + claimMs);
      if (claim !== undefined) {
        await attempt(claim);
        continue;
      }
      await ringWhenDue();
      await rung;
    }
  }

  /** Has the bell rung in time, at the earliest in a moment: where another process is faster, this one must not spin. */
  async function ringWhenDue(): Promise<void> {
    const dueMs = await inbox.nextDueMs();
    if (stopped || dueMs === undefined || dueMs >= ringsAtMs) return;
    clearTimeout(timer);
    ringsAtMs = dueMs;
    // real time: a pause between attempts
    timer = setTimeout(wake, Math.max(1, dueMs - Date.now()));
  }

  async function attempt(claim: Claim): Promise<void> {
    const error = claim.attempt > retryMs.length + 1 ? 'the process ended while it was worked on' : await errorOf(claim.message);
    if (error === undefined) return inbox.markSeen(claim.message.id);
    const pauseMs = retryMs[claim.attempt - 1];
    if (pauseMs !== undefined) return inbox.postpone(claim, Date.now() + pauseMs, error);
    await inbox.fail(claim, error);
    onFailed(claim.message, error);
  }

  async function errorOf(message: Message): Promise<string | undefined> {
    const signal = AbortSignal.timeout(workMs);
    // Work that is deaf to its signal must not keep its place for ever.
    const late = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    try {
      await Promise.race([work(message, signal), late]);
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  // An inbox that can't be read or written rejects here and ends the process: what was claimed is claimed again after that.
  const loops = Promise.all(Array.from({ length: concurrency }, loop));

  return {
    wake,
    async stop() {
      stopped = true;
      wake();
      await loops;
    },
  };
}
