/** The gateway as a process, on the drivers there are: the only file that knows which. Started by the `millrace` command. */
import type { StartOptions } from './options.ts';
import { serve, type Watch } from './serve.ts';

/** Resolves when it takes events; it ends with the process. What prevents it is said on the screen, with exit code 1. */
export function serveHere(options: StartOptions, watch: Watch = {}): Promise<void> {
  return serve(options, {
    ...watch,
    openStore: async (store) => {
      const { openEmbedded } = await import('@millrace/embedded');
      return openEmbedded(store);
    },
  });
}
