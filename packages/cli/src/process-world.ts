/** The world of a real process. */
import { once } from 'node:events';
import { isatty } from 'node:tty';
import type { Out, World } from './world.ts';

/** Of a process whose reader has gone (`| head`): what a shell reports for SIGPIPE. */
const PIPE_CLOSED = 141;

export function createWorld(process: NodeJS.Process): World {
  let interruption: AbortController | undefined;

  function endWithReader(error: NodeJS.ErrnoException): void {
    if (error.code === 'EPIPE') process.exit(PIPE_CLOSED);
    throw error;
  }

  function outOf(stream: NodeJS.WriteStream & { readonly fd: number }): Out {
    let written = false;
    return {
      write(text) {
        // Only where a verb speaks by itself: a gateway goes on without a reader.
        if (!written) stream.on('error', endWithReader);
        written = true;
        return stream.write(text);
      },
      drained: async () => {
        if (stream.writableNeedDrain) await once(stream, 'drain');
      },
      isTTY: isatty(stream.fd),
      get columns() {
        return isatty(stream.fd) ? stream.columns : undefined;
      },
    };
  }

  return {
    stdout: outOf(process.stdout),
    stderr: outOf(process.stderr),
    get stdin() {
      return Object.assign(process.stdin as unknown as AsyncIterable<Uint8Array>, { isTTY: isatty(process.stdin.fd) });
    },
    environment: process.env,
    directory: process.cwd(),
    interrupted() {
      if (interruption === undefined) {
        const made = new AbortController();
        interruption = made;
        process.once('SIGINT', () => made.abort());
      }
      return interruption.signal;
    },
    async question(text) {
      const { createInterface } = await import('node:readline/promises');
      const line = createInterface({ input: process.stdin, output: process.stderr });
      const closed = once(line, 'close').then(() => undefined);
      try {
        return await Promise.race([line.question(text), closed]);
      } finally {
        line.close();
      }
    },
  };
}
