/** The embedded store as every driver is tested. What is its own is in the tests beside the code it is about. */
import { logConformance } from '@millrace/conformance/log-conformance';
import { storeConformance } from '@millrace/conformance/store-conformance';
import { joinEmbedded, openEmbedded, openEmbeddedHost } from './embedded.ts';
import type { EmbeddedHost, EmbeddedOptions } from './embedded.ts';
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

/** A thread of several: what it appends and configures others hear. */
async function openJoined(options: Partial<EmbeddedOptions> = {}) {
  const directory = temporaryDirectory();
  const join = (host: EmbeddedHost) => joinEmbedded({ port: host.share(), ...options, onFailure: () => undefined });
  const openIt = async () => {
    const host = await openEmbeddedHost({ directory: directory.path, ...options });
    return { host, one: await join(host), other: await join(host) };
  };
  let open = await openIt();
  const close = async () => {
    for (const part of [open.one, open.other, open.host]) await part.close();
  };
  return {
    ...open,
    async reopen() {
      await close();
      return (open = await openIt()).one;
    },
    async close() {
      await close();
      directory.remove();
    },
  };
}

logConformance({
  name: 'the embedded log as one of several threads has it',
  async open({ now }) {
    const { one, reopen, close } = await openJoined({ now });
    return { log: one.log, reopen: async () => (await reopen()).log, close };
  },
  skip: LOG_GAPS,
});

storeConformance({
  name: 'the embedded directory and ledger as several threads have them',
  async open() {
    const { one, other, reopen, close } = await openJoined();
    return { directory: one.directory, ledger: one.ledger, claims: one.claims, peer: async () => other, reopen, close };
  },
});

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
