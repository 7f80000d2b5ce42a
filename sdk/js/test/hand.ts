/** Time, chance and a server in the test's hands, for a client of this folder. */
import type { Clock, Dial, Transport } from '../millrace.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- frames of every shape
export type Frame = any;

export interface HandClock extends Clock {
  /** Fires what falls due on the way, and lets what it started run as far as it comes. */
  advance(ms: number): Promise<void>;
  /** Time passes and no timer fires; what was left of them is left afterwards. */
  sleep(ms: number): void;
  chance: number;
}

export function handClock(): HandClock {
  const timers = new Set<{ readonly atMs: number; readonly work: () => void }>();
  /** Timers stand still in sleep, time does not. */
  let [timerMs, sleptMs] = [0, 0];
  const due = (untilMs: number) =>
    [...timers]
      .filter(({ atMs }) => atMs <= untilMs)
      .reduce<{ atMs: number; work: () => void } | undefined>(
        (first, one) => (first === undefined || one.atMs < first.atMs ? one : first),
        undefined,
      );
  const clock: HandClock = {
    chance: 0.5,
    nowMs: () => timerMs + sleptMs,
    wallMs: () => 1_795_874_436_000 + timerMs + sleptMs,
    random: () => clock.chance,
    after(delayMs, work) {
      const timer = { atMs: timerMs + delayMs, work };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    async advance(ms) {
      const untilMs = timerMs + ms;
      for (let timer = due(untilMs); timer !== undefined; timer = due(untilMs)) {
        timers.delete(timer);
        timerMs = Math.max(timerMs, timer.atMs);
        timer.work();
        await settle();
      }
      timerMs = untilMs;
      await settle();
    },
    sleep: (ms) => void (sleptMs += ms),
  };
  return clock;
}

/** Everything runs that waits for its turn alone. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}

export interface HandServer {
  readonly transport: Transport;
  /** What the client did and nobody has asked for yet, by kind, in order. */
  readonly dials: Dial[];
  readonly frames: Frame[];
  readonly closes: number[];
  /** Of the connection that was opened last. */
  readonly on: Dial['on'];
  /** Of the one before. */
  readonly before: Dial['on'] | undefined;
}

export function handServer(): HandServer {
  const server = { dials: [] as Dial[], frames: [] as Frame[], closes: [] as number[] };
  let on: Dial['on'] | undefined;
  let before: Dial['on'] | undefined;
  return {
    ...server,
    get on() {
      if (on === undefined) throw new Error('the client has opened no connection');
      return on;
    },
    get before() {
      return before;
    },
    transport(dial) {
      before = on;
      on = dial.on;
      server.dials.push(dial);
      let isOver = false;
      return {
        send: (text) => void (isOver || server.frames.push(...[JSON.parse(text)].flat())),
        close(code) {
          if (!isOver) server.closes.push(code);
          isOver = true;
        },
      };
    },
  };
}
