/**
 * nats-server, built by Go from the module proxy: one static binary in the cache, named by its version. Debian's own is too
 * old: it takes newer settings without a word and ignores them.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Broker, StartedBroker } from './broker.ts';
import { BrokerUnavailable } from './broker.ts';
import { onPort, startServer, stopProcess } from './servers.ts';

/** Pinned: a test that fails today and passed yesterday is our doing. */
const VERSION = 'v2.15.2';

export const nats: Broker = {
  name: 'nats',

  async prepare(cache, say) {
    if (existsSync(binaryIn(cache))) return;
    say(`nats: building nats-server ${VERSION}, about a minute`);
    await build(cache);
    say(`nats: built ${binaryIn(cache)}`);
  },

  async start({ cache, directory, port: asked }) {
    return startNats({ cache, directory, ...(asked !== undefined && { port: asked }) });
  },
};

/** With arguments of its own beside the usual ones: `--auth`, `-c <file>`, `--tls`. */
export async function startNats(
  { cache, directory, port: asked }: Parameters<Broker['start']>[0],
  more: readonly string[] = [],
): Promise<StartedBroker> {
  const path = binaryIn(cache);
  if (!existsSync(path))
    throw new BrokerUnavailable(`nats-server ${VERSION} is not in the cache`, 'Run npm run brokers -- up nats.');
  return onPort(asked, async (port) => {
    const args = ['-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', join(directory, 'store'), ...more];
    const logPath = join(directory, 'nats-server.log');
    const pid = await startServer({ path, args, logPath, port, greet, taken: /address already in use/ });
    return { url: `nats://127.0.0.1:${port}`, port, pid, stop: () => stopProcess(pid) };
  });
}

function binaryIn(cache: string): string {
  return join(cache, 'brokers', 'bin', `nats-server-${VERSION}`);
}

/** Built beside its place and moved there whole: two at once both move a good one. */
async function build(cache: string): Promise<void> {
  const path = binaryIn(cache);
  mkdirSync(join(path, '..'), { recursive: true });
  const building = mkdtempSync(join(cache, 'brokers', 'building-'));
  try {
    const env = { ...process.env, GOBIN: building, CGO_ENABLED: '0' };
    await promisify(execFile)('go', ['install', `github.com/nats-io/nats-server/v2@${VERSION}`], { env });
    renameSync(join(building, 'nats-server'), path);
  } catch (error) {
    throw unavailable(error as NodeJS.ErrnoException & { stderr?: string });
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

function unavailable({ code, message, stderr }: NodeJS.ErrnoException & { stderr?: string }): BrokerUnavailable {
  if (code === 'ENOENT')
    return new BrokerUnavailable('nats-server is built by Go, which is not here', 'Install Go 1.26 or newer and try again.');
  return new BrokerUnavailable(
    `nats-server could not be built: ${(stderr ?? message).trim().slice(-1_000)}`,
    'It needs Go 1.26 or newer and a Go module proxy that serves github.com/nats-io/nats-server.',
  );
}

/** A NATS server speaks first, and only when it is ready, JetStream included. */
async function greet(socket: Socket): Promise<void> {
  const [said] = (await once(socket, 'data')) as [Buffer];
  if (!said.toString('latin1').startsWith('INFO ')) throw new Error('this is no NATS server');
}
