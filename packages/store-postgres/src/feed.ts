/**
 * Tells watchers of changes of the directory, of this node's as of others': each once, in the order of their numbers. The
 * numbers have no holes (migrations/1-directory.ts), so what is missing is known, and read.
 *
 * This node's own changes are told before its call is answered: who has put a subscription finds it in every index that is
 * kept by watching.
 */
import type { Change } from '@millrace/gateway/ports/directory';
import { parseText } from '@millrace/core/json-parse';
import { Problem } from '@millrace/core/problem';
import type { Step } from './database.ts';

/** Of the directory: a number may come twice, after the database went back to an earlier state; the token does not. */
export interface Moment {
  readonly seq: number;
  readonly token: string;
}

export interface StoredChange extends Moment {
  readonly kind: string;
  readonly environment: string;
  readonly id: string;
  readonly version: number;
  /** Null where it was deleted. */
  readonly value: string | null;
}

export interface Feed {
  watch(listener: (change: Change) => void): () => void;
  /**
   * Changes of this node, committed, and what the clock showed before them. Resolves when they were told, and all before
   * them; or when these can't be read now.
   */
  made(before: Moment, changes: readonly StoredChange[]): Promise<void>;
  /** Somebody says that there are changes up to `seq`. */
  heardOf(seq: number): void;
  /** Looks whether there are others, over a connection of the caller's, and that those told are still there. */
  look(query: Query): Promise<void>;
}

export type Query = <R>(...step: Step) => Promise<R[]>;

interface Needs {
  readonly schema: string;
  readonly query: Query;
  /** What was told does not hold any more, or too much was missed: this node knows what is not so. */
  readonly onFailure: (error: Error) => void;
}

interface Look extends Moment {
  /** Token of the last one told, null where it is not kept any more. */
  readonly mine: string | null;
  readonly oldest: number | null;
}

/** A value may have megabytes. */
const PAGE = 64;
const WENT_BACK = 'The directory in Postgres went back to an earlier state, as after a failover to a standby that lagged behind';

export async function openFeed({ schema, query, onFailure }: Needs): Promise<Feed> {
  const looking = {
    name: 'look for changes',
    text: `SELECT seq, token, (SELECT c.token FROM ${schema}.changes c WHERE c.seq = $1) AS mine,
      (SELECT min(c.seq) FROM ${schema}.changes c) AS oldest FROM ${schema}.directory_clock`,
  };
  // With the last one told, for its token: what follows is told only on top of it.
  const reading = {
    name: 'read changes',
    text: `SELECT seq, token, kind, environment, id, version, CASE WHEN seq > $1 THEN value END AS value
      FROM ${schema}.changes WHERE seq >= $1 ORDER BY seq LIMIT ${PAGE + 1}`,
  };
  const watchers = new Set<{ readonly listener: (change: Change) => void }>();
  /** Made here while those before them are still to be read. */
  const ahead = new Map<number, StoredChange>();
  const [first] = await query<Look>(looking, 0);
  let last: Moment = { seq: first?.seq ?? 0, token: first?.token ?? '' };
  let reached: Promise<void> | undefined;
  let isBroken = false;

  /** The numbers of a database that went back catch up with what was told, soon where this node is the first to change it on. */
  function check({ seq, token }: Moment): void {
    if (seq === last.seq && token !== last.token) fail(WENT_BACK);
  }

  function take(change: StoredChange): void {
    check(change);
    if (isBroken || change.seq <= last.seq) return;
    ahead.set(change.seq, change);
    for (let next = ahead.get(last.seq + 1); next !== undefined; next = ahead.get(last.seq + 1)) {
      ahead.delete(next.seq);
      last = { seq: next.seq, token: next.token };
      tell(next);
    }
  }

  /** In a microtask, so that what a listener throws is its own. */
  function tell(stored: StoredChange): void {
    for (const watcher of watchers) queueMicrotask(() => watchers.has(watcher) && watcher.listener(changeOf(stored)));
  }

  /** One reads for all; whoever comes meanwhile may need a page more than what is under way. Ends where nothing follows the last one. */
  async function reach(seq: number): Promise<void> {
    while (last.seq < seq && !isBroken) {
      const before = last;
      await (reached ??= readPage().finally(() => (reached = undefined)));
      if (last === before) return;
    }
  }

  async function readPage(): Promise<void> {
    (await query<StoredChange>(reading, last.seq)).forEach(take);
  }

  function fail(reason: string): void {
    if (isBroken) return;
    isBroken = true;
    ahead.clear();
    onFailure(new Problem('ledger_unavailable', `${reason}: it must be started again`));
  }

  return {
    watch(listener) {
      const watcher = { listener };
      watchers.add(watcher);
      return () => void watchers.delete(watcher);
    },
    async made(before, changes) {
      check(before);
      if (isBroken) return;
      changes.forEach(take);
      // Not there now: they are durable, and told as soon as the server is back.
      await reach(changes.at(-1)?.seq ?? 0).catch(() => {});
    },
    heardOf(seq) {
      // The next look tries again.
      reach(seq).catch(() => {});
    },
    async look(query) {
      const before = last;
      const [seen] = await query<Look>(looking, before.seq);
      if (seen === undefined) return;
      const token = seen.seq === before.seq ? seen.token : seen.mine;
      if (seen.seq < before.seq || (token !== null && token !== before.token)) return fail(WENT_BACK);
      const follows = seen.oldest !== null && seen.oldest <= before.seq + 1;
      if (seen.seq > before.seq && !follows && last === before)
        return fail('Changes of the directory in Postgres are gone before this node has seen them');
      await reach(seen.seq);
    },
  };
}

function changeOf({ kind, environment, id, version, value }: StoredChange): Change {
  const place = { kind, environment, id };
  return (value === null ? place : { ...place, now: { environment, id, version, value: parseText(value) } }) as Change;
}
