/** What the servers of this benchmark are asked, each in a process of its own: the gateway and its raw limit alike. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuNow } from '../cpu.ts';
import { spreadOf } from '../figure.ts';

/** `rssMb`: after a forced garbage collection; the process needs --expose-gc. */
export type Question = 'cpu' | 'rssMb';

export const LOOK_MS = 50;
export const LOOKS = 10;

export function answerQuestions(): void {
  process.on('message', (asked: Question) => {
    void (asked === 'cpu' ? Promise.resolve(cpuNow()) : rssMb()).then((answer) => process.send?.(answer));
  });
}

/** What is collected is given back to the system a little later, hence the many looks. */
async function rssMb(): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    globalThis.gc?.();
    await sleep(LOOK_MS);
    looks.push(process.memoryUsage.rss() / 1024 / 1024);
  }
  return spreadOf(looks.slice(LOOKS / 2)).median;
}
