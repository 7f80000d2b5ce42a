/**
 * Gives a parked or held delivery its event back: the kept bytes, the ring, or the log. A position alone is not trusted
 * to mean the same event twice (a log may be recreated, a backup restored): time and digest must agree.
 */
import { decodeEvent } from '@millrace/core/event-bytes';
import type { KeptEvent } from '../ports/ledger.ts';
import type { Log, LogRecord, Position } from '../ports/log.ts';
import { idHashOf } from './cursor.ts';

export interface Wanted {
  readonly position: Position;
  readonly timeMs: number;
  readonly size: number;
  readonly idHash: string | undefined;
  readonly kept: KeptEvent | undefined;
}

/** `expired`: retention took it. `log_changed`: another event stands there now. */
export type Restored = LogRecord | 'expired' | 'log_changed';

export interface Restore {
  /** Rejects when the log can't be read now. */
  (wanted: Wanted): Promise<Restored>;
}

export function createRestore({
  shard,
  log,
  find,
}: {
  shard: string;
  log: Log;
  find: (position: Position) => LogRecord | undefined;
}): Restore {
  return async ({ position, timeMs, size, idHash, kept }) => {
    if (kept !== undefined) {
      return { shard, position, timeMs, size, environment: kept.environment, app: kept.app, event: decodeEvent(kept.bytes) };
    }
    const record = find(position) ?? (await log.fetch(shard, position));
    if (record === undefined) return 'expired';
    const isSame = record.timeMs === timeMs && (idHash === undefined || idHashOf(record) === idHash);
    return isSame ? record : 'log_changed';
  };
}
