/** What a scenario is, and the frame of each: a world, what is done to it, the drain, the clean stop, the verdict. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRandom } from '../simulation/random.ts';
import { atEnd } from './clean-up.ts';
import type { Allowed } from './duplicates.ts';
import { type Figures, judge, type Verdict } from './judge.ts';
import { type Kept, readLog } from './kept-log.ts';
import type { PublisherSettings } from './publisher.ts';
import { openWorld, type World } from './world.ts';

export interface Scenario {
  readonly name: string;
  /** One sentence for people. */
  readonly what: string;
  run(plan: Plan): Promise<Outcome>;
}

export interface Plan {
  readonly seed: number;
  /** Of the scenario `kills`. */
  readonly kills: number;
  /** Less of everything. */
  readonly quick: boolean;
  /** How far it is, for whoever waits. */
  readonly say: (text: string) => void;
}

export interface Outcome {
  /** Why it was not run. */
  readonly skipped?: string;
  /** Empty when every promise held. */
  readonly breaches: readonly string[];
  readonly figures?: Figures;
  /** What only this scenario measures. */
  readonly notes: readonly string[];
  /** Of a failure: the gateway's data, and what was done and told. */
  readonly kept?: string;
}

export interface Frame {
  readonly name: string;
  readonly plan: Plan;
  /** Where the gateway's data is to be, if not in a directory of its own under the system's. */
  readonly data?: string;
  readonly publishers?: readonly PublisherSettings[];
  readonly environment?: NodeJS.ProcessEnv;
  readonly allowed?: Allowed;
  /** Lines that the gateway may write to stderr. Default: none. */
  readonly mayWrite?: RegExp;
}

const NONE: Allowed = { perStop: 0 };

/** `play` begins without load and ends with a gateway that is ready, or will be by itself. */
export async function inWorld(
  frame: Frame,
  play: (world: World, note: (text: string) => void) => Promise<void>,
): Promise<Outcome> {
  const { name, plan, publishers, environment, mayWrite, allowed = NONE } = frame;
  const own = mkdtempSync(join(tmpdir(), `millrace-chaos-${name}-`));
  const removeIt = (): void => rmSync(own, { recursive: true, force: true });
  const forget = atEnd(removeIt);
  const data = frame.data ?? join(own, 'data');
  const notes: string[] = [];
  const world = await openWorld({
    random: createRandom(`${plan.seed}/${name}`),
    data,
    ...(publishers === undefined ? {} : { publishers }),
    ...(environment === undefined ? {} : { environment }),
    ...(mayWrite === undefined ? {} : { mayWrite }),
  });
  let broken: string | undefined;
  try {
    await Promise.race([toItsEnd(world, () => play(world, (text) => void notes.push(text))), world.broken]);
  } catch (error) {
    broken = error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    await world.close();
  }
  const verdict = judge({ book: world.book, kept: await keptIn(data, world), allowed });
  forget();
  const breaches = broken === undefined ? verdict.breaches : [broken, ...verdict.breaches];
  if (breaches.length > 0) return { breaches, notes, figures: verdict.figures, kept: keep(own, world, frame, breaches) };
  removeIt();
  return { breaches, notes, figures: verdict.figures };
}

/** What a clean stop leaves behind is what the judge looks at: nothing can come after it. */
async function toItsEnd(world: World, play: () => Promise<void>): Promise<void> {
  await world.begin();
  await play();
  await world.drain();
  const how = await world.end('term');
  if (how !== 0) world.book.breach(`the last SIGTERM ended with ${how}`);
}

async function keptIn(data: string, { book }: World): Promise<readonly Kept[] | undefined> {
  try {
    return await readLog(data);
  } catch (error) {
    book.breach(`the log it left can not be read: ${String(error)}`);
    return undefined;
  }
}

function keep(own: string, { book, gateway }: World, { plan }: Frame, breaches: Verdict['breaches']): string {
  const { seed } = plan;
  const lines = [{ seed }, ...breaches.map((breach) => ({ breach })), ...book.lives, ...gateway.lines];
  writeFileSync(join(own, 'story.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const arrivals = [...book.arrivals].flatMap(([subscription, list]) =>
    list.map(({ event, ...rest }) => ({ subscription, event: event.id, key: event.key, ...rest })),
  );
  writeFileSync(join(own, 'arrivals.ndjson'), arrivals.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return own;
}
