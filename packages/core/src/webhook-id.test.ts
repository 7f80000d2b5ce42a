import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type Named, seeded, vectors } from '../test/vectors.ts';
import { base32, type DeliveryIdentity, webhookId } from './webhook-id.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
const cases = vectors<{ webhookIds: (Named & { identity: DeliveryIdentity; webhookId: string })[] }>('signatures');

for (const { name, identity, webhookId: expected } of cases.webhookIds) {
  test(`a webhook id of ${name}`, () => assert.equal(webhookId(identity, sha256), expected));
}

test('different deliveries never share an id', () => {
  const parts = ['', 'a', 'b', 'ab', 'aa'];
  const ids = new Set<string>();
  let made = 0;
  for (const subscription of parts) {
    for (const publisher of parts) {
      for (const source of parts) {
        for (const id of parts) {
          for (const run of [undefined, ...parts]) {
            ids.add(webhookId({ subscription, publisher, source, id, ...(run === undefined ? {} : { run }) }, sha256));
            made += 1;
          }
        }
      }
    }
  }
  assert.equal(ids.size, made);
});

test('base32 gives the published results of RFC 4648', () => {
  const results = ['', 'f', 'fo', 'foo', 'foob', 'fooba', 'foobar'].map((text) => base32(new TextEncoder().encode(text)));
  assert.deepEqual(results, ['', 'my', 'mzxq', 'mzxw6', 'mzxw6yq', 'mzxw6ytb', 'mzxw6ytboi']);
});

test('base32 keeps the order of bytes and cuts to length', () => {
  const random = seeded(3);
  for (let round = 0; round < 500; round += 1) {
    const bytes = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256));
    let value = 0n;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    const digits = Array.from(
      { length: 26 },
      (_, at) => 'abcdefghijklmnopqrstuvwxyz234567'[Number(((value << 2n) >> BigInt(125 - 5 * at)) & 31n)],
    );
    assert.equal(base32(bytes, 26), digits.join(''));
  }
  assert.equal(base32(new Uint8Array(32), 5), 'aaaaa');
  assert.throws(() => base32(new Uint8Array(3), 6), RangeError);
});
