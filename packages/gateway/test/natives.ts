/** A log in memory that other clients write to as well: what comes from the app `nats:x` and says `bad` can be no event. */
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLog, type MemoryLogOptions } from '@millrace/memory/log';
import type { Log, LogRecord, Page } from '../src/ports/log.ts';

export interface NativeLog extends Log {
  /** As a client of the broker does: with no word to the gateway. */
  write(topic: string, ...bodies: readonly string[]): Promise<void>;
}

export function createNativeLog(options: MemoryLogOptions = {}): NativeLog {
  const log = createMemoryLog(options);
  let count = 0;
  return {
    ...log,
    supports: { ...log.supports, natives: true },
    read: async (request) => judged(await log.read(request)),
    async fetch(shard, position) {
      const record = await log.fetch(shard, position);
      return record && judge(record);
    },
    async write(topic, ...bodies) {
      const entries = bodies.map((body) => {
        const data = Buffer.from(body);
        const event = { id: `n${++count}`, source: 'nats://x', type: topic, extensions: {}, data };
        return { environment: 'default', app: 'nats:x', event, bytes: encodeEvent(event) };
      });
      await log.append(entries);
    },
  };
}

function judged(page: Page): Page {
  return { ...page, records: page.records.map(judge) };
}

function judge(record: LogRecord): LogRecord {
  const text = Buffer.from(record.event.data ?? []).toString();
  if (record.app !== 'nats:x' || !text.startsWith('bad')) return record;
  return { ...record, rejected: { code: 'invalid_json', detail: 'it is no JSON' } };
}
