/** One fresh process whose memory is looked at. */
import { setTimeout } from 'node:timers/promises';
import { spreadOf } from './figure.ts';
import { APP, ENVIRONMENT, openRig, type Rig, subscribe, TOPIC } from './rig.ts';

export interface Asked {
  /** `prepare`: make the subscriptions that a later process starts with. */
  readonly what: 'bare' | 'idle' | 'load' | 'prepare';
  readonly directory: string;
  readonly url?: string;
  readonly loadMs?: number;
  readonly subscriptions?: number;
}

const LOOK_MS = 50;
const LOOKS = 20;
/** Published and not yet delivered, at most. */
const AHEAD = 2_000;
const BATCH = 100;

async function lookAtMemory(): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    await setTimeout(LOOK_MS);
    looks.push(process.memoryUsage.rss() / 1024 / 1024);
  }
  return spreadOf(looks).median;
}

async function load(rig: Rig, { url = '', loadMs = 0 }: Asked): Promise<number> {
  await subscribe(rig, { url, concurrency: 64 });
  const endMs = performance.now() + loadMs;
  let published = 0;
  const publishing = (async () => {
    while (performance.now() < endMs) {
      await rig.publish(BATCH, { perCall: BATCH, publishers: 1 });
      published += BATCH;
      await rig.recorded(published - AHEAD);
    }
  })();
  await setTimeout(loadMs - LOOK_MS * LOOKS);
  const rssMb = await lookAtMemory();
  await publishing;
  await rig.recorded(published);
  return rssMb;
}

async function prepare({ gateway, publish }: Rig, { subscriptions = 0 }: Asked): Promise<void> {
  let next = 0;
  const creator = async (): Promise<void> => {
    for (let n = next++; n < subscriptions; n = next++) {
      await gateway.subscriptions.create(ENVIRONMENT, `s${n}`, {
        app: APP,
        topics: [TOPIC],
        filter: { data: { tenant: [`tenant-${n}`] } },
        deliver: { webhook: { url: `https://app-${n}.example/hooks` } },
      });
    }
  };
  await Promise.all(Array.from({ length: 256 }, creator));
  // With an event newer than all of them and a checkpoint, caught-up lanes leave nothing behind.
  await publish(1, { perCall: 1, publishers: 1 });
  await setTimeout(2_500);
}

const asked = JSON.parse(process.argv[2] ?? '{}') as Asked;
if (asked.what === 'bare') process.send?.({ rssMb: await lookAtMemory() });
else {
  const rig = await openRig({ directory: asked.directory });
  let rssMb = 0;
  if (asked.what === 'prepare') await prepare(rig, asked);
  else if (asked.what === 'load') rssMb = await load(rig, asked);
  else {
    await setTimeout(500);
    rssMb = await lookAtMemory();
  }
  await rig.close();
  process.send?.({ rssMb });
}
process.disconnect?.();
