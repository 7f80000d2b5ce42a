/** The Log port over the store thread. */
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import type { Appended, Entry, Log, LogRecord, Page, ReadRequest, TopicRetention } from '@millrace/gateway/ports/log';
import { createAppends } from './appends.ts';
import { DEFAULT_RETENTION_MS, nameOf } from './messages.ts';
import { unpackRecords } from './packing.ts';
import { mustBeShard, offsetOf, positionOf, SHARD } from './position.ts';
import { createTail } from './tail.ts';
import type { StoreThread } from './thread.ts';

const SELECTIONS_MAX = 10_000;

export interface LogOptions {
  readonly thread: StoreThread;
  readonly now: () => number;
  readonly tailBytes: number;
}

export function createLog({ thread, now, tailBytes }: LogOptions): Log {
  const { identity, end, retentions: declared } = thread.ready;
  const tail = createTail(end, tailBytes);
  const retentions = new Map(declared.map(({ environment, topic, retentionMs }) => [nameOf(environment, topic), retentionMs]));
  let shortestMs = Math.min(DEFAULT_RETENTION_MS, ...retentions.values());
  const listeners = new Set<{ readonly call: () => void }>();
  const selections = new Map<string, (record: LogRecord) => boolean>();
  const open = new Set<Promise<unknown>>();
  const appends = createAppends({
    send: (batch, take) => track(thread.ask('append', batch, { transfer: [batch.buffer], take })),
    appended,
  });
  let closed = false;

  thread.onRemoved((through) => tail.forget(through));
  thread.onHeard({
    appended,
    skippedTo(end) {
      tail.skip(end);
      wake();
    },
    declared: retain,
  });

  function mustBeOpen(): void {
    if (closed) throw new Problem('log_unavailable', 'The log is closed');
  }

  /** Closing waits for it. */
  function track<T>(call: Promise<T>): Promise<T> {
    open.add(call);
    const done = () => void open.delete(call);
    call.then(done, done);
    return call;
  }

  /** The records are in the tail before anybody hears of them; what a listener throws is its own. */
  function appended(records: readonly LogRecord[]): void {
    for (const record of records) tail.add(record);
    if (records.length > 0) wake();
  }

  function wake(): void {
    for (const listener of listeners) queueMicrotask(() => listeners.has(listener) && listener.call());
  }

  function retain({ environment, topic, retentionMs }: TopicRetention): void {
    retentions.set(nameOf(environment, topic), retentionMs);
    shortestMs = Math.min(shortestMs, retentionMs);
  }

  function wantedBy(only: ReadRequest['only']): (record: LogRecord) => boolean {
    if (only === undefined) return () => true;
    const key = JSON.stringify([only.environment, ...only.topics]);
    const known = selections.get(key);
    if (known !== undefined) return known;
    const matches = compileTopics(only.topics);
    const wanted = ({ environment, event }: LogRecord) => environment === only.environment && matches(event.type);
    if (selections.size >= SELECTIONS_MAX) selections.clear();
    selections.set(key, wanted);
    return wanted;
  }

  function hiddenAt(nowMs: number): (record: LogRecord) => boolean {
    return ({ environment, event, timeMs }) => {
      const ageMs = nowMs - timeMs;
      return ageMs > shortestMs && ageMs > (retentions.get(nameOf(environment, event.type)) ?? DEFAULT_RETENTION_MS);
    };
  }

  async function readBehind({ only, limit, maxBytes }: ReadRequest, after: number): Promise<Page> {
    const { records, ...page } = await track(thread.ask('read', { after, only, limit, maxBytes }));
    return { ...page, records: unpackRecords(records) };
  }

  return {
    identity,
    supports: Object.freeze({ dedupe: true, durable: true, shards: 'one' }),
    shards: () => [SHARD],
    append(entries: readonly Entry[]): Promise<readonly Appended[]> {
      if (closed) return Promise.reject(new Problem('log_unavailable', 'The log is closed'));
      return appends.add(entries);
    },
    async read(request) {
      mustBeOpen();
      mustBeShard(request.shard);
      const after = offsetOf(request.after);
      const { limit, maxBytes } = request;
      const near = tail.read({ after, wanted: wantedBy(request.only), hidden: hiddenAt(now()), limit, maxBytes });
      return near ?? readBehind(request, after);
    },
    onAppend(shard, call) {
      mustBeShard(shard);
      const listener = { call };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async fetch(shard, position) {
      mustBeOpen();
      mustBeShard(shard);
      const offset = offsetOf(position);
      const near = tail.at(offset);
      if (near !== undefined) return hiddenAt(now())(near) ? undefined : near;
      return unpackRecords(await track(thread.ask('fetch', offset)))[0];
    },
    async positionAt(shard, timeMs) {
      mustBeOpen();
      mustBeShard(shard);
      return positionOf(await track(thread.ask('positionAt', timeMs)));
    },
    async bounds(shard) {
      mustBeOpen();
      mustBeShard(shard);
      const { first, last, end: at } = await track(thread.ask('bounds', null));
      return { ...(first && last ? { first: markOf(first), last: markOf(last) } : {}), end: positionOf(at) };
    },
    async declareTopic({ environment, topic, retentionMs }) {
      mustBeOpen();
      await track(thread.ask('declareTopic', { environment, topic, retentionMs }));
      retain({ environment, topic, retentionMs });
    },
    async trim() {
      mustBeOpen();
      await track(thread.ask('trim', null));
    },
    async close() {
      closed = true;
      while (open.size > 0 || appends.waiting > 0) await Promise.allSettled(open);
    },
  };
}

function markOf({ offset, timeMs }: { readonly offset: number; readonly timeMs: number }) {
  return { position: positionOf(offset), timeMs };
}
