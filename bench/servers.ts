/** Real servers for a benchmark, each of its own and empty. Where one is not there, what gets it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findBroker } from '../scripts/brokers/find.ts';
import { startNats } from '../scripts/brokers/nats.ts';
import { cacheDirectory } from '../scripts/brokers/running.ts';
import type { Skipped } from './child.ts';

export interface Servers {
  /** Addresses, by the names that were asked for. */
  readonly urls: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** They are processes that outlive us: what ends them is an exit, which a signal by itself is not. */
function exitAtSignals(): void {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));
}

export async function startServers(...names: readonly string[]): Promise<Servers | Skipped> {
  exitAtSignals();
  const found = await Promise.all(names.map((name) => findBroker(name)));
  const remove = async (): Promise<void> => {
    for (const { server } of found) await server?.remove();
  };
  const missing = found.flatMap(({ skip }) => (skip === false ? [] : [skip]));
  if (missing.length > 0) {
    await remove();
    return { skipped: missing.join('; ') };
  }
  return { urls: Object.fromEntries(names.map((name, at) => [name, found[at]?.server?.url ?? ''])), remove };
}

/** A nats-server that syncs its files before it answers. By default it does so every two minutes. */
export async function startSyncingNats(): Promise<Servers> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-nats-'));
  const file = join(directory, 'server.conf');
  writeFileSync(file, 'jetstream { sync_interval: always }\n');
  const { url, pid, stop } = await startNats({ cache: cacheDirectory(), directory }, ['-c', file]);
  const kill = (): void => void process.kill(pid, 'SIGKILL');
  process.once('exit', kill);
  return {
    urls: { nats: url },
    async remove() {
      process.off('exit', kill);
      await stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
