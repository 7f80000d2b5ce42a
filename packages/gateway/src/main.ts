/** The gateway as a process, on the drivers there are: the only file that knows which. Started by the `millrace` command. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import { type MigrateOptions, type Migrated, migrateLog, type Openers } from './migrate/migrate-log.ts';
import { readMoved } from './migrate/files.ts';
import { storeIn } from './migrate/whereabouts.ts';
import { explained } from './data-refusals.ts';
import { type NatsAddress, natsOptionsOf } from './nats-address.ts';
import type { StartOptions } from './options.ts';
import type { Finding } from './ports/finding.ts';
import { serve, type Watch } from './serve.ts';
import { StartRefused } from './refused.ts';
import { type OpenStore, PRIVATE_UMASK, type Store } from './start.ts';
import type { OpenHost } from './workers/workers.ts';

type Needs = Parameters<OpenStore>[0];

/** Resolves when it takes events; it ends with the process. What prevents it is said on the screen, with exit code 1. */
export function serveHere(options: StartOptions, watch: Watch = {}): Promise<void> {
  return serve(options, { ...watch, openStore, openHost });
}

/** Moves the embedded log of a gateway that is stopped to another one. */
export async function migrateHere(options: MigrateOptions): Promise<Migrated> {
  process.umask(PRIVATE_UMASK);
  // What was typed is looked at before anything is opened.
  natsOf(options.log);
  if (options.store !== undefined) mustBePostgres(options.store);
  try {
    return await migrateLog({ ...options, open: openers, now: Date.now });
  } catch (error) {
    throw explained(error, options.data);
  }
}

export const openStore: OpenStore = async (given) => {
  const { log, store } = given;
  const needs = { ...given, data: whereStored(given) };
  if (log === undefined && store === undefined) return openEmbeddedStore(needs);
  if (log === undefined) throw withoutLog();
  // The log first: it says at once when it is not there.
  const shared = await openLog(log, needs);
  try {
    const { close, ...rest } = store === undefined ? await openEmbeddedStore(needs) : await openSharedStore(store, needs);
    const left = await leftBehind(given, 'log' in rest ? (rest as Store).log : undefined);
    return {
      ...rest,
      ...(left && { leftBehind: left, ledger: alsoFinding(rest.ledger, left) }),
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

/** Events of a log that this gateway does not read any more, and that nobody moved: they go to nobody. */
async function leftBehind({ data, log }: Needs, embedded: Store['log'] | undefined): Promise<Finding | undefined> {
  if (!existsSync(join(data, 'state.db')) || readMoved(data) !== undefined) return undefined;
  if (embedded !== undefined && (await isEmpty(embedded))) return undefined;
  return {
    level: 'problem',
    code: 'log_left_behind',
    problem: `the embedded log of ${data} has events; this gateway reads another log, so what was not delivered of them stays there`,
    advice: `Move them: stop it, then millrace migrate-log --from embedded --to '${log}' --data ${data}. Or start with another --data.`,
  };
}

async function isEmpty(log: Store['log']): Promise<boolean> {
  const ends = await Promise.all(log.shards().map((shard) => log.bounds(shard)));
  return ends.every(({ last }) => last === undefined);
}

function alsoFinding(ledger: Store['ledger'], finding: Finding): Store['ledger'] {
  return { ...ledger, findings: async () => [...((await ledger.findings?.()) ?? []), finding] };
}

/** Of a log that was moved the rest is elsewhere. */
function whereStored(options: Parameters<typeof storeIn>[0]): string {
  const data = storeIn(options);
  if (typeof data !== 'string') throw new StartRefused(data.message, data.advice);
  return data;
}

/** For workers: the embedded store is opened once and shared, any other one is only asked before they begin. */
const openHost: OpenHost = async (given) => {
  const { durability, log, store, onFailure } = given;
  const data = whereStored(given);
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
  if (shared !== undefined) return joinEmbedded({ port: shared, opened: { directory: data, durability }, onFailure });
  return openEmbedded({ directory: data, durability, onFailure });
}

async function openSharedStore(url: string, { data, onFailure }: Needs): Promise<Omit<Store, 'log'>> {
  mustBePostgres(url);
  const { openLeases, openPostgres } = await import('@millrace/store-postgres');
  const { directory, ledger, claims, close } = await openPostgres({ url, onFailure });
  // For the keys, which are never in the store.
  mkdirSync(data, { recursive: true });
  return { directory, ledger, claims, close, openLeases: (node) => openLeases({ url, ...node }) };
}

function mustBePostgres(url: string): void {
  if (!/^postgres(ql)?:\/\//.test(url))
    throw new StartRefused('the address of the store is none that is known', 'Use postgres://….');
}

function natsOf(url: string): NatsAddress {
  if (!/^(nats|tls):\/\//.test(url))
    throw new StartRefused('the address of the log is none that is known', 'Use nats://HOST:4222, or tls://….');
  return natsOptionsOf(url);
}

async function openLog(
  url: string,
  { onFailure, now }: Pick<Needs, 'onFailure'> & { readonly now?: () => number },
): Promise<Store['log']> {
  const options = natsOf(url);
  const { openNats } = await import('@millrace/log-nats');
  return openNats({ ...options, ...(now === undefined ? {} : { now }), onLost: onFailure });
}

const openers: Openers = {
  async former({ data, nowMs, onFailure }) {
    if (!existsSync(join(data, 'state.db')))
      throw new Problem('not_found', `there is no embedded log in ${data}`, {
        advice: 'Name the data directory of the gateway: --data DIRECTORY.',
      });
    const { openEmbedded } = await import('@millrace/embedded');
    return openEmbedded({ directory: data, now: () => nowMs, onFailure });
  },
  log: ({ address, nowMs, onFailure }) => openLog(address, { onFailure, now: () => nowMs }),
  async store({ address, directory, onFailure }) {
    if (address !== undefined) return openSharedStore(address, { data: dirname(directory), durability: 'fsync', onFailure });
    const { openEmbedded } = await import('@millrace/embedded');
    return openEmbedded({ directory, onFailure });
  },
};
