/** Runs behaviours as tests: one per title, grouped by area, gaps shown as skips with their reason. */
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';

/** Title, a sentence about behaviour → what shows it. */
export type Behaviours<World> = Readonly<Record<string, (world: World, context: TestContext) => Promise<void>>>;

export interface Suite<World> {
  readonly name: string;
  readonly areas: Readonly<Record<string, Behaviours<World>>>;
  /** Behaviour title → why this driver can't show it. */
  readonly skip: Readonly<Record<string, string>>;
  /** A fresh world for one behaviour. */
  readonly open: () => Promise<World>;
}

/** Nothing here waits for time to pass; a behaviour that is stuck on a signal ends as a failure after this long. */
const STUCK_MS = 30_000;

export function runSuite<World extends { close(): Promise<void> }>({ name, areas, skip, open }: Suite<World>): void {
  mustBeTitles(Object.keys(skip), areas);
  describe(name, () => {
    for (const [area, behaviours] of Object.entries(areas)) {
      describe(area, () => {
        for (const [title, show] of Object.entries(behaviours)) {
          test(title, { skip: skip[title] === undefined ? false : gap(skip[title]), timeout: STUCK_MS }, async (context) => {
            const world = await open();
            try {
              await show(world, context);
            } finally {
              await world.close();
            }
          });
        }
      });
    }
  });
}

/** A skip that says what a driver does not promise, not what a machine lacks: also where everything is required it is no failure. */
export function gap(reason: string): string {
  return `gap: ${reason}`;
}

/** A gap that names no behaviour would hide that the behaviour was renamed, or is shown by now. */
function mustBeTitles<World>(gaps: readonly string[], areas: Suite<World>['areas']): void {
  const titles = new Set(Object.values(areas).flatMap(Object.keys));
  const unknown = gaps.filter((gap) => !titles.has(gap));
  if (unknown.length > 0) throw new RangeError(`no such behaviour to skip: ${unknown.join('; ')}`);
}
