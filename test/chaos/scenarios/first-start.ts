/** Killed before it was ever ready: whatever the first start had made by then, the next one makes the rest. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRandom, type Random } from '../../simulation/random.ts';
import { ask, must } from '../api.ts';
import { TOPICS } from '../subscriptions.ts';
import { freePort } from '../port.ts';
import { startGateway } from '../process.ts';
import type { Scenario } from '../scenario.ts';
import { pass, within } from '../waiting.ts';

const ROUNDS = 12;
const ROUNDS_QUICK = 4;
const KILLS_EACH = 3;
const START_MS = 60_000;

export const firstStart: Scenario = {
  name: 'first-start',
  what: 'killed while it makes its directory, its keys, its tables: the next start works and shows the key',
  async run({ seed, quick, say }) {
    const random = createRandom(`${seed}/first-start`);
    const directory = mkdtempSync(join(tmpdir(), 'millrace-chaos-first-start-'));
    const breaches: string[] = [];
    const rounds = quick ? ROUNDS_QUICK : ROUNDS;
    // The first one is not killed: it says how long the others have.
    let startsMs = await startsWell(random, join(directory, '0'));
    for (let round = 1; round <= rounds; round++) {
      const data = join(directory, String(round));
      try {
        for (let kill = 0; kill < KILLS_EACH; kill++) await killedWhileStarting(random, data, startsMs);
        startsMs = await startsWell(random, data);
      } catch (error) {
        breaches.push(`${data}: ${error instanceof Error ? error.message : String(error)}`);
      }
      say(`${round} of ${rounds} directories, ${KILLS_EACH} kills each`);
    }
    if (breaches.length > 0) return { breaches, notes: [], kept: directory };
    rmSync(directory, { recursive: true, force: true });
    return { breaches, notes: [`${rounds * KILLS_EACH} kills before the gateway was ready for the first time`] };
  },
};

async function killedWhileStarting(random: Random, data: string, startsMs: number): Promise<void> {
  const gateway = startGateway({ port: await freePort(random), data });
  await Promise.race([pass(random.between(0, startsMs)), gateway.ended]);
  gateway.signal('SIGKILL');
  const { how, stderr } = await within(START_MS, 'the end of a start', gateway.ended);
  if (how !== 'SIGKILL') throw new Error(`a start ended by itself (${how}): ${stderr}`);
}

/** Starts it, publishes, and stops it as one should; resolves with how long the start took. */
async function startsWell(random: Random, data: string): Promise<number> {
  const gateway = startGateway({ port: await freePort(random), data });
  try {
    const ready = await within(START_MS, 'a start', gateway.ready);
    await must(ready, `PUT /v1/topics/${TOPICS.orders}`);
    const { status } = await ask(ready, 'POST /v1/events', { type: TOPICS.orders, data: 1 });
    if (status !== 202) throw new Error(`after a killed start a publish was answered ${status}`);
    gateway.signal('SIGTERM');
    const { how, stderr } = await within(START_MS, 'the end after SIGTERM', gateway.ended);
    if (how !== 0 || stderr !== '') throw new Error(`SIGTERM ended with ${how}: ${stderr}`);
    return ready.afterMs;
  } finally {
    gateway.signal('SIGKILL');
    await gateway.ended;
  }
}
