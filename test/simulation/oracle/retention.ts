/** Which events retention may have taken by now. */
import type { Fact } from './facts.ts';

export interface Retention {
  declared(environment: string, topic: string, retentionMs: number): void;
  /** Wall time moves; it may have been later before. */
  tick(wallMs: number): void;
  expired(fact: Fact): boolean;
}

export function createRetention(): Retention {
  const shortest = new Map<string, number>();
  let latestMs = 0;
  return {
    declared(environment, topic, retentionMs) {
      const name = `${environment} ${topic}`;
      shortest.set(name, Math.min(shortest.get(name) ?? Number.POSITIVE_INFINITY, retentionMs));
    },
    tick(wallMs) {
      latestMs = Math.max(latestMs, wallMs);
    },
    expired: ({ environment, topic, timeMs }) =>
      latestMs - timeMs >= (shortest.get(`${environment} ${topic}`) ?? Number.POSITIVE_INFINITY),
  };
}
