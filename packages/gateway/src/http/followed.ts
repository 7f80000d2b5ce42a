/** Resources of one kind, kept in memory under a name of one's own and followed through the directory's watch. */
import { allOf } from '../all-of.ts';
import type { Change, Directory, Kind, Kinds, Versioned } from '../ports/directory.ts';

export interface Followed<V> {
  get(name: string): Versioned<V> | undefined;
  /** Where the directory has it, whatever its name is here. */
  at(place: Place): Versioned<V> | undefined;
  values(): Iterable<Versioned<V>>;
  stop(): void;
}

/**
 * Resolves when all that was there is known. `nameOf` must give different resources different names. `onChange` is told of what
 * the watch brings from the beginning on, once it can be looked up.
 */
export async function follow<K extends Kind>(
  directory: Directory,
  kind: K,
  nameOf: (value: Kinds[K], resource: Place) => string,
  onChange: (resource: Place) => void = () => undefined,
): Promise<Followed<Kinds[K]>> {
  const byName = new Map<string, Versioned<Kinds[K]>>();
  const names = new Map<string, string>();
  /** What the watch has told of already: a page read before that is older. */
  const told = new Set<string>();
  let reading = true;

  function set(place: string, now: Versioned<Kinds[K]> | undefined): void {
    const before = names.get(place);
    if (before !== undefined) byName.delete(before);
    names.delete(place);
    if (now === undefined) return;
    const name = nameOf(now.value, now);
    names.set(place, name);
    byName.set(name, now);
  }

  function take(change: Change): void {
    if (change.kind !== kind) return;
    const place = placeOf(change);
    if (reading) told.add(place);
    set(place, change.now as Versioned<Kinds[K]> | undefined);
    onChange(change);
  }

  const stop = directory.watch(take);
  for await (const item of allOf(directory, kind)) if (!told.has(placeOf(item))) set(placeOf(item), item);
  reading = false;
  told.clear();
  return {
    get: (name) => byName.get(name),
    at: (place) => byName.get(names.get(placeOf(place)) ?? ''),
    values: () => byName.values(),
    stop,
  };
}

export interface Place {
  readonly environment: string;
  readonly id: string;
}

/** A name for what is looked up as the directory names it. */
export function placeOf({ environment, id }: Place): string {
  return `${environment}\n${id}`;
}
