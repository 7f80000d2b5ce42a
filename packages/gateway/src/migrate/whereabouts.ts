/** Asked at every start: whether the data directory may be used with this log, and where in it directory and ledger are. */
import { join } from 'node:path';
import type { StartOptions } from '../options.ts';
import { MIGRATION_FILE, MOVED_DIRECTORY, MOVED_FILE, readMigration, readMoved } from './files.ts';

/** What is said where it may not. */
export interface Refused {
  readonly message: string;
  readonly advice: string;
}

/** The directory that the embedded store is opened in; or why nothing is. */
export function storeIn({ data, log, store }: Pick<StartOptions, 'data' | 'log' | 'store'>): string | Refused {
  const moved = readMoved(data);
  if (moved === undefined) {
    const under = log === undefined ? undefined : readMigration(data);
    if (under === undefined) return data;
    return {
      message: `the log of ${data} is being moved to ${under.address}, and that has not come to its end`,
      advice: `Go on: millrace migrate-log --from embedded --to ${under.address}. Or start on the former log, without --log. Who gives the move up for good deletes ${join(data, MIGRATION_FILE)}.`,
    };
  }
  const start = `millrace start --data '${data}' --log '${moved.log}'${moved.store === undefined ? '' : ` --store '${moved.store}'`}`;
  if (log === undefined)
    return {
      message: `the log of ${data} was moved to ${moved.log}: what is taken here would be in neither`,
      advice: `Start with ${start}; or with another directory: --data DIRECTORY. (${MOVED_FILE} in ${data} says so.)`,
    };
  if (moved.store === undefined) return join(data, MOVED_DIRECTORY);
  if (store === undefined)
    return {
      message: `directory and ledger of ${data} were moved to ${moved.store} with the log`,
      advice: `Start with ${start}.`,
    };
  return data;
}
