/** A whole gateway in this process, on memory drivers: answers that nobody invented. */
import type { TestContext } from 'node:test';
import type { Notice } from '@millrace/gateway/api';
import { start } from '@millrace/gateway/start';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import { VERSION } from '../src/program.ts';
import { type Around, type Ended, millrace, temporary } from './world.ts';

export interface Served {
  readonly address: string;
  readonly key: string;
  /** The command against it, as an admin. */
  run(args: readonly string[], around?: Around): Promise<Ended>;
  /** As above; must go well. */
  must(...args: readonly string[]): Promise<Ended>;
  /** Runs again until it is so: outcomes are written a moment after the endpoint answered. */
  until(args: readonly string[], isSo: (ended: Ended) => boolean, around?: Around): Promise<Ended>;
  /** Resolves with the first notice of this kind, also one that is there already. */
  notice(kind: Notice['kind']): Promise<Notice>;
  subscribe(id: string, url: string, members?: object): Promise<void>;
  publish(id: string, ...more: readonly string[]): Promise<void>;
}

/** The topic `orders.created` is declared; others are not made by publishing. */
export async function served(t: Pick<TestContext, 'after'>): Promise<Served> {
  const notices: Notice[] = [];
  const waiting = new Set<() => void>();
  const errors: unknown[] = [];
  const running = await start({
    options: {
      mode: 'dev',
      host: '127.0.0.1',
      port: 0,
      portChosen: true,
      data: temporary(t),
      durability: 'relaxed',
      json: true,
      sample: false,
      strictTopics: true,
      allowEgress: [],
      limits: {},
      metrics: 'loopback',
    },
    version: VERSION,
    openStore: async () => ({
      log: createMemoryLog(),
      directory: createMemoryDirectory(),
      ledger: createMemoryLedger(),
      close: async () => undefined,
    }),
    onNotice(notice) {
      notices.push(notice);
      for (const wake of waiting) wake();
    },
    onDeclared: () => undefined,
    onError: (error) => errors.push(error),
    onFailure: (error) => errors.push(error),
  });
  t.after(async () => {
    await running.stop();
    if (errors.length > 0) throw new AggregateError(errors, 'the gateway had errors');
  });
  const { address, key = '' } = running;
  const run: Served['run'] = (args, around) => millrace([...args, '--url', address, '--key', key], around);

  async function must(args: readonly string[], around?: Around): Promise<Ended> {
    const ended = await run(args, around);
    if (ended.exit !== 0) throw new Error(`${args.join(' ')}\n${ended.stderr}`);
    return ended;
  }
  await must(['topic', 'create', 'orders.created']);

  return {
    address,
    key,
    run,
    must: (...args) => must(args),
    async until(args, isSo, around) {
      for (;;) {
        const ended = await run(args, around);
        if (isSo(ended)) return ended;
      }
    },
    async notice(kind) {
      for (;;) {
        const found = notices.find((notice) => notice.kind === kind);
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
    async subscribe(id, url, members = {}) {
      const stdin = JSON.stringify({ topics: ['>'], deliver: { webhook: { url } }, ...members });
      await must(['subscription', 'create', id, '--file', '-'], { stdin });
    },
    async publish(id, ...more) {
      await must(['publish', 'orders.created', '--id', id, '--source', '/s', ...more]);
    },
  };
}
