/** Where the gateway listens. */
import { createServer } from 'node:net';
import type { Random } from '../simulation/random.ts';

/** Below the range that outgoing connections take their ports from. */
const PORT_MIN = 15_000;
const PORT_MAX = 29_999;
const PORTS_TRIED = 50;

/**
 * A port that is free now and stays the gateway's over its restarts. One that the system gives out by itself would not: a
 * publisher that calls it while nobody listens can be given it as its own port, and is then connected to itself.
 */
export async function freePort(random: Random): Promise<number> {
  for (let tried = 0; tried < PORTS_TRIED; tried++) {
    const port = random.int(PORT_MIN, PORT_MAX);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${PORT_MIN} and ${PORT_MAX}`);
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
