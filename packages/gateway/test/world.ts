/** A whole gateway on memory drivers behind its HTTP door, with the real sender: what the tests of the door ask. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import { randomBytes } from 'node:crypto';
import type { Gateway, Notice } from '../src/api.ts';
import { createGateway } from '../src/gateway.ts';
import { makeKey } from '../src/http/access.ts';
import { createApp, type HttpNeeds } from '../src/http/app.ts';
import { judgeOf } from '../src/http/openapi/test/contract.ts';
import { topicOf } from '../src/http/topic-settings.ts';
import { LIMITS } from '../src/limits.ts';
import type { Directory, Scope } from '../src/ports/directory.ts';
import type { Claims } from '../src/ports/claims.ts';
import type { Ledger } from '../src/ports/ledger.ts';
import type { Log } from '../src/ports/log.ts';
import { createConnect } from '../src/senders/connect.ts';
import { createEgress } from '../src/senders/egress.ts';
import { createUndiciSender } from '../src/senders/undici.ts';
import { systemClock } from '../src/system-clock.ts';
import { createVault, type Vault } from '../src/vault.ts';

export interface Ask {
  readonly key?: string | undefined;
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: LightMyRequestResponse['headers'];
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every shape
  readonly json: any;
}

export interface World {
  readonly app: FastifyInstance;
  readonly gateway: Gateway;
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly vault: Vault;
  /** Of the app `default`, with all scopes. */
  readonly admin: string;
  /** Errors nobody expected; a test that finds one here has found a bug. */
  readonly errors: unknown[];
  /**
   * `POST /v1/events`, as the admin unless `key` says otherwise. Fails where the answer is not what the OpenAPI document says,
   * so that every test of the door is one of the contract, too.
   */
  ask(route: string, ask?: Ask): Promise<Answer>;
  key(app: string, scopes: readonly Scope[], environment?: string): Promise<string>;
  /** Resolves with the first notice of this kind, also one that is there already. */
  notice<K extends Notice['kind']>(kind: K): Promise<Extract<Notice, { kind: K }>>;
}

/** The topics `orders.created` and `orders.paid` are declared. */
export async function world(
  t: Pick<TestContext, 'after'>,
  {
    stores = {},
    directory = createMemoryDirectory(),
    publicUrl,
    vault = createVault(randomBytes(32)),
    ...options
  }: Partial<
    Pick<
      HttpNeeds,
      'undeclared' | 'clock' | 'isLocal' | 'metrics' | 'limits' | 'version' | 'sdkSource' | 'telemetry' | 'onUnsent'
    >
  > & {
    /** Instead of a log of its own. */
    readonly stores?: { readonly log?: Log; readonly claims?: Claims };
    /** One that is there already, as after a restart. */
    readonly directory?: Directory;
    readonly publicUrl?: string;
    readonly vault?: Vault;
  } = {},
): Promise<World> {
  const clock = systemClock;
  const ledger = createMemoryLedger();
  const { log = createMemoryLog(), claims } = stores;
  const sender = createUndiciSender({ clock, connect: createConnect({ egress: createEgress({ allow: ['loopback'] }) }) });
  const notices: Notice[] = [];
  const waiting = new Set<() => void>();
  const onNotice = (notice: Notice): void => {
    notices.push(notice);
    for (const wake of waiting) wake();
  };
  const gateway = createGateway({
    ports: { log, directory, ledger, claims, sender, clock, vault },
    publicUrl: () => publicUrl,
    onNotice,
  });
  for (const app of ['default', 'shop', 'crm'])
    if ((await directory.get('app', 'default', app)) === undefined)
      await directory.put('app', 'default', app, { name: app, createdMs: clock.now() });
  for (const topic of ['orders.created', 'orders.paid'])
    await directory.put('topic', 'default', topic, topicOf({}, { owner: 'default', nowMs: clock.now(), limits: LIMITS }));
  await gateway.start();
  const errors: unknown[] = [];
  async function endAll(): Promise<void> {
    gateway.abandon();
    await sender.close();
  }
  const app = await createApp({
    gateway,
    directory,
    ledger,
    vault,
    clock,
    version: '0.0.0',
    isReady: () => true,
    onError: (error) => errors.push(error),
    ...options,
  }).catch(async (error: unknown) => {
    await endAll();
    throw error;
  });
  t.after(async () => {
    await app.close();
    await endAll();
  });

  async function key(owner: string, scopes: readonly Scope[], environment = 'default'): Promise<string> {
    const { id, value, text } = makeKey({ app: owner, scopes, nowMs: clock.now() });
    await directory.put('key', environment, id, value);
    return text;
  }
  const admin = await key('default', ['admin']);

  return {
    app,
    gateway,
    directory,
    ledger,
    vault,
    admin,
    errors,
    key,
    async ask(route, { key = admin, json, body, headers = {} } = {}) {
      const [method = '', url = ''] = route.split(' ');
      const payload = json === undefined ? body : JSON.stringify(json);
      const response = await app.inject({
        method: method as 'GET',
        url,
        headers: {
          ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(payload === undefined ? {} : { payload }),
      });
      const { statusCode: status, headers: answered, body: text } = response;
      const complaint = (await judgeOf(app))({ method, url, sent: json, status, headers: answered, text });
      assert.equal(complaint, undefined, `${route} → ${status}: ${complaint}\n${text.slice(0, 2_000)}`);
      return { status, headers: answered, text, json: jsonOf(text) };
    },
    async notice(kind) {
      for (;;) {
        const found = notices.find((notice) => notice.kind === kind);
        if (found !== undefined) return found as Extract<Notice, { kind: typeof kind }>;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // not every answer is JSON
  }
}
