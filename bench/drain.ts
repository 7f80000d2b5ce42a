/** A backlog, delivered once its subscription is resumed: out of the ring, and out of the log. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { ENVIRONMENT, openRig, PAYLOAD_BYTES, type Rig, subscribe } from './rig.ts';
import { CONCURRENCY, openRange, samplesOf, type Timed } from './sending.ts';

const AIM = 0.8;
const MB = 1024 * 1024;

await runBenchmark('drain', async ({ directory, quick }) => {
  const count = quick ? 5_000 : 16_000;
  const range = await openRange();
  const ring = await openRig({ directory: join(directory, 'ring') });
  // Neither we nor the store remember more than the last moments: everything is read again.
  const log = await openRig({ directory: join(directory, 'log'), limits: { ringBytes: MB }, tailBytes: MB });
  for (const rig of [ring, log]) await subscribe(rig, { url: range.receiver.url, concurrency: CONCURRENCY });

  async function drain(rig: Rig): Promise<Timed> {
    const before = rig.counts.attempts;
    await rig.gateway.subscriptions.pause(ENVIRONMENT, 'bench');
    await rig.publish(count, { perCall: 100, publishers: 4 });
    return range.time(count, async () => {
      await rig.gateway.subscriptions.resume(ENVIRONMENT, 'bench');
      await rig.recorded(before + count);
    });
  }

  return {
    method: [
      `${count} events of ${PAYLOAD_BYTES} bytes per run, published while the subscription is paused; from the call to resume until the receiver has all; fsync, signing and attempts on; ${CONCURRENCY} deliveries at once.`,
      'Ring: the backlog is still in memory (64 MB). Log: with ring and store memory of 1 MB each, it is read from the store. Raw: as in deliver, between the two.',
    ],
    async pass(): Promise<readonly Sample[]> {
      const [ofRing, raw, ofLog] = [await drain(ring), await range.timeRaw(count), await drain(log)];
      return [...samplesOf('drain, ring', ofRing, raw, AIM), ...samplesOf('drain, log', ofLog, raw, AIM)];
    },
    async close() {
      await ring.close();
      await log.close();
      range.close();
    },
  };
});
