/** The log as it lies on the disk once the gateway is gone. */
import { openEmbedded } from '@millrace/embedded';
import type { Book, Published } from './book.ts';

export interface Kept {
  readonly id: string;
  readonly position: string;
  readonly timeMs: number;
}

const PAGE = { limit: 1_000, maxBytes: 8 * 1024 * 1024 } as const;

export async function readLog(directory: string): Promise<Kept[]> {
  const { log, close } = await openEmbedded({ directory });
  const kept: Kept[] = [];
  try {
    for (const shard of log.shards())
      for (let after = '', atEnd = false; !atEnd;) {
        const page = await log.read({ shard, after, ...PAGE });
        for (const { event, position, timeMs } of page.records) kept.push({ id: event.id, position, timeMs });
        ({ through: after, atEnd } = page);
      }
  } finally {
    await close();
  }
  return kept;
}

/** Promises 1 and 6: what was answered 202 is there, once, where it was said to be; times and publishers' orders hold. */
export function logBreaches({ events }: Book, kept: readonly Kept[]): string[] {
  const breaches: string[] = [];
  const seen = new Set<string>();
  const lastOf = new Map<string, Published>();
  for (const [at, { id, position, timeMs }] of kept.entries()) {
    const before = kept[at - 1];
    const event = events.get(id);
    if (before !== undefined && timeMs < before.timeMs)
      breaches.push(`append times run backwards: ${id} at ${position} has ${timeMs}, the one before ${before.timeMs}`);
    if (before !== undefined && position <= before.position) breaches.push(`${position} follows ${before.position}`);
    if (seen.has(id)) breaches.push(`${id} is in the log twice`);
    seen.add(id);
    if (event === undefined) {
      breaches.push(`${id} is in the log and was never published`);
      continue;
    }
    if (event.position !== position) breaches.push(`${id} was answered ${event.position} and stands at ${position}`);
    const last = lastOf.get(event.publisher);
    if (last !== undefined && last.n > event.n) breaches.push(`${last.id} stands before ${id}, which was published first`);
    lastOf.set(event.publisher, event);
  }
  for (const { id, position } of events.values())
    if (position !== undefined && !seen.has(id)) breaches.push(`${id} was answered 202 at ${position} and is not in the log`);
  return breaches;
}
