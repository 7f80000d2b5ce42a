/** The process is stopped as a whole (a laptop's lid, a debugger, a frozen container) and goes on where it was. */
import { inWorld, type Scenario } from '../scenario.ts';
import { concurrencyOf, SPECS } from '../subscriptions.ts';
import { pass, within } from '../waiting.ts';

const STOPPED_MS = 60_000;
const STOPPED_QUICK_MS = 5_000;
const RUNS_MS = 2_000;
const GOES_ON_MS = 30_000;

export const sigstop: Scenario = {
  name: 'sigstop',
  what: 'SIGSTOP for a minute, then SIGCONT: it goes on by itself',
  run: (plan) =>
    // What was in flight is over its timeout when it wakes, also where the answer has come meanwhile: that is sent again.
    inWorld({ name: 'sigstop', plan, allowed: { perStop: concurrencyOf(SPECS) } }, async (world, note) => {
      world.load();
      await pass(RUNS_MS);
      const { book, gateway } = world;
      gateway.signal('SIGSTOP');
      book.life.stops++;
      plan.say(`stopped for ${(plan.quick ? STOPPED_QUICK_MS : STOPPED_MS) / 1_000} s`);
      await pass(plan.quick ? STOPPED_QUICK_MS : STOPPED_MS);
      const { progress } = book;
      const wokenAt = performance.now();
      gateway.signal('SIGCONT');
      await within(GOES_ON_MS, 'deliveries go on', goesOn());
      note(`delivered again ${Math.round(performance.now() - wokenAt)} ms after SIGCONT`);
      await pass(RUNS_MS);

      async function goesOn(): Promise<void> {
        while (book.progress <= progress) await book.changed();
      }
    }),
};
