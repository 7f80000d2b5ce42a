/** What the doors that keep connections open rely on. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { decodeJwt } from 'jose';
import { createHandClock, type HandClock, settle } from '../../test/clock.ts';
import type { Caller } from '../http/access.ts';
import { follow, placeOf } from '../http/followed.ts';
import { LIMITS } from '../limits.ts';
import type { Directory } from '../ports/directory.ts';
import { reseal } from '../reseal.ts';
import { createVault } from '../vault.ts';
import { createOrigins } from './origins.ts';
import { createTokens, type Tokens } from './tokens.ts';

const KEYS = [1, 2].map((fill) => new Uint8Array(32).fill(fill)) as [Uint8Array, Uint8Array];
const BACKEND: Caller = { key: 'key_1', environment: 'default', app: 'shop', scopes: ['subscribe'], admin: false };
const GRANT = { app: 'shop', appCreatedMs: 0, scopes: ['subscribe'], topics: ['orders.*'], ttlMs: 600_000 } as const;

interface Made {
  readonly directory: Directory;
  readonly clock: HandClock;
  open(vault?: ReturnType<typeof createVault>, limits?: Partial<typeof LIMITS>): Promise<Tokens>;
}

async function setUp(t: TestContext): Promise<Made> {
  const [directory, clock] = [createMemoryDirectory(), createHandClock()];
  await directory.put('app', 'default', 'shop', { name: 'shop', createdMs: 0, origins: ['https://shop.example'] });
  const key = { app: 'shop', hash: 'x', prefix: 'mr_x', scopes: ['subscribe'], createdMs: 0 } as const;
  await directory.put('key', 'default', 'key_1', key);
  return {
    directory,
    clock,
    async open(vault = createVault(KEYS[0]), limits = {}) {
      const apps = await follow(directory, 'app', (_app, place) => placeOf(place));
      const tokens = await createTokens({ directory, vault, clock, limits: { ...LIMITS, ...limits }, apps });
      t.after(() => tokens.stop());
      return tokens;
    },
  };
}

test('whoever keeps connections is told of a revocation, and learns which of them it is about', async (t) => {
  const { open, directory } = await setUp(t);
  const [tokens, elsewhere] = [await open(), await open()];
  const [one, other] = [await tokens.make(BACKEND, GRANT), await tokens.make(BACKEND, GRANT)];
  const callers = [await tokens.check(one.token), await tokens.check(other.token)] as const;
  let told = 0;
  const forget = tokens.onRevoked(() => void told++);
  await elsewhere.revocations.revoke('default', { app: 'shop', jti: one.jti });
  await settle();
  assert.equal(told, 1);
  assert.deepEqual(
    callers.map((caller) => tokens.refusalOf(caller)?.code),
    ['token_revoked', undefined],
  );
  assert.equal(tokens.refusalOf(BACKEND), undefined);
  await directory.delete('key', 'default', 'key_1');
  await settle();
  assert.equal(told, 2);
  assert.deepEqual(
    [callers[1], BACKEND].map((caller) => tokens.refusalOf(caller)?.code),
    ['token_revoked', 'unauthorized'],
  );
  forget();
  await elsewhere.keys.rotate({ now: true });
  await settle();
  assert.equal(told, 2);
});

test('an app that is made again takes no token of the one before, and each of its own', async (t) => {
  const { open, directory, clock } = await setUp(t);
  const [tokens, elsewhere] = [await open(), await open()];
  const former = await tokens.make(BACKEND, GRANT);
  const caller = await tokens.check(former.token);
  let told = 0;
  tokens.onRevoked(() => void told++);
  await directory.delete('app', 'default', 'shop');
  await settle();
  assert.deepEqual([told, tokens.refusalOf(caller)?.code], [1, 'token_revoked']);
  clock.pass(1);
  const appCreatedMs = clock.now();
  await directory.put('app', 'default', 'shop', { name: 'shop', createdMs: appCreatedMs });
  await settle();
  assert.throws(() => tokens.check(former.token), { code: 'token_revoked' });
  await assert.rejects(Promise.resolve(elsewhere.check(former.token)), { code: 'token_revoked' });
  // In the very second in which it was made, as JWTs have it before that.
  const made = await tokens.make(BACKEND, { ...GRANT, appCreatedMs });
  assert.ok((decodeJwt(made.token).iat ?? 0) * 1_000 < appCreatedMs);
  // By a node whose clock is behind the one that made it.
  clock.jump(-1_000);
  const behind = await tokens.make(BACKEND, { ...GRANT, appCreatedMs });
  for (const { token } of [made, behind])
    for (const node of [tokens, elsewhere]) assert.equal((await node.check(token)).app, 'shop');
  assert.deepEqual([told, tokens.refusalOf(caller)?.code], [2, 'token_revoked']);
});

test('revocations are bounded per app, and forgotten once nothing they are about can live', async (t) => {
  const { open, directory, clock } = await setUp(t);
  const { revocations } = await open(undefined, { revocationsOfApp: 2 });
  for (const jti of ['tok_1', 'tok_2', 'tok_2']) await revocations.revoke('default', { app: 'shop', jti });
  await assert.rejects(revocations.revoke('default', { app: 'shop', jti: 'tok_3' }), { code: 'too_many_requests' });
  await revocations.revoke('default', { app: 'crm', jti: 'tok_3' });
  await revocations.revokeAll('default', { app: 'shop', beforeMs: clock.now() });
  await clock.advance(15 * 60_000 + 5_001);
  await revocations.revoke('default', { app: 'shop', jti: 'tok_4' });
  assert.equal((await directory.list('revocation', { limit: 10 })).length, 1);
});

test('a key is rotated by its age, once for all nodes, and the former goes when it does not verify any more', async (t) => {
  const { open, clock, directory } = await setUp(t);
  const nodes = [await open(), await open()];
  const [former] = nodes[0]?.keys.keys() ?? [];
  await clock.advance(30 * 86_400_000);
  await settle();
  const ring = (await directory.get('keyring', 'default', 'tokens'))?.value.keys ?? [];
  assert.equal(ring.length, 2);
  assert.equal(ring[1]?.kid, former?.kid);
  await clock.advance(2 * 3_600_000);
  for (const { keys } of nodes) {
    assert.deepEqual(
      keys.keys().map(({ kid }) => kid),
      [ring[0]?.kid],
    );
    assert.equal(keys.verifying(former?.kid ?? ''), undefined);
  }
  assert.equal((await directory.get('keyring', 'default', 'tokens'))?.value.keys.length, 1);
});

test('a node that has not heard of a key yet reads again before it refuses, and not for every stranger', async (t) => {
  const { directory, open, clock } = await setUp(t);
  const first = await open();
  let reads = 0;
  // A node whose watch is late.
  const late = {
    ...directory,
    watch: () => () => undefined,
    get: ((kind: 'keyring', environment: string, id: string) => {
      if (kind === 'keyring') reads++;
      return directory.get(kind, environment, id);
    }) as Directory['get'],
  };
  const apps = await follow(directory, 'app', (_app, place) => placeOf(place));
  const second = await createTokens({ directory: late, vault: createVault(KEYS[0]), clock, limits: LIMITS, apps });
  t.after(() => second.stop());
  await first.keys.rotate({ now: true });
  await clock.advance(1_000);
  assert.equal((await second.check((await first.make(BACKEND, GRANT)).token)).app, 'shop');
  const before = reads;
  const forged = (await first.make(BACKEND, GRANT)).token.replace(
    /^[^.]+/,
    Buffer.from('{"alg":"EdDSA","typ":"millrace+jwt","kid":"x"}').toString('base64url'),
  );
  for (let tries = 0; tries < 5; tries++)
    await assert.rejects(Promise.resolve(second.check(forged)), { code: 'token_key_unknown' });
  assert.equal(reads, before);
});

test('keys outlive a new key for secrets, and are replaced where that was lost', async (t) => {
  const { open, directory, clock } = await setUp(t);
  const made = await (await open()).make(BACKEND, GRANT);
  const rotated = createVault(KEYS[1], KEYS[0]);
  assert.equal(await reseal(directory, rotated), 1);
  assert.equal(await reseal(directory, rotated), 0);
  const again = await open(createVault(KEYS[1]));
  assert.equal((await again.check((await again.make(BACKEND, GRANT)).token)).app, 'shop');
  const lost = await open(createVault(new Uint8Array(32).fill(9)));
  assert.equal((await lost.check(made.token)).app, 'shop', 'what was made before still verifies');
  assert.equal((await lost.check((await lost.make(BACKEND, GRANT)).token)).app, 'shop');
  await reseal(directory, createVault(KEYS[1], new Uint8Array(32).fill(9)));
  await clock.advance(1);
});

test('tokens that were verified are remembered up to a bound, and verified again beyond it', async (t) => {
  const { open } = await setUp(t);
  const tokens = await open(undefined, { tokensKept: 1 });
  const texts = [await tokens.make(BACKEND, GRANT), await tokens.make(BACKEND, GRANT)].map(({ token }) => token) as [
    string,
    string,
  ];
  assert.ok(tokens.check(texts[0]) instanceof Promise);
  await tokens.check(texts[0]);
  assert.ok(!(tokens.check(texts[0]) instanceof Promise));
  await tokens.check(texts[1]);
  assert.ok(tokens.check(texts[0]) instanceof Promise);
});

test('no token lives longer than the key that makes it', async (t) => {
  const { open, directory, clock } = await setUp(t);
  const tokens = await open();
  const key = await directory.get('key', 'default', 'key_1');
  assert.ok(key);
  const endsMs = clock.now() + 90_500;
  await directory.put('key', 'default', 'key_1', { ...key.value, expiresMs: endsMs });
  await settle();
  const [long, short] = [await tokens.make(BACKEND, GRANT), await tokens.make(BACKEND, { ...GRANT, ttlMs: 60_000 })];
  const ends = Math.floor(endsMs / 1_000) * 1_000;
  assert.deepEqual([long.expiresMs, (await tokens.check(long.token)).token?.expiresMs], [ends, ends]);
  assert.equal(short.expiresMs, Math.floor((clock.now() + 60_000) / 1_000) * 1_000);
});

test('who may connect from where is asked with the header as it came', async (t) => {
  const { directory } = await setUp(t);
  const origins = createOrigins(await follow(directory, 'app', (_app, place) => placeOf(place)));
  assert.ok(origins.mayConnect(undefined, BACKEND));
  assert.ok(origins.mayConnect('https://shop.example', BACKEND));
  assert.ok(!origins.mayConnect('https://shop.example.evil.example', BACKEND));
  assert.ok(!origins.mayConnect('https://shop.example', { ...BACKEND, environment: 'staging' }));
});
