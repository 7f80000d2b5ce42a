/**
 * What came in: a message is kept from before its ack until it is done, its id for long after, so that a copy is known.
 * The inbox here is in memory: when the process ends, it forgets what was acked and not done. inbox-sqlite.ts does not.
 */
export interface Message {
  /** `webhook-id`: the same on every attempt, retry, redrive and replay. */
  readonly id: string;
  /** `content-type`, and the event's attributes as `ce-…`, as they came: their values are percent-encoded. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A message in the hands of one worker. */
export interface Claim {
  readonly message: Message;
  /** From 1. A claim that ran out counts, too: a message that kills the process must end in `failed`. */
  readonly attempt: number;
}

export interface Failure {
  readonly id: string;
  readonly topic: string;
  readonly attempts: number;
  readonly error: string;
}

export interface Inbox {
  /**
   * Tests and sets in one step, so that of two copies at once one is `new`: kept, and from now on ours to finish. A copy of what
   * has failed is `new` again: somebody has sent it once more on purpose. `full`: not kept, to be sent again later.
   */
  seen(message: Message): Promise<'new' | 'seen' | 'full'>;
  /** First phase: hands out what is due longest, to this caller alone until `untilMs`. Whoever dies meanwhile loses it. */
  claim(untilMs: number): Promise<Claim | undefined>;
  /** Second phase: done. The message goes, its id stays. */
  markSeen(id: string): Promise<void>;
  /** Not done: it is due again at `dueMs`. Without effect where the claim ran out and somebody else has it. */
  postpone(claim: Claim, dueMs: number, error: string): Promise<void>;
  /** Given up: it stays in the list of failures until it is sent again. Without effect likewise. */
  fail(claim: Claim, error: string): Promise<void>;
  /** When something will be due, claims that run out included. */
  nextDueMs(): Promise<number | undefined>;
  failed(): Promise<readonly Failure[]>;
}

export interface InboxBounds {
  /** Messages that are not done: past it senders are told to come later. */
  readonly openMax: number;
  /** Failures: past it likewise, as a person has to look. */
  readonly failedMax: number;
  /** How long the id of a done message is known: longer than the topic's retention, as a replay sends the past again. */
  readonly keepMs: number;
  /** Wall time, ms since 1970. */
  readonly now: () => number;
}

export const BOUNDS: InboxBounds = { openMax: 1_000, failedMax: 10_000, keepMs: 8 * 86_400_000, now: Date.now };
/** In memory ids have a bound, too: the oldest goes first. */
const DONE_MAX = 100_000;

interface Kept {
  readonly message: Message;
  attempts: number;
  dueMs: number;
  error: string;
}

export function createMemoryInbox(bounds: Partial<InboxBounds> = {}): Inbox {
  const { openMax, failedMax, keepMs, now } = { ...BOUNDS, ...bounds };
  const open = new Map<string, Kept>();
  const failed = new Map<string, Kept>();
  const done = new Map<string, number>();

  /** Undefined where the claim is not the caller's any more. */
  function claimed({ message: { id }, attempt }: Claim): Kept | undefined {
    const kept = open.get(id);
    return kept?.attempts === attempt ? kept : undefined;
  }

  return {
    async seen(message) {
      const { id } = message;
      if (open.has(id) || (done.get(id) ?? 0) > now()) return 'seen';
      if (open.size >= openMax || (!failed.has(id) && failed.size >= failedMax)) return 'full';
      failed.delete(id);
      open.set(id, { message, attempts: 0, dueMs: now(), error: '' });
      return 'new';
    },
    async claim(untilMs) {
      const [first] = [...open.values()].filter(({ dueMs }) => dueMs <= now()).sort((one, other) => one.dueMs - other.dueMs);
      if (first === undefined) return undefined;
      first.dueMs = untilMs;
      return { message: first.message, attempt: ++first.attempts };
    },
    async markSeen(id) {
      open.delete(id);
      failed.delete(id);
      done.delete(id);
      done.set(id, now() + keepMs);
      const [oldest] = done.keys();
      if (done.size > DONE_MAX && oldest !== undefined) done.delete(oldest);
    },
    async postpone(claim, dueMs, error) {
      const kept = claimed(claim);
      if (kept !== undefined) Object.assign(kept, { dueMs, error });
    },
    async fail(claim, error) {
      const kept = claimed(claim);
      if (kept === undefined) return;
      open.delete(claim.message.id);
      failed.set(claim.message.id, Object.assign(kept, { error }));
    },
    async nextDueMs() {
      return open.size === 0 ? undefined : Math.min(...[...open.values()].map(({ dueMs }) => dueMs));
    },
    async failed() {
      return [...failed.values()].map(({ message: { id, headers }, attempts, error }) => ({
        id,
        topic: headers['ce-type'] ?? '',
        attempts,
        error,
      }));
    },
  };
}
