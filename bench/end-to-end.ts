/** The whole way: published over HTTP, stored, delivered to a webhook; to one endpoint, and to one of a hundred. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import { CONCURRENCY_OF_MANY, KINDS_SAID, measureKinds, openPlace } from './place.ts';
import { PAYLOAD_BYTES } from './rig.ts';
import { CONCURRENCY } from './sending.ts';

const ENDPOINTS = 100;

await runBenchmark('end-to-end', async ({ directory, quick }) => {
  const count = quick ? 4_000 : 12_000;
  const one = await openPlace({ directory: join(directory, 'one') });
  const many = await openPlace({ directory: join(directory, 'many') }, ENDPOINTS);

  return {
    method: [
      `${count} events of ${PAYLOAD_BYTES} bytes per run and kind, from the first request to the gateway until the receiver has all. ${KINDS_SAID} Generator, gateway and receiver are processes of their own; fsync, signing and attempts on.`,
      `1 endpoint: one subscription, ${CONCURRENCY} deliveries at once. ${ENDPOINTS} endpoints: as many ports and subscriptions on one topic, each event for one of them by an equality filter on its data, ${CONCURRENCY_OF_MANY} deliveries at once each.`,
      'Raw: as in deliver, over as many connections, at least one per endpoint. CPU is that of the gateway process, and of the raw sender.',
    ],
    warmUps: quick ? 1 : 3,
    async pass() {
      return [...(await measureKinds(one, '1 endpoint', count)), ...(await measureKinds(many, `${ENDPOINTS} endpoints`, count))];
    },
    async close() {
      await Promise.all([one.close(), many.close()]);
    },
  };
});
