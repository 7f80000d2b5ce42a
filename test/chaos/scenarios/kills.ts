/** `kill -9` at random instants, under load that never stops, restarted at once on the same directory and port. */
import { inWorld, type Scenario } from '../scenario.ts';
import { pass } from '../waiting.ts';
import type { World } from '../world.ts';

/** Most kills meet a gateway that has run for this long. */
const RUNS_MS = { low: 50, high: 2_500 } as const;
/** A start takes about half a second, recovery is in its second half. */
const STARTS_MS = 700;
const STARTING_SHARE = 0.15;
const BATCH_SHARE = 0.35;
/** From a batch's way out to its answer. */
const BATCH_MS = 12;

export const kills: Scenario = {
  name: 'kills',
  what: 'kill -9 at random instants, deliveries in flight and batches uncommitted, restarted at once',
  run: (plan) =>
    inWorld({ name: 'kills', plan }, async (world, note) => {
      world.load();
      for (let n = 1; n <= plan.kills; n++) {
        await aRandomInstant(world);
        await world.end('kill');
        world.start();
        plan.say(`kill ${n} of ${plan.kills}, ${world.book.events.size} events, ${world.book.owed} deliveries owed`);
      }
      await world.up();
      const { lives } = world.book;
      const hit = {
        request: lives.some(({ openRequests }) => openRequests > 0),
        batch: lives.some(({ openBatch }) => openBatch),
      };
      // Of three kills it may be that none did; of ten it means that the load is none.
      if (plan.kills >= 10 && !(hit.request && hit.batch)) world.book.breach('no kill met a delivery in flight and a batch');
      note(
        `${lives.filter(({ readyAfterMs, end }) => readyAfterMs === undefined && end === 'kill').length} kills while it started`,
      );
    }),
};

async function aRandomInstant({ random, up, publishers }: World): Promise<void> {
  const kind = random.next();
  if (kind < STARTING_SHARE) return pass(random.int(0, STARTS_MS));
  await up();
  await pass(random.int(RUNS_MS.low, RUNS_MS.high));
  if (kind > STARTING_SHARE + BATCH_SHARE) return;
  await Promise.race(publishers.filter(({ isBatch }) => isBatch).map((publisher) => publisher.sent()));
  await pass(random.int(0, BATCH_MS));
}
