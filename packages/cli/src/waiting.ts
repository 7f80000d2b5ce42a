/** Why an event may have no attempt yet, in words with the next command. */
import type { Client } from './client.ts';
import { BEHIND_MS, downOf, exactly, type Faring, faringIfThere, isToStream, ofEach } from './health.ts';
import { count } from './text.ts';

/** Of one subscription, or of all: a line where something stands in the way. */
export async function waitingFor(client: Client, subscription: string | undefined): Promise<readonly string[]> {
  const nowMs = Date.now();
  const why = async (id: string): Promise<string | undefined> => {
    const faring = await faringIfThere(client, id);
    return faring === undefined ? undefined : reasonOf(faring, nowMs);
  };
  const { results } = subscription === undefined ? await ofEach(client, why) : { results: [await why(subscription)] };
  const reasons = results.filter((one) => one !== undefined);
  const [reason, ...more] = reasons;
  if (reason !== undefined && more.length === 0) return [`No attempt yet. ${reason}`];
  if (reason !== undefined) return ['No attempt yet. It may wait at one of these:', ...reasons.map((one) => `  ${one}`)];
  const [where, which] = subscription === undefined ? ['at any subscription', 'one'] : [`at '${subscription}'`, 'it'];
  return [`Nothing waits ${where}: no such event matched ${which}, or its attempts are more than seven days old.`];
}

function reasonOf(faring: Faring, nowMs: number): string | undefined {
  const { id, state, health } = faring;
  const look = `millrace subscription get ${id}`;
  if (state !== 'active') return `${id} is ${state}: millrace subscription resume ${id}`;
  if (health.breaker === 'open') return `the endpoint of ${id} is ${downOf(health, nowMs)}: ${look}`;
  if (health.stoppedBy !== undefined) return `${id} stands still at its bound '${health.stoppedBy}': ${look}`;
  if (health.held > 0) {
    const [waits, their] = health.held === 1 ? ['waits', 'its'] : ['wait', 'their'];
    return `${count(health.held, 'delivery')} of ${id} ${waits} behind an earlier event of ${their} key: ${look}`;
  }
  const { behindMs = 0 } = health;
  if (behindMs < BEHIND_MS) return undefined;
  const why = isToStream(faring) ? ' and waits for its consumers' : '';
  return `${id} is ${exactly(behindMs)} behind${why}: ${look}`;
}
