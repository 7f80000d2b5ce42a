/** Where each shard ended a moment ago: what a claim remembers. It may lag behind, then there is more to read; it is never ahead. */
import type { Clock } from '../ports/clock.ts';
import type { Appended, Log, Position } from '../ports/log.ts';

export interface Ends {
  now(): Promise<Readonly<Record<string, Position>>>;
  /** What was appended here says how far the log is without asking it. */
  passed(appended: readonly Appended[]): void;
}

/** As much of the log is read in vain, at most, when an event is looked for: that is rare, and asking the broker for each claim is not. */
const ASKED_AGAIN_MS = 60_000;

export function createEnds({ log, clock }: { readonly log: Log; readonly clock: Clock }): Ends {
  const ends = new Map<string, { position: Position; sinceMs: number }>();
  let asking: Promise<void> | undefined;

  function note(shard: string, position: Position): void {
    const known = ends.get(shard);
    if (known === undefined) ends.set(shard, { position, sinceMs: clock.monotonic() });
    else if (position >= known.position) Object.assign(known, { position, sinceMs: clock.monotonic() });
  }

  function ask(): Promise<void> {
    const all = log.shards().map(async (shard) => note(shard, (await log.bounds(shard)).end));
    asking ??= Promise.all(all)
      .then(() => undefined)
      .finally(() => (asking = undefined));
    return asking;
  }

  return {
    async now() {
      const old = log.shards().map((shard) => ends.get(shard));
      if (old.includes(undefined)) await ask();
      else if (old.some((end) => clock.monotonic() - end!.sinceMs > ASKED_AGAIN_MS)) ask().catch(() => undefined);
      return Object.fromEntries([...ends].map(([shard, { position }]) => [shard, position]));
    },
    passed(appended) {
      for (const one of appended) if (one.status === 'appended') note(one.shard, one.position);
    },
  };
}
