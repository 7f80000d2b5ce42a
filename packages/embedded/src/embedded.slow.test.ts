/** The embedded store as every driver is tested. What is its own is in the tests beside the code it is about. */
import { logConformance } from '@millrace/conformance/log-conformance';
import { storeConformance } from '@millrace/conformance/store-conformance';
import { openEmbedded } from './embedded.ts';
import type { EmbeddedOptions } from './embedded.ts';
import { LOG_GAPS, STORE_GAPS } from './gaps.ts';
import { temporaryDirectory } from './testing.ts';

async function openStore(options: Partial<EmbeddedOptions> = {}) {
  const directory = temporaryDirectory();
  const openIt = () => openEmbedded({ directory: directory.path, ...options });
  let store = await openIt();
  return {
    store,
    async reopen() {
      await store.close();
      return (store = await openIt());
    },
    async close() {
      await store.close();
      directory.remove();
    },
  };
}

async function openLog(options: Partial<EmbeddedOptions>) {
  const { store, reopen, close } = await openStore(options);
  return { log: store.log, reopen: async () => (await reopen()).log, close };
}

logConformance({ name: 'the embedded log', open: ({ now }) => openLog({ now }), skip: LOG_GAPS });

logConformance({
  name: 'the embedded log, every append sealed and nothing kept in memory',
  open: ({ now }) => openLog({ now, segmentBytes: 1, tailBytes: 0 }),
  skip: LOG_GAPS,
});

storeConformance({
  name: 'the embedded directory and ledger',
  async open() {
    const { store, reopen, close } = await openStore();
    return { directory: store.directory, ledger: store.ledger, claims: store.claims, reopen, close };
  },
  skip: STORE_GAPS,
});
