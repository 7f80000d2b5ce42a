import { logConformance } from '@millrace/conformance/log-conformance';
import { openEmbedded } from '/work/main/packages/embedded/src/embedded.ts';
import { temporaryDirectory } from '/work/main/packages/embedded/src/testing.ts';
for (const [name, more] of [['tail 0',{tailBytes:0}],['sealing each, tail 0',{tailBytes:0,segmentBytes:1}]] as const)
logConformance({
  name,
  async open({ now }) {
    const directory = temporaryDirectory();
    let store = await openEmbedded({ directory: directory.path, now, ...more });
    return {
      log: store.log,
      async reopen() { await store.close(); store = await openEmbedded({ directory: directory.path, now, ...more }); return store.log; },
      async close() { await store.close(); directory.remove(); },
    };
  },
});
