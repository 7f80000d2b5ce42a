/** What the tests of this package share: logs of their own on one server, and a plain client beside them. */
import type { Log } from '@millrace/gateway/ports/log';
import type { NatsLog, NatsOptions } from './log-nats.ts';
import { openStamped } from './log-nats.ts';

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

const OWN_TIME = 'the broker looks for a time among its own stamps, which the suite can not set; shown in times.slow.test.ts';

export const GAPS: Readonly<Record<string, string>> = {
  'finds a place before, between, at and after the events of a shard by time': OWN_TIME,
  'finds the first of several events of one time': OWN_TIME,
  'finds a time among events of one call': OWN_TIME,
  'finds a place by time across a clock that was set back': OWN_TIME,
  'finds the end for a time in the future': OWN_TIME,
  'finds the end for a time in the future where retention emptied the shard': OWN_TIME,
};
