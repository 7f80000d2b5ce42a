/**
 * The other log as it is read back beside the first: of each shard the next event that was not compared yet. Only what stands
 * there when this is made counts, and only behind the places where the migration began.
 */
import { Problem } from '@millrace/core/problem';
import type { Log, LogRecord, Position } from '../ports/log.ts';
import { comparable } from './event-digest.ts';
import { type Item, PAGE_BYTES, PAGE_RECORDS } from './sequence.ts';

export interface Found {
  readonly record: LogRecord;
  readonly bytes: Uint8Array;
}

export interface Heads {
  /**
   * The item, where it is the next of a shard. Undefined where it is not there; rejects with `migration_conflict` where another
   * event stands where it would have to.
   */
  take(item: Item, bytes: Uint8Array): Promise<Found | undefined>;
  /** What is left when all items were taken. */
  left(): Promise<LogRecord | undefined>;
}

interface Head {
  readonly shard: string;
  readonly end: Position;
  after: Position;
  records: readonly LogRecord[];
  at: number;
}

export async function openHeads(log: Log, begins: ReadonlyMap<string, Position>): Promise<Heads> {
  const heads: Head[] = await Promise.all(
    log.shards().map(async (shard) => {
      const { end } = await log.bounds(shard);
      return { shard, end, after: begins.get(shard) ?? '', records: [], at: 0 };
    }),
  );

  async function nextOf(head: Head): Promise<LogRecord | undefined> {
    while (head.at === head.records.length && head.after < head.end) {
      const { records, through } = await log.read({
        shard: head.shard,
        after: head.after,
        limit: PAGE_RECORDS,
        maxBytes: PAGE_BYTES,
      });
      head.records = records.filter(({ position }) => position <= head.end);
      head.at = 0;
      if (through === head.after) break;
      head.after = through;
    }
    return head.records[head.at];
  }

  return {
    async take({ entry: { environment, app, event } }, wanted) {
      let other: LogRecord | undefined;
      let mayCome = false;
      for (const head of heads) {
        const record = head.records[head.at] ?? (await nextOf(head));
        if (record === undefined) {
          mayCome = true;
          continue;
        }
        other = record;
        if (record.event.id !== event.id || record.environment !== environment || record.app !== app) continue;
        const bytes = comparable(record.event);
        if (Buffer.compare(bytes, wanted) !== 0) continue;
        head.at++;
        return { record, bytes };
      }
      if (other !== undefined && !mayCome) throw anotherStands(other);
      return undefined;
    },
    async left() {
      for (const head of heads) {
        const record = await nextOf(head);
        if (record !== undefined) return record;
      }
      return undefined;
    },
  };
}

/** Of an earlier try that does not fit any more, or of somebody who publishes there. */
export function anotherStands({ shard, position, event: { id, type } }: LogRecord): Problem {
  return new Problem(
    'migration_conflict',
    `at ${position} of ${shard} stands an event that is none of those to be moved (${type}, ${id})`,
    {
      advice:
        'Nobody else may publish there meanwhile; and where this gateway was started again since an earlier try, events may have expired that stand there. Move to a new place, such as nats://HOST:4222?stream=ANOTHER, or delete what an earlier try left.',
    },
  );
}
