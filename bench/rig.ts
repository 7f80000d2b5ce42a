/**
 * A gateway as `npm start` composes it, less its HTTP door (that is in gateway-process.ts): the embedded store with fsync,
 * or a log on NATS beside it; undici, the system's clock.
 */
import { randomBytes } from 'node:crypto';
import { openEmbedded } from '@millrace/embedded';
import { openNats } from '@millrace/log-nats';
import type { Draft, Gateway } from '@millrace/gateway/api';
import { createGateway } from '@millrace/gateway/gateway';
import type { Limits } from '@millrace/gateway/limits';
import type { Directory, LatencyClass } from '@millrace/gateway/ports/directory';
import type { Commit, Ledger } from '@millrace/gateway/ports/ledger';
import type { Log } from '@millrace/gateway/ports/log';
import { createUndiciSender } from '@millrace/gateway/senders/undici';
import { systemClock } from '@millrace/gateway/system-clock';
import { createVault, VAULT_KEY_BYTES } from '@millrace/gateway/vault';

export const ENVIRONMENT = 'default';
export const APP = 'shop';
export const TOPIC = 'orders.created';
export const PAYLOAD_BYTES = 1_024;
/** One for all: what one process of a benchmark leaves, another may open. */
const KEY = Buffer.alloc(VAULT_KEY_BYTES, 7);
const WEEK_MS = 7 * 86_400_000;

export interface Rig {
  readonly gateway: Gateway;
  readonly directory: Directory;
  readonly ledger: Ledger;
  /** What went to the log and the ledger so far. */
  readonly counts: { appends: number; attempts: number };
  /** Resolves when that many attempts are durable. */
  recorded(attempts: number): Promise<void>;
  /** Publishes `count` events, `perCall` at a time, `publishers` calls at once. */
  publish(count: number, how: { readonly perCall: number; readonly publishers: number }): Promise<void>;
  close(): Promise<void>;
}

export interface RigOptions {
  readonly directory: string;
  readonly limits?: Partial<Limits>;
  /** Of the embedded log's own memory. */
  readonly tailBytes?: number;
  /** The address of the server that has the log: else it is embedded. */
  readonly nats?: string;
  /** Declared beside TOPIC. */
  readonly topics?: readonly { readonly name: string; readonly latency: LatencyClass }[];
}

export async function openRig({ directory, limits = {}, tailBytes, nats, topics = [] }: RigOptions): Promise<Rig> {
  const store = await openEmbedded({ directory, ...(tailBytes === undefined ? {} : { tailBytes }) });
  const elsewhere = nats === undefined ? undefined : await openNats({ servers: nats });
  const clock = systemClock;
  const counts = { appends: 0, attempts: 0 };
  const waiting = new Set<{ readonly attempts: number; readonly resolve: () => void }>();
  const createdMs = clock.now();
  await store.directory.put('app', ENVIRONMENT, APP, { name: 'Shop', createdMs });
  for (const { name, latency } of [{ name: TOPIC, latency: 'standard' } as const, ...topics])
    await store.directory.put('topic', ENVIRONMENT, name, {
      owner: APP,
      retentionMs: WEEK_MS,
      latency,
      maxBytes: 131_072,
      createdMs,
    });

  function noteAttempts(count: number): void {
    counts.attempts += count;
    for (const one of waiting) {
      if (counts.attempts < one.attempts) continue;
      waiting.delete(one);
      one.resolve();
    }
  }

  const sender = createUndiciSender({ clock });
  const gateway = createGateway({
    ports: {
      log: counting(elsewhere ?? store.log, () => counts.appends++),
      ledger: countingAttempts(store.ledger, noteAttempts),
      directory: store.directory,
      sender,
      clock,
      vault: createVault(KEY),
    },
    limits,
  });
  await gateway.start();

  return {
    gateway,
    directory: store.directory,
    ledger: store.ledger,
    counts,
    recorded: (attempts) =>
      counts.attempts >= attempts ? Promise.resolve() : new Promise((resolve) => waiting.add({ attempts, resolve })),
    async publish(count, { perCall, publishers }) {
      let left = count;
      const publisher = async (): Promise<void> => {
        while (left > 0) {
          const events = eventsOf(Math.min(perCall, left));
          left -= events.length;
          const published = await gateway.publish({ environment: ENVIRONMENT, app: APP, events });
          if (published.some(({ status }) => status !== 'appended')) throw new Error('an event of the benchmark was refused');
        }
      };
      await Promise.all(Array.from({ length: publishers }, publisher));
    },
    async close() {
      await gateway.stop();
      await sender.close();
      await elsewhere?.close();
      await store.close();
    },
  };
}

function counting(log: Log, onAppend: () => void): Log {
  return {
    ...log,
    append(entries) {
      onAppend();
      return log.append(entries);
    },
  };
}

function countingAttempts(ledger: Ledger, onAttempts: (count: number) => void): Ledger {
  return {
    ...ledger,
    async commit(commit: Commit) {
      await ledger.commit(commit);
      onAttempts(commit.attempts?.length ?? 0);
    },
  };
}

/** JSON of 1,024 bytes that does not compress, as an order with a few fields would not either. */
const payload = Buffer.from(
  JSON.stringify({ order: 1, note: randomBytes(PAYLOAD_BYTES).toString('base64') }).slice(0, PAYLOAD_BYTES - 2) + '"}',
);

/** Each with a payload of its own, as a door hands them in. */
export function eventsOf(count: number): Draft[] {
  return Array.from({ length: count }, () => ({ type: TOPIC, datacontenttype: 'application/json', data: Buffer.from(payload) }));
}

/** One webhook subscription for all events, signed. */
export async function subscribe(
  { gateway }: Rig,
  { url, concurrency }: { readonly url: string; readonly concurrency: number },
): Promise<void> {
  await gateway.subscriptions.create(ENVIRONMENT, 'bench', {
    app: APP,
    topics: [TOPIC],
    deliver: { webhook: { url } },
    concurrency,
  });
}
