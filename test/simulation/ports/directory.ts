/** The directory as one life of the gateway sees it: never failing, since its port names no way to fail, but slow. */
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
}

export function createSimulatedDirectory({
  world,
  life,
  wire,
  durable,
  onChanged,
}: DirectoryOptions): Directory & { disconnect(): void } {
  const { directory } = durable;
  const random = world.random.fork(`directory ${life.number}`);
  const stops = new Set<() => void>();

  return {
    get: (kind, environment, id) => wire.read(`get ${kind} ${id}`, () => directory.get(kind, environment, id)),
    list: (kind, query) => wire.read(`list ${kind}`, () => directory.list(kind, query)),
    put<K extends Kind>(kind: K, environment: string, id: string, value: Kinds[K], expect?: 'absent' | number) {
      const apply = async (): Promise<Versioned<Kinds[K]>> => {
        const now = await directory.put(kind, environment, id, value, expect);
        onChanged({ kind, environment, id, now } as Change);
        return now;
      };
      return wire.write(`put ${kind} ${id}`, apply);
    },
    delete(kind, environment, id, expect) {
      const apply = async (): Promise<boolean> => {
        const existed = await directory.delete(kind, environment, id, expect);
        if (existed) onChanged({ kind, environment, id });
        return existed;
      };
      return wire.write(`delete ${kind} ${id}`, apply);
    },
    watch(listener) {
      // One delay for all, so that changes keep their order.
      const delayMs = random.chance(0.7) ? 0 : random.between(0, 5);
      const stop = directory.watch((change) => world.at(delayMs, 'change told', () => listener(change), life));
      stops.add(stop);
      return stop;
    },
    disconnect() {
      for (const stop of stops) stop();
      stops.clear();
    },
  };
}
