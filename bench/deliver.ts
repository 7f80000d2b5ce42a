/** Events published in batches, delivered to one receiver as they come: end to end, beside the HTTP client alone. */
import { runBenchmark } from './child.ts';
import { openRig, PAYLOAD_BYTES, subscribe } from './rig.ts';
import { CONCURRENCY, openRange, samplesOf } from './sending.ts';

const AIM = 0.6;
const PER_CALL = 100;
const PUBLISHERS = 4;

await runBenchmark('deliver', async ({ directory, quick }) => {
  const count = quick ? 5_000 : 20_000;
  const range = await openRange();
  const rig = await openRig({ directory });
  await subscribe(rig, { url: range.receiver.url, concurrency: CONCURRENCY });

  return {
    method: [
      `${count} events of ${PAYLOAD_BYTES} bytes per run, ${PER_CALL} per publish call, ${PUBLISHERS} calls at once, from the first call until the receiver has all; fsync, signing and attempts on; one subscription, ${CONCURRENCY} deliveries at once.`,
      'Raw: a process with nothing but undici clients posts as many requests, signed beforehand, with the same headers, to the same receiver, as many at once.',
      'CPU is that of the whole process (ours: publishing, store thread and recording included), the receiver left out.',
    ],
    async pass() {
      const before = rig.counts.attempts;
      const ours = await range.time(count, async () => {
        await rig.publish(count, { perCall: PER_CALL, publishers: PUBLISHERS });
        await rig.recorded(before + count);
      });
      return samplesOf('deliver', ours, await range.timeRaw(count), AIM);
    },
    async close() {
      await rig.close();
      range.close();
    },
  };
});
