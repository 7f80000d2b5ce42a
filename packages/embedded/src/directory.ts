/**
 * The Directory port over the store thread. A change of one's own is told when it is answered, those of other threads when they
 * are heard of: each in the turn in which its message arrives, so in their order.
 */
import { parseText } from '@millrace/core/json-parse';
import type { Change, Directory, Kind, Kinds, Versioned } from '@millrace/gateway/ports/directory';
import type { StoredResource } from './messages.ts';
import type { StoreThread } from './thread.ts';

export function createDirectory({ ask, onHeard }: Pick<StoreThread, 'ask' | 'onHeard'>): Directory {
  const watchers = new Set<{ readonly listener: (change: Change) => void }>();

  onHeard({ changed: ({ kind, environment, id, now }) => tell(kind as Kind, environment, id, now) });

  /** In a microtask, so that what a listener throws is its own; in order, as the thread answers in order. */
  function tell(kind: Kind, environment: string, id: string, stored?: StoredResource): void {
    const change = { kind, environment, id, ...(stored === undefined ? {} : { now: read(stored) }) } as Change;
    for (const watcher of watchers) queueMicrotask(() => watchers.has(watcher) && watcher.listener(change));
  }

  return {
    async get<K extends Kind>(kind: K, environment: string, id: string) {
      const stored = await ask('getResource', { kind, environment, id });
      return stored && read<K>(stored);
    },
    async list<K extends Kind>(kind: K, query: Parameters<Directory['list']>[1]) {
      return (await ask('listResources', { kind, ...query })).map((stored) => read<K>(stored));
    },
    async put<K extends Kind>(kind: K, environment: string, id: string, value: Kinds[K], expect?: 'absent' | number) {
      const stored = await ask(
        'putResource',
        { kind, environment, id, value: JSON.stringify(value), ...(expect === undefined ? {} : { expect }) },
        { take: (made) => tell(kind, environment, id, made) },
      );
      return read<K>(stored);
    },
    async delete(kind, environment, id, expect) {
      return ask(
        'deleteResource',
        { kind, environment, id, ...(expect === undefined ? {} : { expect }) },
        { take: (existed) => existed && tell(kind, environment, id) },
      );
    },
    watch(listener) {
      const watcher = { listener };
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
  };
}

function read<K extends Kind>({ environment, id, version, value }: StoredResource): Versioned<Kinds[K]> {
  return { environment, id, version, value: parseText(value) as Kinds[K] };
}
