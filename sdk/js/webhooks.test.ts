/** Signing, verifying and receiving, with the vectors and with two libraries that know nothing of Millrace. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import { json } from 'node:stream/consumers';
import { describe, test } from 'node:test';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { listen } from '../../packages/gateway/test/receivers.ts';
import {
  type DurableStorage,
  durableObjectStore,
  type GatewayError,
  memoryStore,
  postgresStore,
  type ReceivedEvent,
  receiver,
  type ReceiverOptions,
  type SeenStore,
  sign,
  signSimple,
  sqliteStore,
  verify,
  VerifyError,
  verifySimple,
} from './millrace.ts';
import { collected } from './test/collected.ts';

interface Vectors {
  readonly sign: readonly {
    readonly name: string;
    readonly id: string;
    readonly timestampSeconds: number;
    readonly body?: string;
    readonly bodyBase64?: string;
    readonly secrets: readonly string[];
    readonly signature: string;
  }[];
  readonly simple: readonly {
    readonly name: string;
    readonly secret: string;
    readonly body: string;
    readonly signature: string;
  }[];
  readonly verify: readonly {
    readonly name: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
    readonly secrets: readonly string[];
    readonly nowSeconds: number;
    readonly reason: string | null;
  }[];
  readonly refusedSecrets: readonly { readonly name: string; readonly secret: string }[];
}

const vectors = JSON.parse(readFileSync(new URL('../../spec/vectors/signatures.json', import.meta.url), 'utf8')) as Vectors;
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OTHER = 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

const reasonOf = (work: Promise<unknown>): Promise<string | null> =>
  work.then(
    () => null,
    (error: unknown) => (error instanceof VerifyError ? error.message : String(error)),
  );

describe('signatures', () => {
  for (const { name, id, timestampSeconds, body, bodyBase64, secrets, signature } of vectors.sign)
    test(`signs ${name}`, async () => {
      const bytes = body ?? new Uint8Array(Buffer.from(bodyBase64 ?? '', 'base64'));
      assert.equal(await sign({ id, timestampSeconds, body: bytes, secrets }), signature);
    });
  for (const { name, secret, body, signature } of vectors.simple)
    test(`signs and verifies ${name}`, async () => {
      assert.equal(await signSimple(secret, body), signature);
      const headers = { 'x-signature': signature, 'x-idempotency-key': 'msg_1' };
      assert.deepEqual(await verifySimple({ headers, body, secrets: ['another', secret] }), { id: 'msg_1' });
      assert.equal(await reasonOf(verifySimple({ headers, body: `${body}!`, secrets: [secret] })), 'no_matching_signature');
      assert.equal(
        await reasonOf(verifySimple({ headers: { 'x-signature': 'z' }, body, secrets: [secret] })),
        'no_matching_signature',
      );
      assert.equal(await reasonOf(verifySimple({ headers: {}, body, secrets: [secret] })), 'missing_header');
      assert.equal(await reasonOf(verifySimple({ headers, body, secrets: [''] })), 'bad_secret');
    });
  for (const { name, headers, body, secrets, nowSeconds, reason } of vectors.verify)
    test(`verify: ${name}`, async () => {
      const one = { body, secrets, nowMs: nowSeconds * 1_000 };
      assert.equal(await reasonOf(verify({ ...one, headers })), reason);
      assert.equal(await reasonOf(verify({ ...one, headers: new Headers(headers) })), reason);
    });
  test('signatures in several headers are looked at, each', async () => {
    const [one] = vectors.verify;
    assert.ok(one);
    const signatures = ['v1,AAAA', one.headers['webhook-signature'] ?? ''];
    await verify({
      headers: { ...one.headers, 'webhook-signature': signatures },
      body: one.body,
      secrets: one.secrets,
      nowMs: one.nowSeconds * 1_000,
    });
  });

  for (const { name, secret } of vectors.refusedSecrets)
    test(`refuses a secret: ${name}`, async () => {
      const headers = vectors.verify[0]?.headers ?? {};
      assert.equal(await reasonOf(verify({ headers, body: '', secrets: [secret], nowMs: 1_614_265_330_000 })), 'bad_secret');
      assert.equal(await reasonOf(sign({ id: 'a', timestampSeconds: 1, body: '', secrets: [secret] })), 'bad_secret');
    });

  for (const [name, Judge] of [
    ['standardwebhooks', StandardWebhook],
    ['svix', SvixWebhook],
  ] as const)
    test(`${name} and we believe each other, while secrets are rotated`, async () => {
      const [body, now] = [JSON.stringify({ n: 'ö', big: 12_345 }), new Date()];
      const timestampSeconds = Math.floor(now.getTime() / 1_000);
      const ours = {
        'webhook-id': 'msg_1',
        'webhook-timestamp': String(timestampSeconds),
        'webhook-signature': await sign({ id: 'msg_1', timestampSeconds, body, secrets: [OTHER, SECRET] }),
      };
      for (const secret of [SECRET, OTHER]) assert.doesNotThrow(() => new Judge(secret).verify(body, ours));
      const theirs = { ...ours, 'webhook-signature': new Judge(SECRET).sign('msg_1', now, body) };
      assert.deepEqual(await verify({ headers: theirs, body, secrets: [OTHER, SECRET] }), { id: 'msg_1' });
      assert.throws(() => new Judge(SECRET).verify(`${body} `, ours));
    });
});

const STORES: Readonly<Record<string, () => SeenStore>> = {
  'in memory': () => memoryStore(),
  'in SQLite': () => sqliteStore(new DatabaseSync(':memory:')),
  // The same statements, by their Postgres form; a real one is asked in stores.slow.test.ts.
  'in Postgres, as SQLite would have it': () => {
    const database = new DatabaseSync(':memory:');
    return postgresStore(async (sql, values) => ({ rows: database.prepare(sql.replace(/\$\d/g, '?')).all(...values) }));
  },
  'in a Durable Object': () => durableObjectStore(durableStorage()),
};

for (const [name, open] of Object.entries(STORES))
  describe(`a seen-store ${name}`, () => {
    test('lets one of two copies through, and none after it is done', async () => {
      const store = open();
      assert.deepEqual((await Promise.all([store.claim('a', 0, 100), store.claim('a', 0, 100)])).toSorted(), ['busy', 'claimed']);
      assert.equal(await store.claim('b', 0, 100), 'claimed');
      await store.done('a', 50);
      assert.equal(await store.claim('a', 1_000, 1_100), 'done');
    });

    test('lets another copy through when a claim is over, and only its own claim is given back', async () => {
      const store = open();
      await store.claim('a', 0, 100);
      assert.equal(await store.claim('a', 99, 199), 'busy');
      assert.equal(await store.claim('a', 100, 200), 'claimed');
      await store.release('a', 100);
      assert.equal(await store.claim('a', 150, 250), 'busy');
      await store.release('a', 200);
      assert.equal(await store.claim('a', 150, 250), 'claimed');
    });

    test('keeps what it is given until it is done, and counts the attempts', async () => {
      const store = open();
      await store.claim('a', 0, 100, 'the message');
      await store.claim('b', 0, 100);
      assert.equal(await store.next?.(99, 199), undefined);
      assert.deepEqual({ ...(await store.next?.(100, 200)) }, { kept: 'the message', attempts: 2 });
      assert.equal(await store.next?.(150, 250), undefined);
      assert.equal((await store.next?.(200, 300))?.attempts, 3);
      await store.done('a', 250);
      assert.equal(await store.next?.(1_000, 1_100), undefined);
    });
  });

test('a seen-store in memory forgets the oldest that are done, and nothing that is at work', async () => {
  const store = memoryStore({ maxIds: 2 });
  await store.claim('a', 0, 100);
  await store.done('a', 0);
  await store.claim('b', 0, 100);
  assert.equal(await store.claim('c', 0, 100), 'claimed');
  assert.equal(await store.claim('a', 0, 100).catch(({ code }: { code: string }) => code), 'store_full');
  assert.equal(await store.claim('b', 0, 100), 'busy');
  await store.release('b', 100);
  assert.equal(await store.claim('a', 0, 100), 'claimed', 'what failed and was given back is in the way of nobody');
});

for (const name of ['in SQLite', 'in a Durable Object'])
  test(`a seen-store ${name} forgets what is older than seven days`, async () => {
    const store = (STORES[name] as () => SeenStore)();
    await store.claim('a', 0, 100);
    await store.done('a', 0);
    await store.claim('b', 700_000_000, 700_000_100);
    await store.done('b', 700_000_000);
    assert.equal(await store.claim('b', 700_000_001, 700_000_100), 'done');
    assert.equal(await store.claim('a', 700_000_001, 700_000_100), 'claimed');
  });

const NOW_MS = 1_800_000_000_000;

async function requestOf(
  body: string | Uint8Array<ArrayBuffer>,
  { id = 'msg_1', secret = SECRET, headers = {} } = {},
): Promise<Request> {
  const timestampSeconds = NOW_MS / 1_000;
  const signature = await sign({ id, timestampSeconds, body, secrets: [secret] });
  return new Request('https://receiver.test/hooks', {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signature,
      ...headers,
    },
  });
}

function stage(options: Partial<ReceiverOptions> = {}) {
  const events: ReceivedEvent[] = [];
  const errors: unknown[] = [];
  let nowMs = NOW_MS;
  const serve = receiver({
    secrets: [OTHER, SECRET],
    store: memoryStore(),
    handle: (event) => void events.push(event),
    nowMs: () => nowMs,
    onError: (error) => errors.push(error),
    gateways: ['https://gateway.test'],
    ...options,
  });
  return { serve, events, errors, pass: (ms: number) => void (nowMs += ms) };
}

describe('a receiver', { timeout: 10_000 }, () => {
  test('is none without what it needs: it would answer each webhook with 500', () => {
    const nothing = undefined as never;
    for (const wrong of [
      { secrets: nothing },
      { secrets: [] },
      { secrets: SECRET as never },
      { store: memoryStore as never },
      { handle: nothing },
      { ack: 'frist' as never },
    ])
      assert.throws(() => stage(wrong), { code: 'invalid' });
  });

  test('says why on the console, where nobody else wants to hear it', async (t) => {
    const said = t.mock.method(console, 'error', () => undefined);
    const { serve } = stage({ onError: undefined as never, handle: () => Promise.reject(new Error('no')) });
    assert.equal((await serve(await requestOf('{}'))).status, 500);
    assert.match(String(said.mock.calls[0]?.arguments), /millrace,Error: no/);
  });

  test('handles what is signed, once, as the event that it is', async () => {
    const { serve, events } = stage();
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': 'evt_1',
      'ce-type': 'orders.paid',
      'ce-source': '/shop',
      'ce-subject': 'caf%C3%A9',
    };
    for (let copy = 0; copy < 2; copy++) assert.equal((await serve(await requestOf('{"n":1}', { headers }))).status, 204);
    assert.deepEqual<unknown>(events, [
      { specversion: '1.0', id: 'evt_1', type: 'orders.paid', source: '/shop', subject: 'café', data: { n: 1 } },
    ]);
    const whole = { specversion: '1.0', id: 'e', type: 't.x', source: '/s', data: 5 };
    await serve(
      await requestOf(JSON.stringify(whole), { id: 'msg_2', headers: { 'content-type': 'application/cloudevents+json' } }),
    );
    assert.deepEqual(events[1], whole);
    await serve(await requestOf(new Uint8Array([255, 0]), { id: 'msg_3', headers: { ...headers, 'content-type': 'image/png' } }));
    assert.equal(events[2]?.data_base64, '/wA=');
  });

  test('believes nobody else, and reads no more than it has to', async () => {
    const { serve, events } = stage({ maxBytes: 10 });
    assert.equal((await serve(await requestOf('{}', { secret: 'whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB' }))).status, 401);
    assert.equal((await serve(new Request('https://receiver.test', { method: 'POST', body: '{}' }))).status, 401);
    assert.equal((await serve(await requestOf('x'.repeat(11)))).status, 413);
    assert.equal((await serve(new Request('https://receiver.test', { method: 'PUT', body: '{}' }))).status, 405);
    assert.equal((await stage({ secrets: ['nonsense'] }).serve(await requestOf('{}'))).status, 500);
    assert.deepEqual(events, []);
  });

  test('lets one of two copies run that come at once, and asks the other to come later', async () => {
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    let runs = 0;
    const { serve } = stage({
      async handle() {
        runs++;
        begun.resolve();
        await end.promise;
      },
    });
    const first = serve(await requestOf('{}'));
    await begun.promise;
    const second = await serve(await requestOf('{}'));
    assert.deepEqual([second.status, second.headers.get('retry-after')], [409, '5']);
    end.resolve();
    assert.equal((await first).status, 204);
    assert.equal((await serve(await requestOf('{}'))).status, 204);
    assert.equal(runs, 1);
  });

  test('runs again what failed, and what was cut off once its claim is over', async () => {
    let runs = 0;
    const cutOff = Promise.withResolvers<void>();
    const { serve, errors, pass } = stage({
      handle: () => {
        runs++;
        if (runs === 2) cutOff.resolve();
        if (runs === 1) throw new Error('no database');
        return runs === 2 ? new Promise(() => undefined) : undefined; // the second never ends: its process was killed, say
      },
    });
    assert.equal((await serve(await requestOf('{}'))).status, 500);
    assert.match(String(errors[0]), /no database/);
    void serve(await requestOf('{}'));
    await cutOff.promise;
    assert.equal((await serve(await requestOf('{}'))).status, 409);
    pass(60_000);
    assert.equal((await serve(await requestOf('{}'))).status, 204);
    assert.equal(runs, 3);
  });

  test('acks first where it is asked to: what it took is kept before the answer, and works on under waitUntil', async () => {
    const store = memoryStore();
    const end = Promise.withResolvers<void>();
    const { serve, events, pass } = stage({ store, ack: 'first', handle: (event) => end.promise.then(() => events.push(event)) });
    const work: Promise<unknown>[] = [];
    assert.equal((await serve(await requestOf('{"n":1}'), { waitUntil: (one) => work.push(one) })).status, 204);
    assert.equal((await serve(await requestOf('{"n":1}'), { waitUntil: (one) => work.push(one) })).status, 204);
    assert.deepEqual([work.length, events.length], [1, 0]);
    // The platform ends before the work does: what was kept is found.
    pass(60_000);
    const later = stage({ store, ack: 'first', nowMs: () => NOW_MS + 60_000 });
    assert.equal(await later.serve.drain(), 1);
    assert.deepEqual(later.events[0]?.data, { n: 1 });
    assert.equal(await later.serve.drain(), 0);
    end.resolve();
    await Promise.all(work);
  });

  test('gives up what fails too often, and says so', async () => {
    const failed: string[] = [];
    const { serve, errors, pass } = stage({
      ack: 'first',
      attempts: 3,
      handle: () => Promise.reject(new Error('never')),
      onDead: ({ id }) => failed.push(id),
    });
    const work: Promise<unknown>[] = [];
    await serve(await requestOf('{}'), { waitUntil: (one) => work.push(one) });
    await Promise.all(work);
    assert.equal(await serve.drain(), 0, 'it waits for its claim to be over');
    for (const expected of [1, 1, 0]) {
      pass(60_000);
      assert.equal(await serve.drain(), expected);
    }
    assert.deepEqual([failed, errors.length], [['msg_1'], 2]);
  });

  test('reports what it gave up to its gateway, with the token of that delivery, and to nobody else', async (t) => {
    const reports = collected<{ readonly url: string; readonly authorization: string; readonly body: unknown }>();
    const statuses = [503, 202, 404];
    const gateway = createServer((request, response) => void respond(request, response));
    async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
      const { url = '', headers } = request;
      reports.add({ url, authorization: headers.authorization ?? '', body: await json(request) });
      const status = statuses.shift() ?? 202;
      response.writeHead(status, { 'content-type': 'application/json', ...(status === 503 && { 'retry-after': '0' }) });
      response.end('{"id":"dlv_1"}');
    }
    const origin = await listen(t, gateway);
    const address = `${origin}/base/v1/deliveries/dlv_1/failed`;
    const handle = (): never => {
      throw new Error(`no ${'x'.repeat(600)}`);
    };
    const options = { ack: 'first', attempts: 1, gateways: [origin], handle } as const;
    const report = async (header: Record<string, string>, more: Partial<ReceiverOptions> = {}): Promise<string[]> => {
      const { serve, errors, pass } = stage({ ...options, ...more });
      const work: Promise<unknown>[] = [];
      await serve(await requestOf('{}', { headers: header }), { waitUntil: (one) => work.push(one) });
      await Promise.all(work);
      pass(60_000);
      assert.equal(await serve.drain(), 0, 'it is done with');
      return errors.map((error) => (error as GatewayError).code);
    };
    assert.deepEqual(await report({ 'millrace-failed': `${address} the-token` }), []);
    const [first, again] = await reports.first(2);
    assert.deepEqual(first, {
      url: '/base/v1/deliveries/dlv_1/failed',
      authorization: 'Bearer the-token',
      body: { reason: `Error: no ${'x'.repeat(600)}`.slice(0, 500), dead: true },
    });
    assert.deepEqual(again, first, 'it was asked to come again');
    assert.deepEqual(await report({ 'millrace-failed': `${address} the-token` }), ['http_404']);
    for (const other of [`${origin}.evil.test/x t`, `${origin}@evil.test/x t`, 'http://evil.test/ t', 'nonsense', ''])
      assert.deepEqual(await report({ 'millrace-failed': other }), ['invalid'], other);
    assert.deepEqual(await report({}), ['invalid']);
    assert.deepEqual(await report({ 'millrace-failed': `${address} t` }, { gateways: ['https://other.test'] }), ['invalid']);
    assert.throws(() => stage({ ...options, gateways: [] }), { code: 'invalid', message: /give gateways, or onDead/ });
    const own: unknown[] = [];
    assert.deepEqual(await report({ 'millrace-failed': `${address} t` }, { onDead: (_, error) => own.push(error) }), []);
    assert.equal(own.length, 1);
    assert.equal(reports.all.length, 3);
  });

  test('takes up again what it could not report', async (t) => {
    let isAway = true;
    const gateway = createServer((_, response) => {
      response.writeHead(isAway ? 503 : 202, { 'content-type': 'application/json', 'retry-after': '0' }).end('{"id":"dlv_1"}');
    });
    const origin = await listen(t, gateway);
    const { serve, errors, pass } = stage({
      ack: 'first',
      attempts: 1,
      gateways: [origin],
      handle: () => Promise.reject(new Error('no')),
    });
    const work: Promise<unknown>[] = [];
    const headers = { 'millrace-failed': `${origin}/v1/deliveries/dlv_1/failed t` };
    await serve(await requestOf('{}', { headers }), { waitUntil: (one) => work.push(one) });
    await Promise.all(work);
    assert.equal((errors[0] as GatewayError).status, 503);
    isAway = false;
    pass(60_000);
    assert.equal(await serve.drain(), 1);
    pass(60_000);
    assert.equal(await serve.drain(), 0);
    assert.equal(errors.length, 1);
  });

  test('takes simple signatures where it is asked to, and only then', async () => {
    const body = '{"type":"orders.paid"}';
    const headers = {
      'content-type': 'application/json',
      'x-signature': await signSimple('s', body),
      'x-idempotency-key': 'msg_9',
    };
    const simple = (): Request => new Request('https://receiver.test', { method: 'POST', body, headers });
    const { serve, events } = stage({ secrets: ['s'], scheme: 'simple' });
    for (let copy = 0; copy < 2; copy++) assert.equal((await serve(simple())).status, 204);
    assert.deepEqual([events.length, events[0]?.type], [1, 'orders.paid']);
    assert.equal((await stage().serve(simple())).status, 401);
  });

  test('says that it is there, consents to be sent to, and answers a signed challenge', async () => {
    const { serve, events } = stage({ origins: ['https://gateway.test'] });
    const health = await serve(new Request('https://receiver.test'));
    assert.deepEqual([health.status, await health.json()], [200, { status: 'ready' }]);
    const ask = (origin: string): Promise<Response> =>
      serve(new Request('https://receiver.test', { method: 'OPTIONS', headers: { 'webhook-request-origin': origin } }));
    assert.equal((await ask('https://gateway.test')).headers.get('webhook-allowed-origin'), 'https://gateway.test');
    assert.equal((await ask('https://elsewhere.test')).headers.get('webhook-allowed-origin'), null);
    const challenge = await serve(await requestOf('{"type":"millrace.challenge","challenge":"abc"}'));
    assert.deepEqual([challenge.status, await challenge.text(), events.length], [200, 'abc', 0]);
  });
});

/** As the platform's: each transaction by itself, with a copy of what it reads. */
function durableStorage(): DurableStorage {
  const all = new Map<string, unknown>();
  let last: Promise<unknown> = Promise.resolve();
  const inside: DurableStorage = {
    transaction: (work) => work(inside),
    get: async <T>(key: string) => structuredClone(all.get(key)) as T | undefined,
    put: async (key, value) => void all.set(key, structuredClone(value)),
    delete: async (key) => all.delete(key),
    list: async <T>({ prefix, limit }: { readonly prefix: string; readonly limit: number }) => {
      const found = [...all].filter(([key]) => key.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1));
      return new Map(found.slice(0, limit)) as Map<string, T>;
    },
  };
  return {
    ...inside,
    transaction<T>(work: (storage: DurableStorage) => Promise<T>) {
      const result = last.then(() => work(inside));
      last = result.catch(() => undefined);
      return result;
    },
  };
}
