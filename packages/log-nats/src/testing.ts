/** What the tests of this package share: logs of their own on one server, and a plain client beside them. */
import type { TestContext } from 'node:test';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Entry, Log, LogRecord, Page, ReadRequest } from '@millrace/gateway/ports/log';
import type { NatsLog, NatsOptions } from './log-nats.ts';
import { openNats, openStamped } from './log-nats.ts';

let count = 0;

/** A stream that nobody else uses; its subjects stand behind its name, as streams of one account can't share any. */
export function ownStream(): { readonly stream: string; readonly subjectPrefix: string } {
  const name = `T${process.pid}-${++count}`;
  return { stream: name, subjectPrefix: name };
}

/**
 * A broker that keeps time by the suite's clock: a message has the time it was first seen at. It never runs backwards, as
 * the stamps of one JetStream leader don't.
 */
export function stampedBy(now: () => number): (sequence: number) => number {
  const stamps = new Map<number, number>();
  let last = 0;
  return (sequence) => {
    let stamp = stamps.get(sequence);
    if (stamp === undefined) stamps.set(sequence, (stamp = last = Math.max(last, now())));
    return stamp;
  };
}

export async function openForSuite(servers: string, now: () => number, options: Partial<NatsOptions> = {}) {
  const stamp = stampedBy(now);
  const own = ownStream();
  const openIt = () => openStamped({ servers, now, dedupeWindowMs: 3_600_000, ...own, ...options }, stamp);
  let log: NatsLog = await openIt();
  return {
    log: log as Log,
    async reopen(): Promise<Log> {
      await log.close();
      return (log = await openIt());
    },
    close: () => log.close(),
  };
}

/** What a plain client does, with no word of Millrace. */
export async function plainClient(context: TestContext, servers: string | string[]) {
  const nc = await connect({ servers });
  context.after(() => nc.close());
  const jsm = await jetstreamManager(nc);
  return { nc, jsm, js: jetstream(nc) };
}

export async function openFor(context: TestContext, options: NatsOptions): Promise<NatsLog> {
  const log = await openNats(options);
  context.after(() => log.close());
  return log;
}

/** Everything from `after` to the end. */
export async function readAll(log: Log, query: Partial<ReadRequest> = {}): Promise<readonly LogRecord[]> {
  return (await readPages(log, query)).flatMap(({ records }) => records);
}

export async function readPages(log: Log, query: Partial<ReadRequest> = {}): Promise<readonly Page[]> {
  const pages: Page[] = [];
  for (let after = query.after ?? ''; ; after = pages.at(-1)!.through) {
    pages.push(await log.read({ shard: log.shards()[0]!, limit: 1_000, maxBytes: 2 ** 20, ...query, after }));
    if (pages.at(-1)!.atEnd) return pages;
  }
}

/** Resolves with as many records, waiting for the log's own signal. */
export async function follow(log: Log, count: number): Promise<readonly LogRecord[]> {
  const [shard] = log.shards();
  let heard = Promise.withResolvers<void>();
  const stop = log.onAppend(shard!, () => heard.resolve());
  try {
    for (;;) {
      heard = Promise.withResolvers<void>();
      const all = await readAll(log);
      if (all.length >= count) return all;
      await heard.promise;
    }
  } finally {
    stop();
  }
}

export function entry(id: string, given: { topic?: string; data?: string; dedupe?: Entry['dedupe'] } = {}): Entry {
  const { topic = 'orders.created', data, dedupe } = given;
  const event: Event = {
    id,
    source: '/shop',
    type: topic,
    extensions: {},
    ...(data && { data: new TextEncoder().encode(data) }),
  };
  return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event), ...(dedupe && { dedupe }) };
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => (error as { readonly code?: unknown }).code === code;
}
