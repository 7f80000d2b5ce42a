/** The Directory in memory: a real driver that forgets at exit. Values are kept as JSON text, as every driver keeps them. */
import type { Change, Directory, Kind, Kinds, Versioned } from '@millrace/gateway/ports/directory';
import { parseText } from '@millrace/core/json-parse';
import { Problem } from '@millrace/core/problem';

interface Row {
  readonly kind: Kind;
  readonly environment: string;
  readonly id: string;
  readonly version: number;
  readonly json: string;
}

type Place = { readonly environment: string; readonly id: string };

export function createMemoryDirectory(): Directory {
  const rows = new Map<string, Row>();
  const watchers = new Set<{ readonly listener: (change: Change) => void }>();

  /** In a microtask, so that no listener runs inside the stack of who made the change; in order, since these are. */
  function tell(kind: Kind, environment: string, id: string, row?: Row): void {
    const change = { kind, environment, id, ...(row === undefined ? {} : { now: read(row) }) } as Change;
    for (const watcher of watchers) queueMicrotask(() => watchers.has(watcher) && watcher.listener(change));
  }

  return {
    async get<K extends Kind>(kind: K, environment: string, id: string) {
      const row = rows.get(keyOf(kind, environment, id));
      return row && read<K>(row);
    },
    async list<K extends Kind>(kind: K, { environment, after, limit }: Parameters<Directory['list']>[1]) {
      return [...rows.values()]
        .filter((row) => row.kind === kind && (environment === undefined || row.environment === environment))
        .filter((row) => after === undefined || byPlace(row, after) > 0)
        .sort(byPlace)
        .slice(0, limit)
        .map((row) => read<K>(row));
    },
    async put<K extends Kind>(kind: K, environment: string, id: string, value: Kinds[K], expect?: 'absent' | number) {
      const key = keyOf(kind, environment, id);
      const present = rows.get(key);
      mustBe(expect, present, id);
      const row = { kind, environment, id, version: (present?.version ?? 0) + 1, json: JSON.stringify(value) };
      rows.set(key, row);
      tell(kind, environment, id, row);
      return read<K>(row);
    },
    async delete(kind, environment, id, expect) {
      const key = keyOf(kind, environment, id);
      const present = rows.get(key);
      if (present === undefined) return false;
      mustBe(expect, present, id);
      rows.delete(key);
      tell(kind, environment, id);
      return true;
    },
    watch(listener) {
      const watcher = { listener };
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
  };
}

function mustBe(expect: 'absent' | number | undefined, present: Row | undefined, id: string): void {
  if (expect === 'absent' && present !== undefined) throw new Problem('already_exists', `There is one with the id ${id} already`);
  if (typeof expect === 'number' && expect !== present?.version)
    throw new Problem('version_mismatch', `${id} is at version ${present?.version ?? 'none'}, not ${expect}`);
}

function read<K extends Kind>({ environment, id, version, json }: Row): Versioned<Kinds[K]> {
  return { environment, id, version, value: parseText(json) as Kinds[K] };
}

function keyOf(...parts: readonly [kind: Kind, environment: string, id: string]): string {
  return JSON.stringify(parts);
}

function byPlace(a: Place, b: Place): number {
  return ascending(a.environment, b.environment) || ascending(a.id, b.id);
}

function ascending(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
