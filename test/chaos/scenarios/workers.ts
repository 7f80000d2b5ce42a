/** Three workers of one process: an error nobody expected in one of them, the whole killed or stopped, under load that never stops. */
import { join } from 'node:path';
import { inWorld, type Scenario } from '../scenario.ts';
import { pass } from '../waiting.ts';
import type { World } from '../world.ts';

const WORKERS = 3;
const FAULT = join(import.meta.dirname, '..', '..', 'cluster', 'worker-fault.ts');
/** Between two blows: some come while the slots of the one before are still being taken. */
const RUNS_MS = { low: 200, high: 4_000 } as const;
/** Of twenty blows three kill the process, two stop it. */
const KILL_SHARE = 0.15;
const STOP_SHARE = 0.1;
const ENVIRONMENT = {
  MILLRACE_WORKERS: String(WORKERS),
  NODE_OPTIONS: `--import=${FAULT}`,
  TEST_WORKERS: String(WORKERS),
};
/** What it says of a worker that has ended: the error with where it came from. */
const OF_FAULTS = /^(?:[\d:.]+ {2}worker \d has ended: Error: a fault that a test has made| {4}at .*|)$/;

export const workers: Scenario = {
  name: 'workers',
  what: 'three workers of one process: errors that end one of them, kill -9 and SIGTERM of all',
  run: (plan) =>
    inWorld({ name: 'workers', plan, environment: ENVIRONMENT, mayWrite: OF_FAULTS }, async (world, note) => {
      world.load();
      let faults = 0;
      for (let n = 1; n <= plan.kills; n++) {
        await world.up();
        await pass(world.random.int(RUNS_MS.low, RUNS_MS.high));
        // The first is what this is about, whatever comes of chance.
        const kind = n === 1 ? 1 : world.random.next();
        const what = await blow(world, kind);
        if (what === FAULTED) faults++;
        plan.say(`${n} of ${plan.kills}: ${what}; ${world.book.events.size} events, ${world.book.owed} deliveries owed`);
      }
      await world.up();
      note(`${faults} workers ended by an error`);
    }),
};

const FAULTED = 'a worker ended by an error';

async function blow(world: World, kind: number): Promise<string> {
  if (kind >= KILL_SHARE + STOP_SHARE) {
    await world.fault();
    return FAULTED;
  }
  const by = kind < KILL_SHARE ? 'kill' : 'term';
  const how = await world.end(by);
  if (by === 'term' && how !== 0) world.book.breach(`SIGTERM ended with ${how} instead of 0`);
  world.start();
  return by === 'kill' ? 'all killed' : 'all stopped';
}
