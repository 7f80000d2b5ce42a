/** The driver. */
import type { Log } from '@millrace/gateway/ports/log';
import { openNats } from '@millrace/log-nats';
import { mustBe, openClient, pipelined, type Way } from './ways.ts';

/** As the gateway asks for pages of what lies behind. */
const PAGE = { limit: 512, maxBytes: 2 * 1024 * 1024 };

export async function openOurs(servers: string): Promise<Way> {
  const stream = 'OURS';
  const options = { servers, stream, subjectPrefix: 'ours' };
  const log = await openNats(options);
  const { nc, empty } = await openClient(servers, stream);
  const [shard = ''] = log.shards();

  return {
    async append(entries, { calls, perCall }, started) {
      started();
      await pipelined(entries, { calls, perCall }, async (part) => {
        const appended = await log.append(part);
        if (appended.some(({ status }) => status !== 'appended')) throw new Error('an event of the benchmark was refused');
      });
    },
    follow: (count) => followLog(log, shard, count),
    async readBack(count, started) {
      // It has seen nothing of what is there: all comes from the broker.
      const fresh = await openNats(options);
      started();
      let read = 0;
      for (let after = '', atEnd = false; !atEnd;) {
        const page = await fresh.read({ shard, after, ...PAGE });
        read += page.records.length;
        ({ through: after, atEnd } = page);
      }
      mustBe(read, count);
      return fresh.close;
    },
    async empty() {
      await empty();
      await log.trim();
    },
    async close() {
      await log.close();
      await nc.close();
    },
  };
}

/** As the tail of a shard does: a signal, then pages until the end. */
async function followLog(log: Log, shard: string, count: number): Promise<{ readonly came: Promise<void> }> {
  const { promise: came, resolve, reject } = Promise.withResolvers<void>();
  let after = (await log.bounds(shard)).last?.position ?? '';
  let seen = 0;
  let isReading = false;
  let isWanted = false;

  async function read(): Promise<void> {
    isWanted = true;
    if (isReading) return;
    isReading = true;
    while (isWanted) {
      isWanted = false;
      for (let atEnd = false; !atEnd;) {
        const page = await log.read({ shard, after, ...PAGE });
        seen += page.records.length;
        ({ through: after, atEnd } = page);
      }
    }
    isReading = false;
    if (seen < count) return;
    stop();
    resolve();
  }

  const stop = log.onAppend(shard, () => void read().catch(reject));
  return { came };
}
