/** The embedded store as every driver is tested. What is its own is in the tests beside the code it is about. */
import { logConformance } from '@millrace/conformance/log-conformance';
import { storeConformance } from '@millrace/conformance/store-conformance';
import { openEmbedded } from './embedded.ts';
import { temporaryDirectory } from './testing.ts';

logConformance({
  name: 'the embedded log',
  async open({ now }) {
    const directory = temporaryDirectory();
    let store = await openEmbedded({ directory: directory.path, now });
    return {
      log: store.log,
      async reopen() {
        await store.close();
        store = await openEmbedded({ directory: directory.path, now });
        return store.log;
      },
      async close() {
        await store.close();
        directory.remove();
      },
    };
  },
});

storeConformance({
  name: 'the embedded directory and ledger',
  async open() {
    const directory = temporaryDirectory();
    let store = await openEmbedded({ directory: directory.path });
    return {
      directory: store.directory,
      ledger: store.ledger,
      async reopen() {
        await store.close();
        store = await openEmbedded({ directory: directory.path });
        return store;
      },
      async close() {
        await store.close();
        directory.remove();
      },
    };
  },
});
