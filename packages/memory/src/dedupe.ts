/** Idempotency keys of the memory log, each with what came of its first use. */
import { hash } from 'node:crypto';
import type { Appended, Entry, LogRecord } from '@millrace/gateway/ports/log';

export interface Keys {
  /** What an entry with this key gets instead of an append, or undefined where its key is free. */
  settled(entry: Entry, timeMs: number): Appended | undefined;
  remember(entry: Entry, record: LogRecord): void;
  /** Forgets the keys whose window is over. */
  forget(timeMs: number): void;
}

interface Use {
  readonly digest: string;
  readonly untilMs: number;
  readonly answer: Appended;
}

/** Of a log that leaves them to the gateway. */
export const NO_KEYS: Keys = { settled: () => undefined, remember: () => undefined, forget: () => undefined };

export function createKeys(): Keys {
  const uses = new Map<string, Use>();

  return {
    settled(entry, timeMs) {
      const use = entry.dedupe && uses.get(scoped(entry));
      if (use === undefined || use.untilMs <= timeMs) return undefined;
      return use.digest === entry.dedupe!.digest ? use.answer : { status: 'conflict' };
    },
    remember(entry, { shard, position, timeMs, event }) {
      if (entry.dedupe === undefined) return;
      const { digest, windowMs } = entry.dedupe;
      uses.set(scoped(entry), {
        digest,
        untilMs: timeMs + windowMs,
        answer: { status: 'duplicate', shard, position, timeMs, id: event.id },
      });
    },
    forget(timeMs) {
      for (const [key, use] of uses) if (use.untilMs <= timeMs) uses.delete(key);
    },
  };
}

function scoped({ environment, app, dedupe }: Entry): string {
  return JSON.stringify([environment, app, dedupe?.key]);
}

/** As the port has it. */
export function keyedOf({ environment, app, dedupe }: Entry): LogRecord['keyed'] {
  if (dedupe === undefined) return undefined;
  return { key: hash('sha256', JSON.stringify([environment, app, dedupe.key]), 'base64url'), digest: dedupe.digest };
}
