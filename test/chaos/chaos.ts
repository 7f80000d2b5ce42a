/**
 * `npm run chaos`: real gateways, killed, stopped, without disk space, with a wrong clock, under load; receivers that count.
 *
 *   npm run chaos -- --only kills --seed 7 --kills 50
 *   npm run chaos -- --quick            fewer rounds, a stop of 5 s instead of a minute
 *   npm run chaos -- --json             one line of JSON per scenario
 *
 * The seed decides what is published, what fails and when it is killed; how far the processes are by then, nobody can
 * decide. A scenario that fails keeps the gateway's data directory and says where. Exit code 1 when one failed.
 */
import { parseArgs } from 'node:util';
import type { Outcome, Scenario } from './scenario.ts';
import { clockBack } from './scenarios/clock-back.ts';
import { diskFull } from './scenarios/disk-full.ts';
import { firstStart } from './scenarios/first-start.ts';
import { kills } from './scenarios/kills.ts';
import { nodes } from './scenarios/nodes.ts';
import { sigstop } from './scenarios/sigstop.ts';
import { sigterm } from './scenarios/sigterm.ts';
import { workers } from './scenarios/workers.ts';
import { type Played, table } from './table.ts';

const SCENARIOS: readonly Scenario[] = [kills, firstStart, sigterm, sigstop, diskFull, clockBack, workers, nodes];
const KILLS = 50;
const KILLS_QUICK = 5;

interface Options {
  readonly only: readonly string[];
  readonly seed: number;
  readonly kills: number;
  readonly quick: boolean;
  readonly json: boolean;
}

async function main(options: Options): Promise<number> {
  const { only, json } = options;
  const chosen = SCENARIOS.filter(({ name }) => only.length === 0 || only.includes(name));
  const played: Played[] = [];
  for (const scenario of chosen) {
    const one = await play(scenario, options);
    played.push(one);
    if (json) console.log(JSON.stringify({ ...one, seed: options.seed }));
    else tell(one);
  }
  const failed = played.filter(({ outcome }) => outcome.breaches.length > 0).length;
  const skipped = played.filter(({ outcome }) => outcome.skipped !== undefined).length;
  const passed = played.length - failed - skipped;
  if (json) console.log(JSON.stringify({ passed, failed, skipped }));
  else console.log(`\n${table(played)}\n\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed > 0 ? 1 : 0;
}

async function play({ name, what, run }: Scenario, { seed, kills, quick }: Options): Promise<Played> {
  const say = (text: string): void => void process.stderr.write(`${name}: ${text}\n`);
  const startedAt = performance.now();
  say(`${what} (seed ${seed})`);
  const outcome = await run({ seed, kills, quick, say }).catch((error: unknown): Outcome => ({
    breaches: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
    notes: [],
  }));
  return { name, outcome, seconds: (performance.now() - startedAt) / 1_000 };
}

function tell({ name, outcome: { skipped, breaches, notes, figures, kept } }: Played): void {
  if (skipped !== undefined) console.log(`${name}: skipped: ${skipped}`);
  for (const note of notes) console.log(`${name}: ${note}`);
  if (figures !== undefined) console.log(`${name}: publishes were answered ${JSON.stringify(figures.answers)}`);
  for (const breach of breaches) console.log(`${name}: BROKEN: ${breach}`);
  if (kept !== undefined) console.log(`${name}: what it left is in ${kept}`);
}

function readOptions(): Options | string {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string', default: String(Date.now() % 1_000_000) },
        kills: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    });
    const { only, quick, json } = values;
    const kills = Number(values.kills ?? (quick ? KILLS_QUICK : KILLS));
    const unknown = only.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
    if (unknown !== undefined) return `there is no scenario '${unknown}': ${SCENARIOS.map(({ name }) => name).join(', ')}`;
    if (!Number.isInteger(kills) || kills < 1) return '--kills is a whole number from 1';
    if (!Number.isInteger(Number(values.seed))) return '--seed is a whole number';
    return { only, seed: Number(values.seed), kills, quick, json };
  } catch (error) {
    return (error as Error).message;
  }
}

const options = readOptions();
if (typeof options === 'string') {
  process.stderr.write(`${options}\n`);
  process.exitCode = 2;
} else process.exitCode = await main(options);
