/** Resident memory of the gateway's process: idle, under load, with many idle subscriptions. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import type { Asked } from './memory-process.ts';
import { nextMessage, startProcess, startReceiver } from './processes.ts';

const SUBSCRIPTIONS = 10_000;

await runBenchmark('memory', async ({ directory, quick }) => {
  const receiver = await startReceiver();
  const loadMs = quick ? 2_000 : 7_000;
  const subscribed = join(directory, 'subscribed');
  await measured({ what: 'prepare', directory: subscribed, subscriptions: SUBSCRIPTIONS });

  async function measured(asked: Asked): Promise<number> {
    const child = startProcess('memory-process.ts', [JSON.stringify(asked)]);
    const { rssMb } = await nextMessage<{ readonly rssMb: number }>(child);
    await new Promise((resolve) => child.once('exit', resolve));
    return rssMb;
  }

  return {
    method: [
      'Every figure is of a fresh process: the median of its resident set (process.memoryUsage.rss(), every 50 ms) over the last second, without any forced garbage collection. Raw: a Node process that has done nothing but load the same modules.',
      `Under load: 1 KB events published in batches of 100 and delivered for ${loadMs} ms, never more than 2,000 of them undelivered; the ring of the last events, up to 64 MB, fills meanwhile. ${SUBSCRIPTIONS} idle subscriptions: started anew in a data directory that has them.`,
    ],
    warmUps: 0,
    async pass(run): Promise<readonly Sample[]> {
      const raw = await measured({ what: 'bare', directory });
      const fresh = (name: string): string => join(directory, `${name}-${run}`);
      const figure = async (name: string, asked: Asked): Promise<Sample> => ({
        name,
        unit: 'MB',
        ours: await measured(asked),
        raw,
      });
      return [
        await figure('idle', { what: 'idle', directory: fresh('idle') }),
        await figure('under load', { what: 'load', directory: fresh('load'), url: receiver.url, loadMs }),
        await figure(`${SUBSCRIPTIONS} idle subscriptions`, { what: 'idle', directory: subscribed }),
      ];
    },
    close: () => Promise.resolve(receiver.close()),
  };
});
