/**
 * The directory as one life of the gateway sees it. Of one process it never fails, since its port names no way to fail, but is slow;
 * where nodes share it they may be cut off from it.
 */
import type { Change, Directory, Kind, Kinds, Versioned } from '@millrace/gateway/ports/directory';
import type { Durable } from '../durable.ts';
import type { Wire } from '../wire.ts';
import type { Life, World } from '../world.ts';

export interface DirectoryOptions {
  readonly world: World;
  readonly life: Life;
  readonly wire: Wire;
  readonly durable: Durable;
  /** Told at the instant of a change, before the gateway is. */
  readonly onChanged: (change: Change) => void;
  /** Whether a change may fail, its outcome unknown. */
  readonly mayFail: boolean;
  readonly isCut: () => boolean;
}

export interface SimulatedDirectory extends Directory {
  /** Resolves when the gateway has been told of all that has changed by now, or its life is over. */
  told(): Promise<void>;
  disconnect(): void;
}

const AGAIN_MS = 20;
/** The longest that a change is on its way: in one process, and to another node, which is told within a second. */
const NEAR_MS = 5;
const FAR_MS = 1_000;

export function createSimulatedDirectory({
  world,
  life,
  wire,
  durable,
  onChanged,
  mayFail,
  isCut,
}: DirectoryOptions): SimulatedDirectory {
  const { directory } = durable;
  const random = world.random.fork(`directory ${life.number}`);
  const options = mayFail ? ({ mayFail: 'unknown' } as const) : {};
  const stops = new Set<() => void>();
  let untold = 0;
  let waiting: (() => void)[] = [];

  function allTold(): void {
    for (const resolve of waiting) resolve();
    waiting = [];
  }

  return {
    get: (kind, environment, id) => wire.read(`get ${kind} ${id}`, () => directory.get(kind, environment, id)),
    list: (kind, query) => wire.read(`list ${kind}`, () => directory.list(kind, query)),
    put<K extends Kind>(kind: K, environment: string, id: string, value: Kinds[K], expect?: 'absent' | number) {
      const apply = async (): Promise<Versioned<Kinds[K]>> => {
        const now = await directory.put(kind, environment, id, value, expect);
        onChanged({ kind, environment, id, now } as Change);
        return now;
      };
      return wire.write(`put ${kind} ${id}`, apply, options);
    },
    delete(kind, environment, id, expect) {
      const apply = async (): Promise<boolean> => {
        const existed = await directory.delete(kind, environment, id, expect);
        if (existed) onChanged({ kind, environment, id });
        return existed;
      };
      return wire.write(`delete ${kind} ${id}`, apply, options);
    },
    watch(listener) {
      // One delay for all, so that changes keep their order.
      const delayMs = random.chance(0.7) ? 0 : random.between(0, mayFail ? FAR_MS : NEAR_MS);
      const queue: Change[] = [];
      const tell = (): void => {
        if (isCut()) return void world.at(AGAIN_MS, 'change told', tell, life);
        untold -= 1;
        listener(queue.shift()!);
        if (untold === 0) allTold();
      };
      const stop = directory.watch((change) => {
        untold += 1;
        queue.push(change);
        world.at(delayMs, 'change told', tell, life);
      });
      stops.add(stop);
      return stop;
    },
    told: () => (untold === 0 || !life.alive ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    disconnect() {
      for (const stop of stops) stop();
      stops.clear();
      allTold();
    },
  };
}
