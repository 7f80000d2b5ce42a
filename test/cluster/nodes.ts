/** Nodes of a cluster as real processes, on a NATS and a Postgres of their own. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ready, ready, type Running, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { findBroker } from '../../scripts/brokers/find.ts';
import { freePort } from '../../scripts/brokers/servers.ts';

export interface Brokers {
  readonly log: string;
  readonly store: string;
}

export interface TestNode extends Ready {
  readonly running: Running;
}

type Suite = Pick<TestContext, 'after'>;

/** Why there are none on this machine; else what they are, to be removed in the end. */
export async function findBrokers(): Promise<
  { readonly skip: string } | (Brokers & { readonly skip: false; remove(): Promise<void> })
> {
  const nats = await findBroker('nats');
  const postgres = await findBroker('postgres');
  if (nats.skip === false && postgres.skip === false)
    return {
      skip: false,
      log: nats.server.url,
      store: postgres.server.url,
      async remove() {
        await nats.server.remove();
        await postgres.server.remove();
      },
    };
  await nats.server?.remove();
  await postgres.server?.remove();
  return { skip: [nats.skip, postgres.skip].filter(Boolean).join('; ') };
}

/** What nodes that share a store have in common. */
export function sharedKey(): NodeJS.ProcessEnv {
  return { MILLRACE_SECRET_KEY: randomBytes(32).toString('base64') };
}

/** The key of the first node's first start counts at all of them. */
export async function startNode(
  t: Suite,
  { log, store }: Brokers,
  {
    environment,
    key,
    limits = [],
  }: { readonly environment: NodeJS.ProcessEnv; readonly key?: string; readonly limits?: readonly string[] },
): Promise<TestNode> {
  const data = temporary(t);
  const port = String(await freePort());
  const settings = ['leaseMs=2000', ...limits].flatMap((limit) => ['--limit', limit]);
  const shared = ['--log', log, '--store', store, ...settings, '--allow-egress', 'loopback'];
  const running = startProcess(t, ['start', '--json', '--port', port, '--data', data, '--auto-topics', ...shared], environment);
  if (key === undefined) {
    const first = await ready(running, data);
    return { ...first, ask: askWith(first.address, first.key), running };
  }
  const { address, curl } = (await running.line(({ kind }) => kind === 'ready')) as unknown as Ready;
  return { running, address, key, curl, ask: askWith(address, key) };
}

/** As a good client does: what is being moved to another node is asked for again. */
function askWith(address: string, key: string): Ready['ask'] {
  return async (route, json) => {
    const [method = '', path = ''] = route.split(' ');
    for (;;) {
      const response = await fetch(address + path, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(json === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      });
      const text = await response.text();
      if (response.status !== 503) return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
      // real time: what it waits for happens in other processes
      await sleep(Number(response.headers.get('retry-after')) * 1_000);
    }
  };
}
