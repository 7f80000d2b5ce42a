/** The machine's clock is set back: while it runs, between two starts, and right again. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ask } from '../api.ts';
import type { Published } from '../book.ts';
import { encode } from '../publisher.ts';
import { inWorld, type Scenario } from '../scenario.ts';
import { pass, within } from '../waiting.ts';
import type { World } from '../world.ts';

const HOUR_MS = 3_600_000;
const RUNS_MS = 2_500;
const SET_MS = 10_000;
/** Of what was published before, sent again with its ids. */
const AGAIN = 25;

export const clockBack: Scenario = {
  name: 'clock-back',
  what: 'the wall clock an hour back while running, two at a restart, then right again',
  async run(plan) {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-chaos-clock-'));
    const file = join(directory, 'offset');
    const set = (offsetMs: number): void => writeFileSync(file, String(offsetMs));
    set(0);
    const preload = pathToFileURL(join(import.meta.dirname, '..', 'clock.ts')).href;
    const environment = { NODE_OPTIONS: `--import ${preload}`, CHAOS_CLOCK: file };
    try {
      return await inWorld({ name: 'clock-back', plan, environment }, async (world) => {
        world.calm();
        world.load();
        await pass(RUNS_MS);
        plan.say('an hour back while it runs');
        set(-HOUR_MS);
        const done = world.gateway.line('clock_set');
        world.gateway.signal('SIGUSR2');
        await within(SET_MS, 'the clock is set', done);
        await ranOn(world);
        plan.say('two hours back at a restart');
        set(-2 * HOUR_MS);
        await world.end('kill');
        world.start();
        await ranOn(world);
        plan.say('right again at a restart');
        set(0);
        await world.end('kill');
        world.start();
        await ranOn(world);
      });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

async function ranOn(world: World): Promise<void> {
  const before = [...world.book.events.values()].filter(({ position }) => position !== undefined);
  await world.up();
  await pass(RUNS_MS);
  await stillDedupes(world, before);
  // Also what waited for its next attempt when the clock was set: it is not to wait an hour longer.
  await world.arrived();
}

/** What was published before, under another clock, is still known by its id. */
async function stillDedupes({ book, random, up }: World, before: readonly Published[]): Promise<void> {
  const events = Array.from({ length: AGAIN }, () => random.pick(before));
  const { status, json } = await ask(
    await up(),
    'POST /v1/events',
    events.map((event) => JSON.parse(encode(event)) as unknown),
  );
  const results = (json?.results ?? []) as readonly { readonly status?: string; readonly position?: string }[];
  for (const [at, event] of events.entries()) {
    const result = results[at];
    if (result?.status !== 'duplicate' || result.position !== event.position)
      book.breach(`${event.id}, sent again after the clock was set, was answered ${status} ${JSON.stringify(result ?? json)}`);
  }
}
