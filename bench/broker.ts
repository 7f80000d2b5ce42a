/** The log on NATS: its appends and reads beside the bare client, and the whole way beside the embedded log. */
import { join } from 'node:path';
import { LOG_SAID, openLogBench } from './broker/log.ts';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { KINDS_SAID, measureKinds, openPlace, type Place } from './place.ts';
import { createRates, latencyOf, type Rate } from './rates.ts';
import { PAYLOAD_BYTES } from './rig.ts';
import { CONCURRENCY } from './sending.ts';
import { startServers, startSyncingNats } from './servers.ts';

const ON_NATS = 'on NATS';
const EMBEDDED = 'embedded';

await runBenchmark('broker', async ({ directory, quick }) => {
  const servers = await startServers('nats');
  if ('skipped' in servers) return servers;
  const syncing = await startSyncingNats();
  const { nats = '' } = servers.urls;
  const events = quick ? 4_000 : 20_000;
  const count = quick ? 2_000 : 8_000;
  const log = await openLogBench(nats, syncing.urls['nats'] ?? '', events);
  const places = {
    [ON_NATS]: await openPlace({ directory: join(directory, 'nats'), nats }),
    [EMBEDDED]: await openPlace({ directory: join(directory, 'embedded') }),
  };
  const { generator, range } = places[ON_NATS];
  const rates = createRates({ generator, receiver: range.receiver, quick });

  async function latencies(kind: Rate): Promise<Sample[]> {
    const straight = await rates.straightAt(kind);
    const samples: Sample[] = [];
    for (const [of, place] of Object.entries(places)) {
      const own = await createRates({ ...place, receiver: place.range.receiver, quick }).at(kind, place.gateway);
      const name = `${of}, ${kind.rate}/s`;
      const figure = (what: string, key: 'p50Ms' | 'p99Ms'): Sample => ({
        name: `${name}, ${what}`,
        unit: 'ms',
        ours: latencyOf(own, key),
        raw: latencyOf(straight, key),
      });
      samples.push(figure('p50', 'p50Ms'), figure('p99', 'p99Ms'));
    }
    return samples;
  }

  return {
    method: [
      `${events} events of ${PAYLOAD_BYTES} bytes per run and kind, a twentieth with one in flight, half with 32, a tenth where every message is synced.`,
      ...LOG_SAID,
      `Publish → webhook: ${count} events per run and kind, from the first request to the gateway until the receiver has all; ${KINDS_SAID} One subscription, ${CONCURRENCY} deliveries at once, signing and attempts on. On NATS: the log there, directory and ledger embedded with fsync. Embedded: the log, too, and with fsync. Raw: as in deliver. Generator, gateway, NATS and receiver share the cores; CPU is that of the gateway process alone.`,
      `Latency: ${rates.said} Raw: the same generator posts the same payloads straight to the receiver.`,
    ],
    // Nothing is asked of a quick run but that it ends.
    warmUps: quick ? 0 : 1,
    async pass() {
      const samples = await log.measure();
      for (const [of, place] of Object.entries(places)) samples.push(...(await measureKinds(place, of, count)));
      for (const kind of rates.kinds) samples.push(...(await latencies(kind)));
      return samples;
    },
    async close() {
      await log.close();
      await Promise.all(Object.values<Place>(places).map((place) => place.close()));
      await servers.remove();
      await syncing.remove();
    },
  };
});
