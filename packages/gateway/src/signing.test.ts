/** Signing in the hot path gives what spec/vectors promises and what core signs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { newSecret, signStandard, verifySimple, verifyStandard } from '@millrace/core/signatures';
import { Webhook } from 'svix';
import { type OpenSecret, simpleSigner, standardSigner } from './signing.ts';

const forEver = (texts: readonly string[]): OpenSecret[] => texts.map((text) => ({ text, untilSeconds: Infinity }));
const standardSign = (secrets: readonly string[]) => standardSigner(forEver(secrets)).sign;
const simpleSign = (secrets: readonly string[]) => simpleSigner(forEver(secrets)).sign;

interface Vectors {
  readonly sign: readonly {
    readonly name: string;
    readonly id: string;
    readonly timestampSeconds: number;
    readonly secrets: readonly string[];
    readonly signature: string;
    readonly body?: string;
    readonly bodyBase64?: string;
  }[];
  readonly simple: readonly {
    readonly name: string;
    readonly secret: string;
    readonly body: string;
    readonly signature: string;
  }[];
}

const vectors: Vectors = JSON.parse(readFileSync(new URL('../../../spec/vectors/signatures.json', import.meta.url), 'utf8'));

for (const { name, id, timestampSeconds, secrets, signature, body, bodyBase64 } of vectors.sign) {
  test(`signing gives ${name}`, () => {
    const bytes = bodyBase64 === undefined ? Buffer.from(body ?? '') : Buffer.from(bodyBase64, 'base64');
    assert.deepEqual(standardSign(secrets)(id, timestampSeconds, bytes), {
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signature,
    });
  });
}

for (const { name, secret, body, signature } of vectors.simple) {
  test(`signing gives ${name}`, () => {
    const headers = simpleSign([secret, 'an older one'])('msg_1', 5, Buffer.from(body));
    assert.deepEqual(headers, { 'webhook-id': 'msg_1', 'webhook-timestamp': '5', 'x-signature': signature });
  });
}

test('core and the Svix library verify it, whatever the bytes', async (t) => {
  const nowMs = Date.UTC(2026, 0, 1);
  t.mock.timers.enable({ apis: ['Date'], now: nowMs });
  const secrets = [newSecret(), `whsk_${Buffer.alloc(32, 5).toString('base64')}`];
  for (const body of [Buffer.from('{"a":"é"}'), Buffer.from([0, 255, 10]), Buffer.alloc(0), Buffer.alloc(100_000, 7)]) {
    const headers = standardSign(secrets)('msg_1', nowMs / 1_000, body);
    assert.equal(
      headers['webhook-signature'],
      await signStandard({ id: 'msg_1', timestampSeconds: nowMs / 1_000, body, secrets }),
    );
    for (const secret of secrets) {
      assert.ok((await verifyStandard({ headers: (name) => headers[name], body, secrets: [secret], nowMs })).ok);
    }
  }
  const body = Buffer.from('{"a":"é"}');
  const headers = standardSign(secrets)('msg_1', nowMs / 1_000, body);
  assert.doesNotThrow(() => new Webhook(secrets[0] ?? '').verify(body.toString(), { ...headers }));
  assert.throws(() => new Webhook(newSecret()).verify(body.toString(), { ...headers }));
  const simple = simpleSign(['sixteen characters'])('msg_1', 1, body);
  assert.ok((await verifySimple(simple['x-signature'], body, ['sixteen characters'])).ok);
});

test('a secret that is none is refused when it is compiled, not at the first delivery', () => {
  assert.throws(() => standardSign(['whsec_short']), { code: 'invalid_secret' });
});

test('a secret signs until its time is over', () => {
  const [older, newer] = [newSecret(), newSecret()];
  const { sign } = standardSigner([
    { text: newer, untilSeconds: Infinity },
    { text: older, untilSeconds: 100 },
  ]);
  const signatures = (seconds: number): number | undefined =>
    sign('msg_1', seconds, Buffer.from('x'))['webhook-signature']?.split(' ').length;
  assert.deepEqual([signatures(99), signatures(100)], [2, 1]);
});

test('a receiver with one secret is offered the other one, and the one that worked goes first', () => {
  const signer = simpleSigner([
    { text: 'the newer secret', untilSeconds: Infinity },
    { text: 'the older secret', untilSeconds: 100 },
  ]);
  const of = (sign: (typeof signer)['sign'] | undefined): string | undefined =>
    sign?.('msg_1', 1, Buffer.from('x'))['x-signature'];
  const [newer, older] = [of(signer.sign), of(signer.other(1))];
  assert.notEqual(newer, older);
  const other = signer.other(1);
  assert.ok(other);
  signer.prefer(other);
  assert.deepEqual([of(signer.sign), of(signer.other(1))], [older, newer]);
  // After the overlap there is one, whatever worked before.
  assert.equal(signer.other(100), undefined);
  assert.equal(signer.sign('msg_1', 100, Buffer.from('x'))['x-signature'], newer);
});

test('after several rotations every one of the others has its turn', () => {
  const signer = simpleSigner(forEver(['the first secret', 'the second secret', 'the third secret!']));
  assert.equal(new Set([signer.other(1), signer.other(1)]).size, 2);
});
