/**
 * How a test gets a real server: one of its own, from what `npm run brokers -- up` has put into the cache. Nothing is
 * downloaded or built here: where it isn't there, the test is skipped with a reason that names the command.
 *
 *   const { server, skip } = await findBroker('nats');
 *   after(() => server?.remove());
 *   test('…', { skip }, async () => { … });
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BROKERS } from './all.ts';
import type { Broker, StartedBroker } from './broker.ts';
import { BrokerUnavailable } from './broker.ts';
import { cacheDirectory } from './running.ts';

export interface TestServer extends StartedBroker {
  readonly directory: string;
  /** Stops it, if need be, and removes its data. */
  remove(): Promise<void>;
}

export type Found =
  | { readonly server: TestServer; readonly skip: false }
  | { readonly server?: undefined; readonly skip: string };

export interface StartOptions {
  /** Default: a new one of its own. */
  readonly directory?: string;
  readonly port?: number;
}

export async function findBroker(name: string, options: StartOptions = {}): Promise<Found> {
  try {
    return { server: await startBroker(name, options), skip: false };
  } catch (error) {
    if (!(error instanceof BrokerUnavailable)) throw error;
    return { skip: `${error.message}: npm run brokers -- up ${name}` };
  }
}

/** As findBroker, where it is known to be there: another one, or the same again on its port and data. Throws BrokerUnavailable. */
export async function startBroker(name: string, { directory: asked, port }: StartOptions = {}): Promise<TestServer> {
  const directory = asked ?? mkdtempSync(join(tmpdir(), `millrace-${name}-`));
  try {
    const started = await brokerNamed(name).start({ cache: cacheDirectory(), directory, ...(port && { port }) });
    return removable(started, directory);
  } catch (error) {
    if (asked === undefined) rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function brokerNamed(name: string): Broker {
  const broker = BROKERS.find((one) => one.name === name);
  if (broker === undefined) throw new RangeError(`no such server: ${name}`);
  return broker;
}

function removable(started: StartedBroker, directory: string): TestServer {
  // A test process that ends in the middle leaves no server behind.
  const kill = () => {
    try {
      process.kill(started.pid, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  };
  process.once('exit', kill);
  const stop = async () => {
    process.off('exit', kill);
    await started.stop();
  };
  return {
    ...started,
    directory,
    stop,
    async remove() {
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
