/** The world a log is shown in: the log, a clock that stands still until it is set, and entries to append. */
import assert from 'node:assert/strict';
import type { AttributeValue, Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Dedupe, Entry, Log, Position } from '@millrace/gateway/ports/log';

export interface OpenedLog {
  /** An empty log. */
  readonly log: Log;
  /** Closes the log and opens it again where it was, as a restart does. Durable drivers have it. */
  reopen?(): Promise<Log>;
  /** Resolves when what was appended can be read. For brokers that answer an append before they show it. */
  settle?(): Promise<void>;
  /** Closes the log, open or not, and removes what it kept. */
  close(): Promise<void>;
}

export type OpenLog = (options: { readonly now: () => number }) => Promise<OpenedLog>;

export interface LogWorld {
  /** The log, after a reopen the reopened one. */
  readonly log: Log;
  readonly clock: { ms: number };
  /** Appends in one call, all of which must be appended, and settles. */
  append(...entries: readonly Entry[]): Promise<readonly Placed[]>;
  settle(): Promise<void>;
  readonly reopen?: () => Promise<void>;
  /** A second log beside this one. */
  another(): Promise<Log>;
  close(): Promise<void>;
}

/** An entry and where it went. */
export interface Placed {
  readonly entry: Entry;
  readonly shard: string;
  readonly position: Position;
  readonly timeMs: number;
}

export const BEFORE_ALL: Position = '';
export const START_MS = Date.UTC(2026, 10, 2, 12);
export const DAY_MS = 86_400_000;
export const MB = 1024 * 1024;

export async function openLogWorld(open: OpenLog): Promise<LogWorld> {
  const clock = { ms: START_MS };
  const openOne = () => open({ now: () => clock.ms });
  const opened = [await openOne()];
  const { reopen, settle, log: first } = opened[0]!;
  let log = first;

  async function settled(): Promise<void> {
    await settle?.call(opened[0]);
  }

  return {
    get log() {
      return log;
    },
    clock,
    async append(...entries) {
      const results = await log.append(entries);
      await settled();
      return placed(entries, results);
    },
    settle: settled,
    ...(reopen && { reopen: async () => void (log = await reopen.call(opened[0])) }),
    async another() {
      const other = await openOne();
      opened.push(other);
      return other.log;
    },
    async close() {
      for (const each of opened) await each.close();
    },
  };
}

export interface Given {
  readonly id?: string;
  readonly topic?: string;
  readonly key?: string;
  readonly environment?: string;
  readonly app?: string;
  readonly data?: Uint8Array;
  readonly dedupe?: Dedupe;
  readonly event?: Partial<Event>;
}

/** An entry; what is not given is the same for all, so that entries without a topic or key of their own share a shard. */
export function entry({
  id = '1',
  topic = 'orders.created',
  key = 'k',
  environment = 'default',
  app = 'shop',
  data,
  dedupe,
  event = {},
}: Given = {}): Entry {
  const extensions: Record<string, AttributeValue> = { partitionkey: key };
  const whole: Event = { id, source: '/shop', type: topic, extensions, ...(data && { data }), ...event };
  return { environment, app, event: whole, bytes: encodeEvent(whole), ...(dedupe && { dedupe }) };
}

/** `count` entries with the ids 1, 2, 3, … */
export function entries(count: number, given: Given = {}): Entry[] {
  return Array.from({ length: count }, (_, i) => entry({ ...given, id: `${i + 1}` }));
}

export function placed(given: readonly Entry[], results: Awaited<ReturnType<Log['append']>>): Placed[] {
  assert.equal(results.length, given.length, 'one result per entry');
  return results.map((result, i) => {
    assert.equal(result.status, 'appended');
    return { entry: given[i]!, shard: result.shard, position: result.position, timeMs: result.timeMs };
  });
}

/** The one shard that all of these went to. */
export function shardOf(all: readonly Placed[]): string {
  const [shard, ...others] = new Set(all.map((each) => each.shard));
  assert.ok(shard !== undefined && others.length === 0, 'events of one topic and key share a shard');
  return shard;
}

/** Rejects with this code; a driver's own error would reach people as an internal one. */
export async function rejectsWith(code: string, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    assert.equal((error as { readonly code?: unknown }).code, code);
    return true;
  });
}
