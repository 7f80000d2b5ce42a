/**
 * The suite for Log drivers: every sentence of ports/log.ts as behaviour. A driver's test file is one call:
 *
 *   logConformance({ name: 'the embedded log', open: async ({ now }) => { … } });
 *
 * Time is what `now` says, which stands still until the suite sets it; a broker that keeps its own time names the
 * behaviours it can't show in `skip`, each with the reason.
 */
import { runSuite } from './behaviours.ts';
import { append } from './log/append.ts';
import { dedupe, keysOfRecords, noDedupe } from './log/dedupe.ts';
import { close, reopen } from './log/lifetime.ts';
import { bounds, fetch, finding, names, positions } from './log/positions.ts';
import { read } from './log/read.ts';
import { retention } from './log/retention.ts';
import { signal } from './log/signal.ts';
import { openLogWorld } from './log/world.ts';
import type { OpenLog } from './log/world.ts';

export type { OpenedLog, OpenLog } from './log/world.ts';

export interface LogConformance {
  /** What is tested, as a person would say it. */
  readonly name: string;
  /** Opens an empty log, another at each call, whose wall time is `now`. */
  readonly open: OpenLog;
  /** Behaviour title → why this driver can't show it. Shown as skipped; a title that does not exist is an error. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** Area → its behaviours. The table in README.md is made of it. */
export const LOG_AREAS = {
  append,
  read,
  dedupe,
  'without dedupe': noDedupe,
  'keys of records': keysOfRecords,
  'positions and times': positions,
  'finding by time': finding,
  bounds,
  names,
  fetch,
  signal,
  retention,
  reopen,
  close,
};

/** Registers the tests with node:test. */
export function logConformance({ name, open, skip = {} }: LogConformance): void {
  runSuite({ name, areas: LOG_AREAS, skip, open: () => openLogWorld(open) });
}
