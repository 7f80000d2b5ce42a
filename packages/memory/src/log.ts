/**
 * The Log in memory: a real driver that forgets at exit. For tests, simulations and trying things out. It makes no
 * timers and takes no chances, so the same calls give the same log.
 */
import type { Appended, Entry, Log, LogRecord } from '@millrace/gateway/ports/log';
import { keyOf } from '@millrace/core/event';
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import { createKeys, keyedOf, NO_KEYS } from './dedupe.ts';
import { topicKey } from './lost.ts';
import type { Wanted } from './lost.ts';
import { createShard } from './shard.ts';
import type { Shard } from './shard.ts';

export interface MemoryLogOptions {
  /** Default 1. With more, events of one topic and `partitionkey` share a shard, those without a key go round. */
  readonly shards?: number;
  /** Wall time, ms since 1970. Default Date.now. */
  readonly now?: () => number;
  /** At most 64 characters. Default a random one. */
  readonly identity?: string;
  /** Encoded bytes held at most, default 1 GiB; past it an append frees what has expired, then rejects with `log_full`. */
  readonly maxBytes?: number;
  /** False: idempotency keys are left to the gateway, as on brokers that know none. Default true. */
  readonly dedupe?: boolean;
}

const DAY_MS = 86_400_000;
const RETENTION_MS = 7 * DAY_MS;

/** Events are kept by reference: who appends must not write into their bytes afterwards. */
export function createMemoryLog(options: MemoryLogOptions = {}): Log {
  const { shards: shardCount = 1, now = Date.now, identity = crypto.randomUUID(), maxBytes = 2 ** 30, dedupe = true } = options;
  const shards = Array.from({ length: shardCount }, (_, i) => createShard(`memory-${i}`));
  const keys = dedupe ? createKeys() : NO_KEYS;
  const retentions = new Map<string, number>();
  let lastMs = Number.NEGATIVE_INFINITY;
  let bytesHeld = 0;
  let turn = 0;
  let open = true;

  function mustBeOpen(): void {
    if (!open) throw new Problem('log_unavailable', 'The log is closed');
  }

  function shardNamed(name: string): Shard {
    mustBeOpen();
    const shard = shards.find((candidate) => candidate.name === name);
    if (shard === undefined) throw new RangeError(`no shard named ${name}`);
    return shard;
  }

  function shardFor({ event }: Entry): Shard {
    const key = keyOf(event);
    return shards[(key === undefined ? turn++ : hash(`${event.type}\0${key}`)) % shardCount]!;
  }

  /** Who is hidden now. Asked once per call, so that one call sees one time. */
  function hidden(): (record: LogRecord) => boolean {
    const nowMs = now();
    return ({ environment, event, timeMs }) =>
      nowMs - timeMs > (retentions.get(topicKey(environment, event.type)) ?? RETENTION_MS);
  }

  function trimAll(): void {
    for (const shard of shards) bytesHeld -= shard.trim(hidden());
    keys.forget(Math.max(lastMs, now()));
  }

  function mustFit(entries: readonly Entry[], timeMs: number): void {
    const bytes = entries.reduce((sum, entry) => sum + (keys.settled(entry, timeMs) ? 0 : entry.bytes.length), 0);
    if (bytesHeld + bytes > maxBytes) trimAll();
    if (bytesHeld + bytes > maxBytes) throw new Problem('log_full', `The memory log holds at most ${maxBytes} bytes`);
  }

  function appendOne(entry: Entry, timeMs: number): Appended {
    const settled = keys.settled(entry, timeMs);
    if (settled !== undefined) return settled;
    const record = shardFor(entry).append(entry, timeMs, dedupe ? undefined : keyedOf(entry));
    keys.remember(entry, record);
    bytesHeld += record.size;
    return { status: 'appended', shard: record.shard, position: record.position, timeMs };
  }

  return {
    identity,
    supports: Object.freeze({ dedupe, durable: false, shards: shardCount === 1 ? 'one' : 'many' }),
    shards: () => shards.map((shard) => shard.name),
    async append(entries) {
      mustBeOpen();
      const timeMs = Math.max(lastMs, now());
      mustFit(entries, timeMs);
      lastMs = timeMs;
      const results = entries.map((entry) => appendOne(entry, timeMs));
      const touched = new Set(results.map((result) => result.status === 'appended' && result.shard));
      for (const shard of shards) if (touched.has(shard.name)) shard.signal();
      return results;
    },
    async read(request) {
      return shardNamed(request.shard).read(request, wantedBy(request.only), hidden());
    },
    onAppend: (shard, listener) => shardNamed(shard).onAppend(listener),
    async fetch(shard, position) {
      const record = shardNamed(shard).at(position);
      return record === undefined || hidden()(record) ? undefined : record;
    },
    async positionAt(shard, timeMs) {
      return shardNamed(shard).positionAt(timeMs);
    },
    async bounds(shard) {
      return shardNamed(shard).bounds(hidden());
    },
    async declareTopic({ environment, topic, retentionMs }) {
      mustBeOpen();
      retentions.set(topicKey(environment, topic), retentionMs);
    },
    async trim() {
      mustBeOpen();
      trimAll();
    },
    async close() {
      open = false;
    },
  };
}

function wantedBy(only: { readonly environment: string; readonly topics: readonly string[] } | undefined): Wanted {
  if (only === undefined) return () => true;
  const matches = compileTopics(only.topics);
  return (environment, topic) => environment === only.environment && matches(topic);
}

/** FNV-1a, 32 bits, over UTF-16 code units. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return sum;
}
