/**
 * The connection that LISTENs for changes, one per node. Lost, it is made again and what came meanwhile is looked for; so
 * it is also every two seconds, as a connection can go without a word, and a proxy may not pass notifications on.
 */
import type { Connection, Database } from './database.ts';
import type { Feed } from './feed.ts';

const LOOK_MS = 2_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2_000;

export interface Listening {
  close(): void;
}

export function channelOf(schema: string): string {
  return `millrace_${schema}_changes`;
}

interface Needs {
  readonly database: Database;
  readonly feed: Feed;
  readonly origin: string;
}

/** Rejects where the first connection fails; after that it goes on until it is closed. */
export async function listen({ database, feed, origin }: Needs): Promise<Listening> {
  let connection: Connection | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let retryMs = RETRY_MS_MIN;

  async function connect(): Promise<void> {
    const mine = await database.connect({
      onNotice: (payload) => {
        const [seq, from] = payload.split(' ');
        if (from !== origin) feed.heardOf(Number(seq));
      },
      onLost: () => {
        if (connection === mine) again();
      },
    });
    connection = mine;
    if (isClosed) return mine.close();
    await mine.query({ text: `LISTEN ${channelOf(database.schema)}` });
    await feed.look(mine.query);
    retryMs = RETRY_MS_MIN;
    later(LOOK_MS, look);
  }

  async function look(): Promise<void> {
    const mine = connection!;
    await feed.look(mine.query);
    if (connection === mine) later(LOOK_MS, look);
  }

  function again(): void {
    connection?.close();
    connection = undefined;
    later(retryMs, connect);
    retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
  }

  /** One timer at a time; it keeps no process alive. */
  function later(ms: number, work: () => Promise<void>): void {
    clearTimeout(timer);
    if (isClosed) return;
    timer = setTimeout(() => void work().catch(again), ms);
    timer.unref();
  }

  await connect();
  return {
    close() {
      isClosed = true;
      clearTimeout(timer);
      connection?.close();
    },
  };
}
