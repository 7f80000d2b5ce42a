import assert from 'node:assert/strict';
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import { Webhook as SvixWebhook } from 'svix';
import { type Named, refusal, vectors } from '../test/vectors.ts';
import {
  equalBytes,
  formatSimple,
  formatV1,
  newSecret,
  parseSecret,
  signedContent,
  signSimple,
  signStandard,
  simpleKey,
  verifySimple,
  verifyStandard,
} from './signatures.ts';

interface Body {
  body?: string;
  bodyBase64?: string;
}
const cases = vectors<{
  sign: (Named & Body & { id: string; timestampSeconds: number; secrets: string[]; publicKey?: string; signature: string })[];
  simple: (Named & { secret: string; body: string; signature: string })[];
  verify: (Named & {
    headers: Record<string, string>;
    body: string;
    secrets: string[];
    nowSeconds: number;
    reason: string | null;
  })[];
  refusedSecrets: (Named & { secret: string })[];
}>('signatures');
const bytesOf = ({ body, bodyBase64 }: Body) =>
  bodyBase64 === undefined ? Buffer.from(body ?? '') : Buffer.from(bodyBase64, 'base64');
const reader = (headers: Record<string, string>) => (name: string) => headers[name];

for (const { name, id, timestampSeconds, secrets, signature, ...content } of cases.sign) {
  test(`signing gives ${name}`, async () => {
    assert.equal(await signStandard({ id, timestampSeconds, body: bytesOf(content), secrets }), signature);
  });
}

for (const { name, secret, body, signature } of cases.simple) {
  test(`signing gives ${name}`, async () => {
    assert.equal(await signSimple(secret, Buffer.from(body)), signature);
    assert.deepEqual(await verifySimple(signature, Buffer.from(body), ['other', secret]), { ok: true });
  });
}

for (const { name, headers, body, secrets, nowSeconds, reason } of cases.verify) {
  test(`verifying: ${name}`, async () => {
    const result = await verifyStandard({ headers: reader(headers), body: Buffer.from(body), secrets, nowMs: nowSeconds * 1000 });
    assert.equal(result.ok ? null : result.reason, reason);
  });
}

for (const { name, secret } of cases.refusedSecrets) {
  test(`a secret is refused and not shown: ${name}`, () => {
    const problem = refusal(() => parseSecret(secret, '/secret'), 'invalid_secret', '/secret');
    assert.ok(!problem.message.includes(secret.slice(6)));
  });
}

test('the synchronous parts with node:crypto give the same as WebCrypto', async () => {
  const secret = newSecret();
  const body = Buffer.from('{"amount": 12345678901234567890}');
  const parsed = parseSecret(secret);
  assert.ok(parsed.kind === 'symmetric');
  const mac = createHmac('sha256', parsed.key)
    .update(signedContent('msg_1', 1_700_000_000, body))
    .digest();
  assert.equal(formatV1(mac), await signStandard({ id: 'msg_1', timestampSeconds: 1_700_000_000, body, secrets: [secret] }));
  assert.equal(formatSimple(createHmac('sha256', simpleKey(secret)).update(body).digest()), await signSimple(secret, body));
});

test('the Standard Webhooks and Svix libraries verify what we sign, with several secrets too', async () => {
  const [secret, older] = [newSecret(), newSecret()];
  const timestampSeconds = Math.floor(Date.now() / 1000);
  const payload = '{"name": "Grüße", "n": 1}';
  const signature = await signStandard({ id: 'msg_2', timestampSeconds, body: Buffer.from(payload), secrets: [secret, older] });
  const headers = { 'webhook-id': 'msg_2', 'webhook-timestamp': String(timestampSeconds), 'webhook-signature': signature };
  for (const one of [secret, older]) {
    assert.deepEqual(new StandardWebhook(one).verify(payload, headers), JSON.parse(payload));
    assert.doesNotThrow(() => new SvixWebhook(one).verify(payload, headers));
  }
  assert.throws(() => new StandardWebhook(newSecret()).verify(payload, headers));
  assert.throws(() => new SvixWebhook(newSecret()).verify(payload, headers));
});

test('we verify what the Standard Webhooks and Svix libraries sign', async () => {
  const secret = newSecret();
  const now = new Date();
  const payload = '{"b":"\\u00e9"}';
  for (const library of [new StandardWebhook(secret), new SvixWebhook(secret)]) {
    const headers = {
      'webhook-id': 'msg_3',
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': library.sign('msg_3', now, payload),
    };
    const result = await verifyStandard({
      headers: reader(headers),
      body: Buffer.from(payload),
      secrets: [newSecret(), secret],
      nowMs: now.getTime(),
    });
    assert.deepEqual(result, { ok: true, id: 'msg_3', timestampSeconds: Math.floor(now.getTime() / 1000) });
  }
});

test('Ed25519 agrees with node:crypto in both directions', async () => {
  const pair = generateKeyPairSync('ed25519');
  const { d = '', x = '' } = pair.privateKey.export({ format: 'jwk' });
  const base64 = (...parts: string[]) => Buffer.concat(parts.map((part) => Buffer.from(part, 'base64url'))).toString('base64');
  const body = Buffer.from('{}');
  const content = signedContent('msg_4', 1_700_000_000, body);
  const ours = await signStandard({ id: 'msg_4', timestampSeconds: 1_700_000_000, body, secrets: [`whsk_${base64(d)}`] });
  assert.equal(
    ours,
    await signStandard({ id: 'msg_4', timestampSeconds: 1_700_000_000, body, secrets: [`whsk_${base64(d, x)}`] }),
  );
  assert.ok(verify(null, content, pair.publicKey, Buffer.from(ours.slice(4), 'base64')));
  const theirs = `v1a,${sign(null, content, pair.privateKey).toString('base64')}`;
  for (const secret of [`whpk_${base64(x)}`, `whsk_${base64(d)}`]) {
    const headers = { 'webhook-id': 'msg_4', 'webhook-timestamp': '1700000000', 'webhook-signature': theirs };
    const result = await verifyStandard({ headers: reader(headers), body, secrets: [secret], nowMs: 1_700_000_000_000 });
    assert.ok(result.ok);
  }
});

test('the published Ed25519 vector belongs to the published public key, says node:crypto', () => {
  const vector = cases.sign.find((one) => one.publicKey !== undefined);
  assert.ok(vector?.publicKey !== undefined);
  const x = Buffer.from(vector.publicKey.slice(5), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const content = signedContent(vector.id, vector.timestampSeconds, bytesOf(vector));
  assert.ok(verify(null, content, key, Buffer.from(vector.signature.slice(4), 'base64')));
  const d = Buffer.from(vector.secrets[0]?.slice(5) ?? '', 'base64')
    .subarray(0, 32)
    .toString('base64url');
  const privateKey = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d, x }, format: 'jwk' });
  assert.equal(`v1a,${sign(null, content, privateKey).toString('base64')}`, vector.signature);
});

test('a public key does not sign', async () => {
  await assert.rejects(
    signStandard({
      id: 'a',
      timestampSeconds: 1,
      body: Buffer.from(''),
      secrets: [`whpk_${Buffer.alloc(32).toString('base64')}`],
    }),
    {
      code: 'invalid_secret',
    },
  );
});

test('hostile signatures end in a value, not in an exception', async () => {
  const values = [
    '',
    ' ',
    ',',
    'v1',
    'v1,',
    'v1a,',
    'v1a,!!!!',
    'v1a,AAAA',
    `v1a,${'A'.repeat(86)}==`,
    'v1,\u{1F600}',
    'v1,x '.repeat(50_000),
  ];
  const secrets = [
    newSecret(),
    `whpk_${Buffer.alloc(32, 255).toString('base64')}`,
    'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=',
  ];
  for (const value of values) {
    const headers = { 'webhook-id': 'a', 'webhook-timestamp': '100', 'webhook-signature': value };
    const result = await verifyStandard({ headers: reader(headers), body: Buffer.from(''), secrets, nowMs: 100_000 });
    assert.ok(!result.ok);
  }
});

test('only the first 32 signatures are looked at', async () => {
  const secret = newSecret();
  const good = await signStandard({ id: 'a', timestampSeconds: 100, body: Buffer.from(''), secrets: [secret] });
  const verifyWith = (before: number) => {
    const headers = {
      'webhook-id': 'a',
      'webhook-timestamp': '100',
      'webhook-signature': [...Array<string>(before).fill('v1,x'), good].join(' '),
    };
    return verifyStandard({ headers: reader(headers), body: Buffer.from(''), secrets: [secret], nowMs: 100_000 });
  };
  assert.ok((await verifyWith(31)).ok);
  assert.ok(!(await verifyWith(32)).ok);
});

test('a simple signature is refused when missing, changed or in capitals', async () => {
  const body = Buffer.from('{}');
  const signature = await signSimple('secret', body);
  assert.deepEqual(await verifySimple(undefined, body, ['secret']), { ok: false, reason: 'missing_header' });
  assert.deepEqual(await verifySimple(signature.toUpperCase(), body, ['secret']), { ok: false, reason: 'no_matching_signature' });
  assert.deepEqual(await verifySimple(signature, Buffer.from('{ }'), ['secret']), { ok: false, reason: 'no_matching_signature' });
  assert.deepEqual(await verifySimple(signature, body, ['']), { ok: false, reason: 'bad_secret' });
});

test('a new secret is 32 bytes of the given random', () => {
  assert.equal(
    newSecret((count) => new Uint8Array(count).fill(1)),
    `whsec_${Buffer.alloc(32, 1).toString('base64')}`,
  );
  assert.notEqual(newSecret(), newSecret());
});

test('bytes are equal where all of them are', () => {
  assert.ok(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2)));
  assert.ok(!equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3)));
  assert.ok(!equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2, 3)));
});
