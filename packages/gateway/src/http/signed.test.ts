/** Publishing with a signature in the key's place: what it opens, what it does not, and that what was recorded is worth nothing. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { type Answer, type World, world } from '../../test/world.ts';
import { limitsOf } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { reseal } from '../reseal.ts';
import { systemClock } from '../system-clock.ts';
import { createVault } from '../vault.ts';
import { keyOf, makeKey } from './access.ts';
import { openDoor, turnsUntil } from './test/door.ts';

const EVENT = '{"type":"orders.created","data":{"id":43}}';
const MINUTE_MS = 60_000;

interface Send {
  readonly key: string;
  readonly id?: string;
  readonly body?: string;
  readonly atMs: number;
  /** In the place of those that are right. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** By hand, and not by what the gateway signs with. */
function signatureOf(key: string, id: string, seconds: number | string, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`;
}

function headersOf({ key, id = 'one', body = EVENT, atMs, headers = {} }: Send): Record<string, string> {
  const seconds = Math.floor(atMs / 1_000);
  return {
    authorization: `Signature ${key.slice(0, 12)}`,
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatureOf(key, id, seconds, body),
    ...headers,
  };
}

interface Signing extends World {
  readonly clock: { nowMs: number };
  /** Makes a key that signs, of the app `shop`. */
  made(settings?: object): Promise<{ readonly key: string; readonly id: string; readonly prefix: string }>;
  send(send: Omit<Send, 'atMs'> & { readonly atMs?: number; readonly route?: string }): Promise<Answer>;
  /** How many events there are. */
  stored(): Promise<number>;
}

/** The door goes by a clock that stands still; everything else by the real one. */
async function signing(t: TestContext, options: Parameters<typeof world>[1] = {}): Promise<Signing> {
  const clock = { nowMs: Math.floor(Date.now() / 1_000) * 1_000 };
  const given: Clock = { ...systemClock, now: () => clock.nowMs };
  const made = await world(t, { clock: given, ...options });
  return {
    ...made,
    clock,
    async made(settings = {}) {
      const { status, json } = await made.ask('POST /v1/apps/shop/keys', {
        json: { scopes: ['publish'], signs: true, ...settings },
      });
      assert.equal(status, 201, JSON.stringify(json));
      return json;
    },
    send: ({ route = 'POST /v1/events', ...send }) =>
      made.ask(route, { key: '', body: send.body ?? EVENT, headers: headersOf({ atMs: clock.nowMs, ...send }) }),
    async stored() {
      return (await made.ask('GET /v1/events?from=earliest')).json.data.length;
    },
  };
}

describe('a key that signs', { timeout: 30_000 }, () => {
  test('is made with the scope publish alone, shown once, kept sealed, and told from others', async (t) => {
    const { ask, made, directory, vault } = await signing(t);
    const { key, ...shown } = (await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'], signs: true } })).json;
    assert.match(key, /^mrs_[a-z2-7]{8}_[a-z2-7]{40}$/);
    assert.deepEqual([shown.signs, shown.prefix], [true, key.slice(0, 12)]);
    assert.deepEqual((await ask(`GET /v1/apps/shop/keys/${shown.id}`)).json, shown);
    const listed = await ask('GET /v1/apps/shop/keys');
    assert.deepEqual(listed.json.data, [shown]);
    const kept = (await directory.get('key', 'default', shown.id))?.value;
    assert.equal(vault.open(kept?.sealed ?? ''), key);
    for (const text of [listed.text, JSON.stringify(kept)]) assert.ok(!text.includes(key.slice(13)));
    assert.ok(!listed.text.includes('sealed'));
    for (const scopes of [['subscribe'], ['publish', 'manage'], ['admin']]) {
      const { json } = await ask('POST /v1/apps/shop/keys', { json: { scopes, signs: true } });
      assert.deepEqual([json.code, json.pointer], ['invalid_request', '/scopes'], scopes.join());
    }
    const odd = await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'], signs: 'yes' } });
    assert.deepEqual([odd.json.code, odd.json.pointer], ['invalid_request', '/signs']);
    const plain = await made({ signs: false });
    assert.match(plain.key, /^mr_/);
    assert.equal('signs' in plain, false);
  });

  test('publishes what it has signed, as another key does, and says when it was last used', async (t) => {
    const { ask, made, send, clock } = await signing(t);
    const { key, id } = await made();
    const answer = await send({ key });
    assert.deepEqual([answer.status, answer.json.status], [202, 'appended']);
    const [{ event }] = (await ask('GET /v1/events?from=earliest')).json.data;
    assert.deepEqual([event.source, event.data], ['/apps/shop', { id: 43 }]);
    assert.equal((await ask(`GET /v1/apps/shop/keys/${id}`)).json.lastUsedAt, new Date(clock.nowMs).toISOString());
    const body = '{"specversion":"1.0","id":"a","source":"/shop","type":"orders.paid"}';
    const structured = await send({ key, id: 'two', body, headers: { 'content-type': 'application/cloudevents+json' } });
    assert.equal(structured.json.id, 'a');
  });

  test('may be one of several signatures, and of two keys that begin alike', async (t) => {
    const { made, send, directory, vault, clock } = await signing(t);
    const { key } = await made();
    const right = headersOf({ key, atMs: clock.nowMs })['webhook-signature'];
    const wrong = `v1,${'A'.repeat(43)}=`;
    assert.equal((await send({ key, headers: { 'webhook-signature': `v2,x ${wrong}  ${right}` } })).status, 202);
    const behind = `${`${wrong} `.repeat(32)}${right}`;
    assert.equal((await send({ key, headers: { 'webhook-signature': behind } })).status, 401, 'only so many are looked at');
    const alike = `${key.slice(0, 12)}_${'a'.repeat(40)}`;
    const value = keyOf(alike, { app: 'crm', scopes: ['publish'], nowMs: 0 });
    await directory.put('key', 'default', 'key_alike', { ...value, sealed: vault.seal(alike) });
    for (const [one, id] of [
      [key, 'two'],
      [alike, 'three'],
    ] as const)
      assert.equal((await send({ key: one, id })).json.status, 'appended', id);
  });

  test('for some topics publishes these and no others', async (t) => {
    const { made, send } = await signing(t);
    const { key } = await made({ topics: ['orders.created'] });
    assert.equal((await send({ key })).status, 202);
    const refused = await send({ key, id: 'two', body: '{"type":"orders.paid"}' });
    assert.deepEqual([refused.json.code, refused.json.pointer], ['forbidden', '/type']);
  });

  test('goes on after a new key for secrets, and a gateway without the right one does not start', async (t) => {
    const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const directory = createMemoryDirectory();
    const first = await signing(t, { directory, vault: createVault(older) });
    const { key } = await first.made();
    assert.equal((await first.send({ key })).status, 202);

    for (const start of [() => reseal(directory, createVault(newer)), () => signing(t, { directory, vault: createVault(newer) })])
      await assert.rejects(start, { code: 'invalid_secret' });

    // This one, and the key of tokens.
    assert.equal(await reseal(directory, createVault(newer, older)), 2);
    assert.equal(await reseal(directory, createVault(newer, older)), 0);
    const later = await signing(t, { directory, vault: createVault(newer) });
    assert.equal((await later.send({ key })).json.status, 'appended');
    // The first does not know the key that another node has sealed everything with.
    assert.equal((await first.send({ key, id: 'two' })).json.code, 'internal_error');
    assert.equal(first.errors.length, 1);
  });
});

describe('a signature', { timeout: 30_000 }, () => {
  test('that is wrong, or by a key that is unknown, over or deleted, is refused in one and the same way', async (t) => {
    const { ask, made, send, stored, clock } = await signing(t);
    const [{ key }, other, deleted] = [await made(), await made(), await made()];
    const expiring = await made({ expiresAt: new Date(clock.nowMs + MINUTE_MS).toISOString() });
    await ask(`DELETE /v1/apps/shop/keys/${deleted.id}`);
    assert.equal((await send({ key: expiring.key, id: 'in-time' })).status, 202);
    clock.nowMs += MINUTE_MS;
    const refused = await Promise.all([
      send({ key, headers: { 'webhook-signature': signatureOf(key, 'one', Math.floor(clock.nowMs / 1_000), `${EVENT} `) } }),
      send({ key, headers: { 'webhook-id': 'another' } }),
      send({ key, headers: { 'webhook-timestamp': String(clock.nowMs / 1_000 - 1) } }),
      send({ key, headers: { 'webhook-signature': 'x' } }),
      send({ key: `${key.slice(0, 12)}${other.key.slice(12)}` }),
      send({ key: makeKey({ app: 'shop', scopes: ['publish'], nowMs: 0 }, 'mrs').text }),
      send({ key: deleted.key }),
      send({ key: expiring.key }),
    ]);
    for (const { status, text, json } of refused) {
      assert.deepEqual([status, json.code], [401, 'unauthorized']);
      assert.equal(text, refused[0].text);
      for (const secret of [key, other.key]) assert.ok(!text.includes(secret.slice(13)));
    }
    assert.equal(await stored(), 1);
  });

  test('of another time is refused with how far the clocks are apart, either way', async (t) => {
    const { made, send, clock } = await signing(t);
    const { key } = await made();
    for (const [aheadSeconds, said] of [
      [301, /301 s ahead of the clock of this gateway, and may be 300 s/],
      [-301, /301 s behind the clock/],
      [-90_000, /90,000 s behind/],
    ] as const) {
      const { json } = await send({ key, atMs: clock.nowMs + aheadSeconds * 1_000 });
      assert.equal(json.code, 'unauthorized');
      assert.match(json.detail, said);
      assert.match(json.advice, /clocks differ/);
    }
    for (const aheadSeconds of [300, -300])
      assert.equal((await send({ key, id: String(aheadSeconds), atMs: clock.nowMs + aheadSeconds * 1_000 })).status, 202);
  });

  test('that was recorded and is sent again is a duplicate, and after five minutes nothing', async (t) => {
    const { made, send, stored, clock } = await signing(t);
    const { key } = await made();
    const recorded = { key, atMs: clock.nowMs };
    const first = await send(recorded);
    clock.nowMs += 4 * MINUTE_MS;
    const again = await send(recorded);
    assert.deepEqual([again.status, again.json], [202, { ...first.json, status: 'duplicate' }]);
    clock.nowMs += 2 * MINUTE_MS;
    assert.equal((await send(recorded)).status, 401);
    assert.equal((await send({ key })).json.status, 'duplicate', 'signed anew, with the same id');
    clock.nowMs += 23 * 60 * MINUTE_MS;
    assert.equal((await send({ key })).json.id, first.json.id);
    assert.equal((await send({ key, body: '{"type":"orders.paid"}' })).json.code, 'idempotency_key_reused');
    assert.equal(await stored(), 1);
  });

  test('counts for no longer than its id is remembered', async (t) => {
    const { made, send, clock } = await signing(t, { limits: limitsOf({ dedupeWindowMs: 240_000 }) });
    const { key } = await made();
    assert.equal((await send({ key, atMs: clock.nowMs - MINUTE_MS })).status, 202);
    assert.match((await send({ key, atMs: clock.nowMs - MINUTE_MS - 1_000 })).json.detail, /61 s behind .* may be 60 s/);
  });

  test('has the idempotency key in its id', async (t) => {
    const { made, send } = await signing(t);
    const { key } = await made();
    assert.equal((await send({ key, headers: { 'idempotency-key': 'one' } })).status, 202);
    const { json } = await send({ key, headers: { 'idempotency-key': 'two' } });
    assert.deepEqual([json.code, json.pointer], ['invalid_request', '/headers/idempotency-key']);
  });

  test('of a list dedupes by the ids of its events, which it must have', async (t) => {
    const { made, send, stored } = await signing(t);
    const { key } = await made();
    const body = '[{"id":"a","type":"orders.created"},{"id":"b","type":"orders.paid"}]';
    const statuses = async (): Promise<unknown> =>
      (await send({ key, body })).json.results.map(({ status }: { status: string }) => status);
    assert.deepEqual(await statuses(), ['appended', 'appended']);
    assert.deepEqual(await statuses(), ['duplicate', 'duplicate']);
    for (const list of [
      '[{"id":"c","type":"orders.created"},{"type":"orders.paid"}]',
      '[{"id":"c","type":7},{"type":"orders.paid"}]',
    ]) {
      const { json } = await send({ key, id: 'two', body: list });
      assert.deepEqual([json.code, json.pointer], ['invalid_event', '/1/id']);
    }
    assert.equal(await stored(), 2);
  });

  test('is verified before anything is made of the body', async (t) => {
    const { made, send } = await signing(t);
    const { key } = await made();
    const body = '{"type":';
    assert.equal((await send({ key, body })).json.code, 'invalid_json');
    assert.equal((await send({ key, body, headers: { 'webhook-signature': 'v1,x' } })).json.code, 'unauthorized');
    const large = JSON.stringify({ type: 'orders.created', data: 'x'.repeat(100_000) });
    assert.equal((await send({ key, id: 'large', body: large })).status, 202);
    assert.equal((await send({ key, id: 'empty', body: '' })).json.code, 'invalid_json');
  });

  test('that is not whole is refused with what is amiss', async (t) => {
    const { app, made, send, clock } = await signing(t);
    const { key } = await made();
    for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature']) {
      const { [name]: _without, ...headers } = headersOf({ key, atMs: clock.nowMs });
      const answer = await app.inject({ method: 'POST', url: '/v1/events', headers, payload: EVENT });
      assert.equal(answer.json().detail, `the header ${name} is missing`);
    }
    const cases: [Record<string, string>, RegExp][] = [
      [{ 'webhook-id': 'a.b' }, /webhook-id has 1 to 128/],
      [{ 'webhook-id': 'a b' }, /webhook-id has 1 to 128/],
      [{ 'webhook-id': 'x'.repeat(129) }, /webhook-id has 1 to 128/],
      [{ 'webhook-timestamp': String(clock.nowMs) }, /whole seconds|ahead of/],
      [{ 'webhook-timestamp': '1e9' }, /whole seconds/],
      [{ authorization: 'Signature' }, /does not say which key/],
      [{ authorization: `Signature ${key}` }, /does not say which key/],
      [{ authorization: 'Signature mr_aaaaaaaa' }, /does not say which key/],
    ];
    for (const [headers, said] of cases) {
      const { status, text, json } = await send({ key, headers });
      assert.equal(status, 401);
      assert.match(json.detail, said);
      assert.ok(json.advice);
      assert.ok(!text.includes(key.slice(13)));
    }
  });

  test('does not cover headers and streams: binary mode and NDJSON are refused, and what is no JSON', async (t) => {
    const { made, send, stored } = await signing(t);
    const { key } = await made();
    const binary = { 'ce-specversion': '1.0', 'ce-type': 'orders.created', 'ce-id': 'a', 'ce-source': '/s' };
    const cases: [Record<string, string>, string][] = [
      [binary, 'invalid_request'],
      [{ ...binary, 'content-type': 'text/csv' }, 'invalid_request'],
      [{ 'ce-subject': 'x' }, 'invalid_request'],
      [{ 'content-type': 'application/x-ndjson' }, 'invalid_request'],
      [{ 'content-type': 'text/plain' }, 'unsupported_media_type'],
      [{ 'content-type': 'application/x-www-form-urlencoded' }, 'unsupported_media_type'],
    ];
    for (const [headers, code] of cases) {
      const { json } = await send({ key, headers });
      assert.equal(json.code, code, JSON.stringify(headers));
      assert.match(json.advice, /as JSON/);
    }
    assert.equal(await stored(), 0);
  });

  test('opens nothing else, and neither does the key itself', async (t) => {
    const { ask, made, send } = await signing(t);
    const { key } = await made();
    for (const route of [
      'POST /v1/topics/orders.created/events',
      'GET /v1/topics',
      'GET /v1/events',
      'GET /v1/keys/self',
      'POST /v1/tokens',
      'POST /v1/apps/shop/keys',
      'GET /v1/sse?topics=orders.*',
      'POST /v1/pull',
    ]) {
      const get = route.startsWith('GET');
      const { status, json } = get
        ? await ask(route, { key: '', headers: headersOf({ key, body: '', atMs: Date.now() }) })
        : await send({ key, route });
      assert.deepEqual([status, json.code], [403, 'forbidden'], route);
      assert.match(json.detail, /POST \/v1\/events alone/);
    }
    for (const authorization of [`Bearer ${key}`, key]) {
      const { status, text, json } = await ask('POST /v1/events', { key: '', body: EVENT, headers: { authorization } });
      assert.equal(status, 401);
      assert.match(json.detail, /signs, and is never sent/);
      assert.ok(!text.includes(key.slice(13)));
    }
  });

  test('comes from no web page, be it one of the app', async (t) => {
    const { ask, made, send } = await signing(t);
    const { key } = await made();
    await ask('PATCH /v1/apps/shop', { json: { origins: ['https://shop.example'] } });
    const answer = await send({ key, headers: { origin: 'https://shop.example' } });
    assert.deepEqual([answer.status, answer.json.code], [403, 'forbidden']);
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    assert.match(answer.json.advice, /POST \/v1\/tokens/);
  });

  test('costs the app of its quotas when it is right, and nothing when it is wrong', async (t) => {
    const { ask, made, send } = await signing(t);
    const { key } = await made();
    await ask('PATCH /v1/apps/shop', { json: { quotas: { publishesPerSecond: 1, eventsPerDay: 20 } } });
    for (let n = 0; n < 10; n++) {
      const wrong = await send({ key, headers: { 'webhook-signature': 'v1,x' } });
      assert.deepEqual([wrong.status, wrong.headers['ratelimit']], [401, undefined]);
    }
    const first = await send({ key });
    assert.match(String(first.headers['ratelimit']), /^"publishes";r=4;t=1, "day";r=19;/);
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const refused = await send({ key, body: JSON.stringify(ids.map((id) => ({ type: 'orders.created', id }))) });
    assert.equal(refused.json.code, 'rate_limited');
    assert.match(String(refused.headers['ratelimit']), /^"publishes";r=/);
  });
});

describe('a signed body', { timeout: 30_000 }, () => {
  const headersAt = (key: string, body: string): Record<string, string | number> => ({
    ...headersOf({ key, body, atMs: Date.now() }),
    'content-length': body.length,
  });

  test('is not asked for where no key begins so', async (t) => {
    const door = await openDoor(t);
    const { key } = (await door.ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'], signs: true } })).json;
    for (const [one, said] of [
      [key, /^HTTP\/1\.1 100 Continue/],
      [makeKey({ app: 'shop', scopes: ['publish'], nowMs: 0 }, 'mrs').text, /^HTTP\/1\.1 401 [^]*"code":"unauthorized"/],
    ] as const) {
      const { write, until } = await door.connect();
      write(door.head('POST /v1/events', { ...headersAt(one, EVENT), expect: '100-continue' }));
      await until(said);
    }
  });

  test('has a room of its own: whoever fills it takes nothing from those who send a key', async (t) => {
    const door = await openDoor(t, { signedBytes: 1024 * 1024 });
    const { key } = (await door.ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'], signs: true } })).json;
    const large = JSON.stringify({ type: 'orders.created', data: 'x'.repeat(1_200_000) });
    const stranger = await door.connect();
    stranger.write(door.head('POST /v1/events', headersAt(key, large)) + large.slice(0, 1_100_000));
    await turnsUntil(() => stranger.inside.bytesRead > 1_100_000);
    const signed = await door.connect();
    signed.write(door.head('POST /v1/events', headersAt(key, EVENT)) + EVENT);
    await signed.until(/^HTTP\/1\.1 503 [^]*"code":"overloaded"/);
    assert.equal((await door.ask('POST /v1/events', { json: { type: 'orders.created' } })).status, 202);
    stranger.socket.destroy();
    await stranger.closed;
    const after = await door.connect();
    after.write(door.head('POST /v1/events', headersAt(key, EVENT)) + EVENT);
    await after.until(/^HTTP\/1\.1 202 /);
  });
});

interface Vector {
  readonly name: string;
  readonly key: string;
  readonly id: string;
  readonly timestampSeconds: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}
const vectors: { readonly sign: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('../../../../spec/vectors/publish-signatures.json', import.meta.url), 'utf8'),
);

describe('what the vectors say is taken', { timeout: 30_000 }, () => {
  for (const { name, key, id, timestampSeconds, contentType, body, headers } of vectors.sign)
    test(name, async (t) => {
      const { ask, directory, vault, clock } = await signing(t);
      clock.nowMs = timestampSeconds * 1_000;
      const value = keyOf(key, { app: 'shop', scopes: ['publish'], nowMs: 0 });
      await directory.put('key', 'default', 'key_1', { ...value, sealed: vault.seal(key) });
      assert.deepEqual(
        { ...headers, 'content-type': contentType },
        headersOf({ key, id, body, atMs: clock.nowMs, headers: { 'content-type': contentType } }),
      );
      const answer = await ask('POST /v1/events', { key: '', body, headers: { ...headers, 'content-type': contentType } });
      assert.equal(answer.status, 202, answer.text);
    });
});
