/** Our HMAC against node's own and the vectors of RFC 4231. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { createHmacSha256 } from './hmac.ts';

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

test('the vectors of RFC 4231', () => {
  const cases = [
    ['0b'.repeat(20), Buffer.from('Hi There'), 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    [
      Buffer.from('Jefe').toString('hex'),
      Buffer.from('what do ya want for nothing?'),
      '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    ],
    ['aa'.repeat(20), Buffer.alloc(50, 0xdd), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
    [
      'aa'.repeat(131),
      Buffer.from('Test Using Larger Than Block-Size Key - Hash Key First'),
      '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
    ],
  ] as const;
  for (const [key, message, mac] of cases) assert.equal(createHmacSha256(bytes(key))('', message, 'hex'), mac);
});

test("keys and messages of every length around the blocks, and beyond what is kept ready, as node's own has them", () => {
  for (const keyBytes of [0, 1, 24, 63, 64, 65, 200]) {
    const key = new Uint8Array(keyBytes).fill(keyBytes);
    const hmac = createHmacSha256(key);
    for (const bodyBytes of [0, 1, 55, 64, 1_024, 16_383, 16_384, 16_385, 300_000]) {
      const body = new Uint8Array(bodyBytes).fill(bodyBytes % 251);
      for (const head of ['', 'msg_abc.1700000000.']) {
        const expected = createHmac('sha256', key).update(head).update(body);
        assert.equal(hmac(head, body, 'base64'), expected.digest('base64'), `${keyBytes} ${head.length} ${bodyBytes}`);
      }
    }
  }
});

test('two keys in turn do not touch each other', () => {
  const [one, other] = [createHmacSha256(bytes('01'.repeat(32))), createHmacSha256(bytes('02'.repeat(40)))];
  const body = Buffer.from('body');
  const first = one('h', body, 'hex');
  assert.notEqual(other('h', body, 'hex'), first);
  assert.equal(one('h', body, 'hex'), first);
});
