/**
 * The outer border by hand: a clock that moves only when a test says so, a sender that answers as scripted, and a
 * gateway on memory drivers between the two. Nothing here waits for real time.
 */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import type { Created, Draft, Gateway, Notice, Published, SubscriptionSpec } from '../src/api.ts';
import { createGateway } from '../src/gateway.ts';
import type { Limits } from '../src/limits.ts';
import type { Clock } from '../src/ports/clock.ts';
import type { Directory, Topic } from '../src/ports/directory.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import type { Log } from '../src/ports/log.ts';
import type { Sender, SendRequest, SendResult } from '../src/ports/sender.ts';
import { createVault } from '../src/vault.ts';

export const START_MS = Date.UTC(2026, 0, 1);

export interface HandClock extends Clock {
  /** Fires what falls due on the way, each at its time, and lets what it started run as far as it comes. */
  advance(ms: number): Promise<void>;
  /** Time goes by and no timer fires, as for a process that is stopped: they are due when it goes on. */
  pass(ms: number): void;
  /** Moves wall time alone, as an operator or NTP does. */
  jump(ms: number): void;
  /** Timers that have not fired yet. */
  readonly armed: number;
}

export function createHandClock(seed = 1): HandClock {
  const timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();
  let nowMs = 0;
  let offsetMs = START_MS;

  function nextBefore(untilMs: number) {
    let first: { readonly atMs: number; readonly callback: () => void } | undefined;
    for (const timer of timers) if (timer.atMs <= untilMs && (first === undefined || timer.atMs < first.atMs)) first = timer;
    return first;
  }

  return {
    now: () => offsetMs + nowMs,
    monotonic: () => nowMs,
    random: chance(seed),
    after(delayMs, callback) {
      const timer = { atMs: nowMs + Math.max(0, delayMs), callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      for (let timer = nextBefore(untilMs); timer !== undefined; timer = nextBefore(untilMs)) {
        timers.delete(timer);
        nowMs = Math.max(nowMs, timer.atMs);
        timer.callback();
        await settle();
      }
      nowMs = untilMs;
    },
    pass: (ms) => void (nowMs += ms),
    jump: (ms) => void (offsetMs += ms),
    get armed() {
      return timers.size;
    },
  };
}

/** Lets everything run that waits for nothing but its turn: the memory drivers answer in microtasks. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}

/** mulberry32: the same seed, the same chances. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface Sent extends SendRequest {
  /** `ce-id`. */
  readonly event: string;
  /** Wall time of the request. */
  readonly atMs: number;
  readonly answered: boolean;
  answer(result: number | SendResult): void;
}

export interface ScriptedSender extends Sender {
  readonly sent: Sent[];
  /** What to answer: a status, a result, or undefined to leave it open until the test answers. */
  script: (request: Sent) => number | SendResult | undefined;
}

export function createScriptedSender(clock: Clock): ScriptedSender {
  const open = new Set<Sent>();
  const sender: ScriptedSender = {
    sent: [],
    script: () => 200,
    send(request) {
      return new Promise((resolve) => {
        let answered = false;
        const sent: Sent = {
          ...request,
          event: request.headers['ce-id'] ?? '',
          atMs: clock.now(),
          get answered() {
            return answered;
          },
          answer(result) {
            answered = true;
            open.delete(sent);
            resolve(typeof result === 'number' ? { status: result, durationMs: 1 } : result);
          },
        };
        sender.sent.push(sent);
        open.add(sent);
        const result = sender.script(sent);
        if (result !== undefined) sent.answer(result);
      });
    },
    async close() {
      for (const sent of open) sent.answer({ error: 'aborted', detail: '', durationMs: 1 });
    },
  };
  return sender;
}

export const failure = (error: 'refused' | 'reset' | 'timeout'): SendResult => ({ error, detail: error, durationMs: 1 });

export interface HandWorld {
  readonly clock: HandClock;
  readonly sender: ScriptedSender;
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly notices: Notice[];
  /** The one that runs now. */
  readonly gateway: Gateway;
  /** Ids sent since the last call, in order. */
  fresh(): string[];
  subscribe(id: string, spec?: Partial<SubscriptionSpec>): Promise<Created>;
  /** `orders.created` events with these ids; `a/1` has the key `a`. */
  publish(...ids: readonly string[]): Promise<readonly Published[]>;
  /** Another process over the same (or other) stores. */
  restart(how: 'stop' | 'abandon', stores?: { log?: Log; ledger?: Ledger }): Promise<void>;
}

export const TOPIC: Topic = {
  owner: 'shop',
  retentionMs: 7 * 86_400_000,
  latency: 'standard',
  maxBytes: 524_288,
  createdMs: START_MS,
};

export interface HandOptions {
  readonly limits?: Partial<Limits>;
  readonly topics?: Readonly<Record<string, Partial<Topic>>>;
  readonly publicUrl?: string;
}

/** The apps `shop` and `crm`, the topic `orders.created`, and what `options` adds. */
export async function handWorld(
  t: Pick<TestContext, 'after'>,
  { limits = {}, topics = {}, publicUrl }: HandOptions = {},
): Promise<HandWorld> {
  const clock = createHandClock();
  const sender = createScriptedSender(clock);
  const directory = createMemoryDirectory();
  const vault = createVault(new Uint8Array(32).fill(7));
  const notices: Notice[] = [];
  let log = createMemoryLog({ now: clock.now });
  let ledger = createMemoryLedger();
  let told = 0;

  async function begin(): Promise<Gateway> {
    const ports = { log, directory, ledger, sender, clock, vault };
    const gateway = createGateway({ ports, limits, publicUrl: () => publicUrl, onNotice: (notice) => notices.push(notice) });
    await gateway.start();
    return gateway;
  }

  for (const app of ['shop', 'crm']) await directory.put('app', 'default', app, { name: app, createdMs: START_MS });
  for (const [topic, settings] of Object.entries({ 'orders.created': {}, ...topics })) {
    await directory.put('topic', 'default', topic, { ...TOPIC, ...settings });
  }
  let gateway = await begin();
  t.after(() => gateway.abandon());

  return {
    clock,
    sender,
    directory,
    notices,
    get log() {
      return log;
    },
    get ledger() {
      return ledger;
    },
    get gateway() {
      return gateway;
    },
    fresh() {
      const ids = sender.sent.slice(told).map(({ event }) => event);
      told = sender.sent.length;
      return ids;
    },
    async subscribe(id, spec = {}) {
      const created = await gateway.subscriptions.create('default', id, { ...SUBSCRIPTION, ...spec });
      await settle();
      return created;
    },
    async publish(...ids) {
      const published = await gateway.publish({ environment: 'default', app: 'shop', events: ids.map(draftOf) });
      for (const one of published) assert.equal(one.status, 'appended');
      await settle();
      return published;
    },
    async restart(how, stores = {}) {
      if (how === 'stop') await gateway.stop();
      else gateway.abandon();
      log = stores.log ?? log;
      ledger = stores.ledger ?? ledger;
      gateway = await begin();
      await settle();
    },
  };
}

export const SUBSCRIPTION: SubscriptionSpec = {
  app: 'crm',
  topics: ['orders.*'],
  deliver: { webhook: { url: 'https://crm.example/hooks' } },
  retry: { schedule: ['10s', '1m'], jitter: 0 },
};

export function draftOf(id: string): Draft {
  const [key = '', rest] = id.split('/');
  const extensions = rest === undefined ? {} : { partitionkey: key };
  return { type: 'orders.created', source: '/shop', id, extensions, data: Buffer.from(JSON.stringify({ id })) };
}
