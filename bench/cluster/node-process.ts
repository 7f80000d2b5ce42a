/** One node of a cluster as `millrace start` runs it, less its screen, in a process of its own. Argument: a NodeSetup as JSON. */
import { mkdirSync } from 'node:fs';
import { type OpenStore, start } from '@millrace/gateway/start';
import { openNats } from '@millrace/log-nats';
import { openLeases, openPostgres } from '@millrace/store-postgres';
import { cpuNow } from '../cpu.ts';
import { machineMs } from '../stamp.ts';
import type { NodeSetup, NodeStarted, SlotsTold } from './node.ts';

/** What is under way has 20 s (limits.drainMs). */
const STOP_MS = 30_000;

const { data, nats, postgres, cluster, port, leaseMs } = JSON.parse(process.argv[2] ?? '{}') as NodeSetup;

const openStore: OpenStore = async ({ onFailure }) => {
  const log = await openNats({ servers: nats, stream: cluster, subjectPrefix: cluster, onLost: onFailure });
  const at = { url: postgres, schema: cluster };
  // For the keys, as main.ts makes it.
  mkdirSync(data, { recursive: true });
  const { close, ...store } = await openPostgres({ ...at, onFailure });
  return {
    ...store,
    log,
    openLeases: (node) => openLeases({ ...at, ...node }),
    async close() {
      await close();
      await log.close();
    },
  };
};

/** From then on nobody talks to anybody who waits for its answer: it is told as it comes. */
function tell(told: SlotsTold): void {
  if (process.connected) process.send?.(told);
}

const running = await start({
  options: {
    mode: 'start',
    host: '127.0.0.1',
    port,
    portChosen: true,
    data,
    log: nats,
    store: postgres,
    durability: 'fsync',
    json: true,
    sample: false,
    strictTopics: false,
    allowEgress: ['loopback'],
    limits: { leaseMs },
    metrics: 'loopback',
  },
  version: '0',
  openStore,
  onNotice(notice) {
    if (notice.kind === 'slots_taken' || notice.kind === 'slots_left' || notice.kind === 'slots_lost')
      tell({ slots: notice.kind, now: notice.now, atMs: machineMs() });
  },
  onDeclared: () => undefined,
  onError: (error) => console.error(error),
  onFailure(error) {
    console.error(error);
    process.exit(1);
  },
});

process.on('message', (asked: 'cpu' | 'rssMb') => {
  process.send?.({ answer: asked === 'cpu' ? cpuNow() : process.memoryUsage.rss() / 1024 / 1024 });
});
process.on('disconnect', () => {
  // Where the servers went first, as at the end of a benchmark that failed, it would wait for them.
  setTimeout(() => process.exit(1), STOP_MS).unref();
  void running.stop().then(() => process.exit());
});
process.send?.({ address: running.address, ...(running.key !== undefined && { key: running.key }) } satisfies NodeStarted);
