/** The log as one life of the gateway sees it: over a wire, with a shard that may not be discovered yet. */
import type { Appended, Entry, Log, Page, ReadRequest } from '@millrace/gateway/ports/log';
import type { Durable } from '../durable.ts';
import { short } from '../tell.ts';
import type { Wire } from '../wire.ts';
import type { Life, World } from '../world.ts';

export interface LogObserver {
  appended(entries: readonly Entry[], results: readonly Appended[]): void;
  read(request: ReadRequest, page: Page): void;
  topicDeclared(environment: string, topic: string, retentionMs: number): void;
}

export interface LogOptions {
  readonly world: World;
  readonly life: Life;
  readonly wire: Wire;
  readonly durable: Durable;
  readonly observer: LogObserver;
  /** Shards that exist and are not discovered yet. */
  readonly hidden: () => ReadonlySet<string>;
  /** Nothing comes from it now: it is told once something does again. */
  readonly isCut: () => boolean;
}

const AGAIN_MS = 20;

export function createSimulatedLog({
  world,
  life,
  wire,
  durable,
  observer,
  hidden,
  isCut,
}: LogOptions): Log & { disconnect(): void } {
  const random = world.random.fork(`log ${life.number}`);
  const log = durable.log();
  const stops = new Set<() => void>();

  /** Tells a little later, and once for several appends, as a broker would. */
  function onAppend(shard: string, listener: () => void): () => void {
    let telling = false;
    const stop = log.onAppend(shard, () => {
      if (telling) return;
      telling = true;
      const tell = (): void => {
        if (isCut()) return void world.at(AGAIN_MS, 'append told', tell, life);
        telling = false;
        if (stops.has(stop)) listener();
      };
      world.at(random.chance(0.5) ? 0 : random.gap(3), 'append told', tell, life);
    });
    stops.add(stop);
    return () => {
      stops.delete(stop);
      stop();
    };
  }

  return {
    identity: log.identity,
    supports: log.supports,
    shards: () => log.shards().filter((shard) => !hidden().has(shard)),
    onAppend,
    append(entries) {
      const apply = async (): Promise<readonly Appended[]> => {
        const results = await durable.append(entries);
        observer.appended(entries, results);
        return results;
      };
      return wire.write(`append ${entries.length}`, apply, { mayFail: 'before' });
    },
    read(request) {
      const apply = async (): Promise<Page> => {
        const page = await log.read(request);
        observer.read(request, page);
        return page;
      };
      return wire.read(
        `read ${request.shard} after ${short(request.after)}${request.only === undefined ? '' : ` only ${request.only.topics.join(' ')}`}`,
        apply,
      );
    },
    fetch: (shard, position) => wire.read(`fetch ${shard} ${short(position)}`, () => log.fetch(shard, position)),
    positionAt: (shard, timeMs) => wire.read(`positionAt ${shard}`, () => log.positionAt(shard, timeMs)),
    bounds: (shard) => wire.read(`bounds ${shard}`, () => log.bounds(shard)),
    declareTopic(topic) {
      const apply = async (): Promise<void> => {
        await log.declareTopic(topic);
        observer.topicDeclared(topic.environment, topic.topic, topic.retentionMs);
      };
      return wire.write(`declare ${topic.topic}`, apply);
    },
    trim: () => wire.write('trim', () => log.trim()),
    close: async () => undefined,
    disconnect() {
      for (const stop of stops) stop();
      stops.clear();
    },
  };
}
