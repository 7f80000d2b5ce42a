/** The gateway as a process, on the drivers there are: the only file that knows which. Started by the `millrace` command. */
import { mkdirSync } from 'node:fs';
import { natsOptionsOf } from './nats-address.ts';
import type { StartOptions } from './options.ts';
import { serve, type Watch } from './serve.ts';
import { StartRefused } from './refused.ts';
import type { OpenStore, Store } from './start.ts';
import type { OpenHost } from './workers/workers.ts';

type Needs = Parameters<OpenStore>[0];

/** Resolves when it takes events; it ends with the process. What prevents it is said on the screen, with exit code 1. */
export function serveHere(options: StartOptions, watch: Watch = {}): Promise<void> {
  return serve(options, { ...watch, openStore, openHost });
}

export const openStore: OpenStore = async (needs) => {
  const { log, store } = needs;
  if (log === undefined && store === undefined) return openEmbeddedStore(needs);
  if (log === undefined) throw withoutLog();
  // The log first: it says at once when it is not there.
  const shared = await openLog(log, needs);
  try {
    const { close, ...rest } = store === undefined ? await openEmbeddedStore(needs) : await openSharedStore(store, needs);
    return {
      ...rest,
      log: shared,
      async close() {
        await close();
        await shared.close();
      },
    };
  } catch (error) {
    await shared.close();
    throw error;
  }
};

/** For workers: the embedded store is opened once and shared, any other one is only asked before they begin. */
const openHost: OpenHost = async ({ data, durability, log, store, onFailure }) => {
  if (store === undefined) {
    const { openEmbeddedHost } = await import('@millrace/embedded');
    return openEmbeddedHost({ directory: data, durability, onFailure });
  }
  if (log === undefined) throw withoutLog();
  return openSharedStore(store, { data, durability, onFailure });
};

function withoutLog(): StartRefused {
  return new StartRefused(
    'a store that nodes share needs a log that they share, and the embedded log is of one machine',
    'Name one: --log nats://HOST:4222.',
  );
}

async function openEmbeddedStore({ data, durability, onFailure, shared }: Needs): Promise<Store> {
  const { joinEmbedded, openEmbedded } = await import('@millrace/embedded');
  if (shared !== undefined) return joinEmbedded({ port: shared, onFailure });
  return openEmbedded({ directory: data, durability, onFailure });
}

async function openSharedStore(url: string, { data, onFailure }: Needs): Promise<Omit<Store, 'log'>> {
  if (!/^postgres(ql)?:\/\//.test(url))
    throw new StartRefused('the address of the store is none that is known', 'Use postgres://….');
  const { openLeases, openPostgres } = await import('@millrace/store-postgres');
  const { directory, ledger, close } = await openPostgres({ url, onFailure });
  // For the keys, which are never in the store.
  mkdirSync(data, { recursive: true });
  return { directory, ledger, close, openLeases: (node) => openLeases({ url, ...node }) };
}

async function openLog(url: string, { onFailure }: Needs): Promise<Store['log']> {
  if (!/^(nats|tls):\/\//.test(url))
    throw new StartRefused('the address of the log is none that is known', 'Use nats://HOST:4222, or tls://….');
  const { openNats } = await import('@millrace/log-nats');
  return openNats({ ...natsOptionsOf(url), onLost: onFailure });
}
