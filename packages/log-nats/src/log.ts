/** The Log: appends, the tail of what came last, and readers for what lies further back, over one stream. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import type { Log, LogRecord, Page, ReadRequest } from '@millrace/gateway/ports/log';
import { createAppends } from './appends.ts';
import type { Stored, Where } from './binding.ts';
import { marksOf, recordOf } from './binding.ts';
import { createEnds } from './ends.ts';
import { examine } from './examine.ts';
import { createFollow } from './follow.ts';
import { createLink } from './link.ts';
import { createLookUps } from './look-ups.ts';
import { positionOf, sequenceOf } from './position.ts';
import { unavailable } from './problems.ts';
import { createReaders } from './readers.ts';
import type { Stream } from './stream.ts';
import { RETENTION_MS } from './stream-config.ts';
import type { Subjects } from './subjects.ts';
import { createTail } from './tail.ts';

export interface NatsLog extends Log {
  readonly supports: Required<Log['supports']>;
}

export interface LogNeeds {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly stream: Stream;
  readonly subjects: Subjects;
  readonly now: () => number;
  readonly onLost: (problem: Problem) => void;
  readonly tailBytes: number;
  /** The append time of a message: the broker's, but for tests that have a clock of their own. */
  readonly stamp: (sequence: number, brokerMs: number) => number;
}

/** What is appended comes back in a millisecond or two. */
const TAIL_LATE_MS = 1_000;
const FOLLOW_AGAIN_MS = 250;

export async function createLog({ nc, jsm, stream, subjects, now, onLost, tailBytes, stamp }: LogNeeds): Promise<NatsLog> {
  const shard = stream.name;
  const where: Where = { stream: stream.name, identity: stream.identity, named: subjects.named };
  const tail = createTail((await stream.info()).state.last_seq, tailBytes);
  const listeners = new Set<{ readonly call: () => void }>();
  const open = new Set<Promise<unknown>>();
  let isClosing = false;
  let isSignalled = false;
  let deleted = 0;
  /** The last sequence an append was answered with before the tail had come to it. */
  let answeredEnd = 0;
  let following: Promise<void> | undefined;

  const toRecord = (message: Stored) => {
    const timeMs = stamp(message.sequence, message.timeMs);
    // A copy only for those who have a clock of their own: every message of the log comes by here.
    return recordOf(timeMs === message.timeMs ? message : { ...message, timeMs }, where);
  };
  const link = createLink({ nc, stream, lastSeen: () => Math.max(tail.end, answeredEnd), onLost });
  const lookUps = createLookUps({ nc, jsm, stream: stream.name });
  const firstSequence = async () => (await stream.info()).state.first_seq;
  const nextFrom = () => (stream.config.num_replicas > 1 ? lookUps.nextFrom : undefined);
  const readers = createReaders({ nc, jsm, stream: stream.name, recordOf: toRecord, firstSequence, nextFrom });
  const follow = createFollow({
    nc,
    jsm,
    stream: stream.name,
    last: () => tail.end,
    onTrouble: () => void link.check().then(followAgain),
    onMessage(message) {
      tail.add(toRecord(message));
      signal();
    },
  });
  const ends = createEnds({
    info: stream.info,
    async at(sequence) {
      const message = tail.at(sequence) ?? (await lookUps.bySequence(sequence));
      return message !== undefined && 'sequence' in message ? toRecord(message) : message;
    },
    isHidden: (record) => hiddenAt(now())(record),
    read: (after, limit, maxBytes) => read({ shard, after, limit, maxBytes }),
  });
  const appends = createAppends({
    nc,
    shard,
    subjectOf: ({ environment, event }) => subjects.subjectOf(environment, event.type),
    covers: stream.covers,
    declare: (subject) => stream.declare(subject),
    async timesOf(sequences) {
      const last = Math.max(...sequences);
      await reachedOrLate(last);
      if (tail.end < last) {
        answeredEnd = Math.max(answeredEnd, last);
        signal();
      }
      return Promise.all(sequences.map(timeOf));
    },
    async firstUse(sequence) {
      const message = await lookUps.bySequence(sequence);
      if (message === undefined) return undefined;
      const { event, timeMs } = toRecord(message);
      return { ...marksOf(message), timeMs, id: event.id };
    },
    positionOf,
    check: link.check,
    now,
  });

  link.onChange((state) => {
    if (state === 'away') appends.suspend();
    else if (state === 'up') {
      appends.resume();
      void followAgain();
    } else {
      const problem = refusal();
      appends.giveUp(problem);
      tail.giveUp(problem);
      readers.close();
    }
    // Who waits at the end finds out by reading.
    signal();
  });

  function refusal(): unknown {
    try {
      link.mustWork();
    } catch (error) {
      return error;
    }
    return unavailable(new Error('it is away'), 'NATS');
  }

  function followAgain(): Promise<void> {
    return (following ??= startFollowing().finally(() => (following = undefined)));
  }

  async function startFollowing(): Promise<void> {
    while (link.isUp && !isClosing) {
      try {
        return await follow.start();
      } catch {
        // Not lost, as the link would say so: the broker has no leader, or no room for a consumer, at the moment.
        await sleep(FOLLOW_AGAIN_MS, undefined, { ref: false });
        await link.check();
      }
    }
  }

  function signal(): void {
    if (isSignalled) return;
    isSignalled = true;
    // A burst is one call, and nobody runs inside the client's stack.
    setImmediate(() => {
      isSignalled = false;
      for (const listener of listeners) listener.call();
    });
  }

  /** What was removed at once never comes, and a tail that is being started anew comes late: then the broker is asked. */
  async function reachedOrLate(sequence: number): Promise<void> {
    if (tail.end >= sequence) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      resolve();
      // The server that fed the tail may have died alone: its silence would be noticed later.
      void link.check().then(followAgain);
    }, TAIL_LATE_MS);
    tail.reached(sequence).then(resolve, reject);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async function timeOf(sequence: number): Promise<number> {
    const record = tail.at(sequence);
    if (record !== undefined) return record.timeMs;
    const message = await lookUps.bySequence(sequence);
    return message === undefined ? now() : stamp(sequence, message.timeMs);
  }

  function hiddenAt(nowMs: number): (record: LogRecord) => boolean {
    return ({ environment, event, timeMs }) =>
      nowMs - timeMs > (stream.retentionOf(subjects.subjectOf(environment, event.type)) ?? RETENTION_MS);
  }

  async function read(request: ReadRequest): Promise<Page> {
    const after = sequenceOf(request.after);
    const { limit, maxBytes, only } = request;
    const end = Math.max(tail.end, answeredEnd);
    if (after >= end) return { records: [], through: request.after, atEnd: true };
    const matches = only === undefined ? () => true : compileTopics(only.topics);
    const isWanted = (environment: string, topic: string) =>
      only === undefined || (environment === only.environment && matches(topic));
    const hidden = hiddenAt(now());
    const wanted = (record: LogRecord) => isWanted(record.environment, record.event.type);
    // What was answered can be read, also while the tail is being started anew.
    const near = tail.end < end ? undefined : tail.read({ after, wanted, hidden, limit, maxBytes });
    if (near !== undefined) return near;
    return readers.read({
      after,
      filters: only && subjects.filtersOf(only.environment, only.topics),
      wantedSubject(subject) {
        const { environment, topic } = subjects.named(subject);
        return isWanted(environment, topic);
      },
      hidden,
      limit,
      maxBytes,
      end,
      nowMs: now(),
    });
  }

  /**
   * Whatever goes wrong on the way to the broker is `log_unavailable`; closing waits for it. An append outlives an absence
   * by itself, and so names no shard.
   */
  async function track<Result>(of: string | undefined, work: () => Promise<Result>): Promise<Result> {
    if (isClosing) throw new Problem('log_unavailable', 'The log is closed');
    if (of !== undefined && of !== shard) throw new RangeError(`no shard named ${of}`);
    link.mustWork();
    const promise = of === undefined ? work() : link.ask(work);
    open.add(promise);
    try {
      return await promise;
    } catch (error) {
      throw unavailable(error);
    } finally {
      open.delete(promise);
    }
  }

  async function close(): Promise<void> {
    isClosing = true;
    while (open.size > 0) await Promise.allSettled(open);
    link.close();
    follow.stop();
    readers.close();
    await nc.close();
  }

  await follow.start();
  let closing: Promise<void> | undefined;

  return {
    identity: stream.identity,
    supports: Object.freeze({
      dedupe: stream.dedupeWindowMs > 0,
      durable: stream.config.storage === 'file',
      shards: 'one',
      natives: true,
      dedupeWindowMs: stream.dedupeWindowMs,
    }),
    shards: () => [shard],
    append: (entries) => track(undefined, () => appends.add(entries)),
    read: (request) => track(request.shard, () => read(request)),
    onAppend(of, call) {
      if (of !== shard) throw new RangeError(`no shard named ${of}`);
      const listener = { call };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    fetch: (of, position) => track(of, () => ends.visibleAt(sequenceOf(position))),
    positionAt: (of, timeMs) => track(of, async () => positionOf(await lookUps.sequenceBefore(timeMs))),
    bounds: (of) => track(of, ends.bounds),
    declareTopic: ({ environment, topic, retentionMs }) =>
      track(shard, () => stream.declare(subjects.subjectOf(environment, topic), retentionMs)),
    findings: (wanted) => track(shard, () => examine({ nc, stream, subjects }, wanted)),
    trim: () =>
      track(shard, async () => {
        // The stream gives back by itself what is too old for all topics. What was removed from it must not stand in memory.
        const { state } = await stream.refresh();
        const removed = state.num_deleted ?? 0;
        tail.forget(removed > deleted ? tail.end : state.first_seq - 1);
        deleted = removed;
      }),
    close: () => (closing ??= close()),
  };
}
