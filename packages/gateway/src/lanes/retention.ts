/** Retention's rounds: the log and the old attempts are trimmed, new shards found, and whoever stands too long is told of it. */
import type { Notice } from '../api.ts';
import type { Lane } from '../flow/lane.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Topic, Versioned } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import { laneKey, type Subscriber } from './subscriber.ts';

export interface RetentionRounds {
  /** A round every limits.retentionMs from now on. */
  start(): void;
  stop(): void;
}

interface Needs {
  readonly log: Log;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly subscribers: ReadonlyMap<string, Subscriber>;
  readonly topics: () => Iterable<Versioned<Topic>>;
  /** Shards that appeared since. */
  readonly discover: () => Promise<void>;
  readonly onNotice: (notice: Notice) => void;
}

const HOUR_MS = 3_600_000;
/** Parts of the way from an append to the end of its retention at which a lane that still has to read it is told of. */
const WARN_AT = [80, 50] as const;

export function createRetention({ log, ledger, clock, limits, subscribers, topics, discover, onNotice }: Needs): RetentionRounds {
  const warned = new Map<string, number>();
  let timer: Timer | undefined;
  let pruneAtMs = 0;
  let stopped = false;

  function start(): void {
    if (stopped) return;
    timer = clock.after(limits.retentionMs, () => void round().finally(start));
  }

  async function round(): Promise<void> {
    if (stopped) return;
    await tried(trim);
    if (stopped) return;
    await tried(discover);
    for (const subscriber of subscribers.values()) {
      for (const lane of subscriber.lanes.values()) {
        lane.lookForExpired();
        warn(subscriber, lane);
      }
    }
  }

  async function tried(work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) =>
      onNotice({ kind: 'log_failing', code: (error as { code?: string }).code ?? String(error) }),
    );
  }

  async function trim(): Promise<void> {
    await log.trim();
    if (clock.now() < pruneAtMs) return;
    pruneAtMs = clock.now() + HOUR_MS;
    await ledger.pruneAttempts(clock.now() - limits.attemptsMs);
  }

  function warn(subscriber: Subscriber, lane: Lane): void {
    const key = laneKey(lane.name, lane.shard);
    if (lane.isCovered || lane.place.timeMs === 0) return void warned.delete(key);
    const way = (100 * (clock.now() - lane.place.timeMs)) / retentionMsOf(subscriber);
    const percent = WARN_AT.find((one) => way >= one);
    if ((percent ?? 0) <= (warned.get(key) ?? 0)) return;
    warned.set(key, percent ?? 0);
    const { environment, id: subscription } = subscriber;
    if (percent !== undefined) onNotice({ kind: 'retention_near', environment, subscription, percent });
  }

  function retentionMsOf({ environment, indexed }: Subscriber): number {
    let shortestMs = Infinity;
    for (const topic of topics()) {
      if (topic.environment === environment && indexed.topics(topic.id))
        shortestMs = Math.min(shortestMs, topic.value.retentionMs);
    }
    return shortestMs;
  }

  return {
    start,
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
