import { leasesConformance } from '@millrace/conformance/leases-conformance';
import { logConformance } from '@millrace/conformance/log-conformance';
import { storeConformance } from '@millrace/conformance/store-conformance';
import { createMemoryClaims } from './claims.ts';
import { createMemoryDirectory } from './directory.ts';
import { createMemoryCluster } from './leases.ts';
import { createMemoryLedger } from './ledger.ts';
import { createMemoryLog } from './log.ts';

for (const shards of [1, 3]) {
  logConformance({
    name: `the memory log with ${shards} shard${shards === 1 ? '' : 's'}`,
    async open({ now }) {
      const log = createMemoryLog({ shards, now });
      return { log, close: () => log.close() };
    },
  });
}

logConformance({
  name: 'the memory log that leaves keys to the gateway',
  async open({ now }) {
    const log = createMemoryLog({ now, dedupe: false });
    return { log, close: () => log.close() };
  },
});

storeConformance({
  name: 'the memory stores',
  async open() {
    const stores = { directory: createMemoryDirectory(), ledger: createMemoryLedger(), claims: createMemoryClaims() };
    return { ...stores, peer: async () => stores, close: async () => {} };
  },
});

leasesConformance({
  name: 'leases in memory',
  async open() {
    const clock = { ms: 1_000 };
    const ledger = createMemoryLedger();
    const cluster = createMemoryCluster({ ledger, now: () => clock.ms, leaseMs: 1_000 });
    return {
      ledger,
      join: (node) => cluster.join(node, `http://${node}`),
      expire: () => void (clock.ms += 1_001),
      close: async () => {},
    };
  },
});
