/** Single records and the ends of the log, as they are seen: what retention hides is not there. */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Log, LogRecord, Mark, Page, Position } from '@millrace/gateway/ports/log';
import { positionOf } from './position.ts';

export interface Ends {
  bounds(): ReturnType<Log['bounds']>;
  visibleAt(sequence: number): Promise<LogRecord | undefined>;
}

interface Needs {
  readonly info: () => Promise<StreamInfo>;
  readonly at: (sequence: number) => Promise<LogRecord | undefined>;
  readonly isHidden: (record: LogRecord) => boolean;
  readonly read: (after: Position, limit: number, maxBytes: number) => Promise<Page>;
}

/** Looked at in one go for the newest event that is not hidden. */
const LOOKED_AT = 1_000;
const LOOKED_AT_BYTES = 4 * 1024 * 1024;

export function createEnds({ info, at, isHidden, read }: Needs): Ends {
  async function visibleAt(sequence: number): Promise<LogRecord | undefined> {
    const record = await at(sequence);
    return record === undefined || isHidden(record) ? undefined : record;
  }

  async function firstVisible(): Promise<LogRecord | undefined> {
    for (let after = ''; ;) {
      const page = await read(after, 1, LOOKED_AT_BYTES);
      if (page.records[0] !== undefined || page.atEnd) return page.records[0];
      after = page.through;
    }
  }

  /** Reads the log to its end; only where the newest event is hidden or was removed: a log whose long-lived topics are quiet. */
  async function lastVisible(): Promise<LogRecord | undefined> {
    let last: LogRecord | undefined;
    for (let after = ''; ;) {
      const page = await read(after, LOOKED_AT, LOOKED_AT_BYTES);
      last = page.records.at(-1) ?? last;
      if (page.atEnd) return last;
      after = page.through;
    }
  }

  return {
    visibleAt,
    async bounds() {
      const { state } = await info();
      const end = positionOf(state.last_seq);
      if (state.messages === 0) return { end };
      const last = (await visibleAt(state.last_seq)) ?? (await lastVisible());
      if (last === undefined) return { end };
      const first = (await visibleAt(state.first_seq)) ?? (await firstVisible());
      return { ...(first && { first: markOf(first) }), last: markOf(last), end };
    },
  };
}

function markOf({ position, timeMs }: LogRecord): Mark {
  return { position, timeMs };
}
