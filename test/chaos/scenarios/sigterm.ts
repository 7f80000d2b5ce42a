/** A clean stop under load: what is under way ends, all is committed, and nothing comes twice afterwards. */
import { LIMITS } from '@millrace/gateway/limits';
import { inWorld, type Scenario } from '../scenario.ts';
import { pass, within } from '../waiting.ts';

const ROUNDS = 5;
const ROUNDS_QUICK = 2;
const RUNS_MS = 1_500;
/** What is committed after the last answer. */
const COMMIT_MS = 5_000;

export const sigterm: Scenario = {
  name: 'sigterm',
  what: 'SIGTERM under load: drains, exits 0, nothing lost and nothing twice',
  run: (plan) =>
    inWorld({ name: 'sigterm', plan }, async (world, note) => {
      world.load();
      const rounds = plan.quick ? ROUNDS_QUICK : ROUNDS;
      for (let round = 1; round <= rounds; round++) {
        await world.up();
        await pass(RUNS_MS);
        const { gateway, book } = world;
        const startedAt = performance.now();
        const how = await within(LIMITS.drainMs + COMMIT_MS, 'the end after SIGTERM', world.end('term'));
        note(`drained in ${Math.round(performance.now() - startedAt)} ms with ${book.life.openRequests} requests open`);
        if (how !== 0) book.breach(`SIGTERM ended with ${how} instead of 0`);
        if (!gateway.lines.some(({ kind }) => kind === 'stopped')) book.breach('it ended without saying that it stopped');
        world.start();
        plan.say(`stop ${round} of ${rounds}, ${book.events.size} events`);
      }
    }),
};
