/**
 * What survives a crash: log, ledger and directory, and the disasters that may befall the first two while the gateway
 * is down. Both keep a journal, so that an older copy is made by replaying a part of it.
 */
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import type { Directory } from '@millrace/gateway/ports/directory';
import type { Commit, Ledger } from '@millrace/gateway/ports/ledger';
import type { Appended, Entry, Log } from '@millrace/gateway/ports/log';
import type { World } from './world.ts';

export interface Durable {
  readonly directory: Directory;
  log(): Log;
  ledger(): Ledger;
  append(entries: readonly Entry[]): Promise<readonly Appended[]>;
  commit(commit: Commit): Promise<void>;
  /** The same positions will be given again, by a log with another identity. */
  recreateLog(): void;
  /** Forgets the newest `events` events; positions are given again, under the same identity. */
  loseTail(events: number): Promise<void>;
  /** Goes back to the ledger as it was after the first `commits` commits. */
  restoreLedger(commits: number): Promise<void>;
  commits(): number;
}

interface AppendNote {
  readonly entries: readonly Entry[];
  readonly timeMs: number;
}

export function createDurable({ world, shards }: { readonly world: World; readonly shards: number }): Durable {
  const directory = createMemoryDirectory();
  let identity = 1;
  let replayedMs: number | undefined;
  const newLog = (): Log => createMemoryLog({ shards, now: () => replayedMs ?? world.now(), identity: `log-${identity}` });
  let log = newLog();
  let ledger = createMemoryLedger();
  let appends: AppendNote[] = [];
  let commits: Commit[] = [];

  return {
    directory,
    log: () => log,
    ledger: () => ledger,
    async append(entries) {
      const results = await log.append(entries);
      const appended = entries.filter((_, at) => results[at]?.status === 'appended');
      const first = results.find((result) => result.status === 'appended');
      if (first !== undefined) appends.push({ entries: appended, timeMs: first.timeMs });
      return results;
    },
    async commit(commit) {
      await ledger.commit(commit);
      commits.push(commit);
    },
    recreateLog() {
      identity += 1;
      log = newLog();
      appends = [];
    },
    async loseTail(events) {
      const kept = appends
        .flatMap(({ entries, timeMs }) => entries.map((entry) => ({ entries: [entry], timeMs })))
        .slice(0, -events);
      log = newLog();
      for (const { entries, timeMs } of kept) {
        replayedMs = timeMs;
        await log.append(entries);
      }
      replayedMs = undefined;
      appends = kept;
    },
    async restoreLedger(count) {
      commits = commits.slice(0, count);
      ledger = createMemoryLedger();
      for (const commit of commits) await ledger.commit(commit);
    },
    commits: () => commits.length,
  };
}
