/** The gateway as the other processes see it: the rig with its HTTP door, in a process of its own. Argument: a Setup as JSON. */
import { createApp } from '@millrace/gateway/http/app';
import { makeKey } from '@millrace/gateway/http/access';
import type { Gateway, SubscriptionSpec } from '@millrace/gateway/api';
import type { LatencyClass } from '@millrace/gateway/ports/directory';
import { createVault } from '@millrace/gateway/vault';
import { systemClock } from '@millrace/gateway/system-clock';
import { cpuNow } from './cpu.ts';
import { APP, ENVIRONMENT, openRig, type Rig } from './rig.ts';

export interface Setup {
  readonly directory: string;
  /** The address of the server that has the log: else it is embedded. */
  readonly nats?: string;
  /** Beside the topic of the rig. */
  readonly topics?: readonly { readonly name: string; readonly latency: LatencyClass }[];
  /** The raw limit of the door: it says that every event is stored, and stores none. */
  readonly hollow?: boolean;
}

interface Named {
  readonly environment: string;
  readonly id: string;
}

export type Verbs = ReturnType<typeof verbsOf>;

function verbsOf({ gateway, counts, recorded }: Rig) {
  return {
    cpu: async () => cpuNow(),
    rssMb: async () => process.memoryUsage.rss() / 1024 / 1024,
    counts: async () => ({ ...counts }),
    /** Answers when that many attempts are durable. */
    recorded: async (attempts: number) => {
      await recorded(attempts);
      return counts.attempts;
    },
    subscribe: async ({ environment, id, spec }: Named & { readonly spec: SubscriptionSpec }) => {
      await gateway.subscriptions.create(environment, id, spec);
      return id;
    },
    unsubscribe: ({ environment, id }: Named) => gateway.subscriptions.delete(environment, id),
    resume: async ({ environment, id }: Named) => (await gateway.subscriptions.resume(environment, id)).version,
    health: ({ environment, id }: Named) => gateway.health(environment, id),
  };
}

/** Everything of the door is at work, nothing behind it. */
function hollowOf(gateway: Gateway): Gateway {
  return {
    ...gateway,
    publish: async ({ events }) =>
      events.map(() => ({
        status: 'appended',
        id: 'evt_0000000000000000000000000',
        shard: 'main',
        position: '0000000000000001',
      })),
  };
}

const { directory, topics = [], hollow = false, nats } = JSON.parse(process.argv[2] ?? '{}') as Setup;
const rig = await openRig({ directory, topics, ...(nats === undefined ? {} : { nats }) });
const { id, value, text } = makeKey({ app: APP, scopes: ['admin'], nowMs: Date.now() });
await rig.directory.put('key', ENVIRONMENT, id, value, 'absent');
const app = await createApp({
  gateway: hollow ? hollowOf(rig.gateway) : rig.gateway,
  directory: rig.directory,
  ledger: rig.ledger,
  vault: createVault(new Uint8Array(32)),
  clock: systemClock,
  version: '0',
  isReady: () => true,
  onError: (error) => console.error(error),
});
await app.listen({ host: '127.0.0.1', port: 0 });

const verbs = verbsOf(rig);
process.on('message', ({ verb, of }: { readonly verb: keyof Verbs; readonly of: never }) => {
  void verbs[verb](of).then((answer: unknown) => process.send?.(answer));
});
process.on('disconnect', () => {
  app.server.closeAllConnections();
  void app.close().then(() => rig.close());
});
process.send?.({ port: (app.server.address() as { readonly port: number }).port, key: text });
