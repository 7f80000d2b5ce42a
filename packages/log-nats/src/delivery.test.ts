/** A message as consumers deliver it, in both forms of its reply subject. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Msg } from '@nats-io/transport-node';
import { deliveredOf } from './delivery.ts';

const HEADERS = 'NATS/1.0\r\nce-id: 1\r\n\r\n';
const BODY = '{"n":1}';

/** As the client hands it over: headers and body side by side, the body alone to be seen. */
function message(reply: string, subject = 'orders.created'): Msg {
  const bytes = Buffer.from(`--${HEADERS}${BODY}`);
  const size = () => reply.length + subject.length + HEADERS.length + BODY.length;
  return {
    reply,
    subject,
    data: new Uint8Array(bytes.buffer, bytes.byteOffset + 2 + HEADERS.length, BODY.length),
    size,
  } as unknown as Msg;
}

const EXPECTED = { sequence: 9_007_199_254, delivery: 17, timeMs: 1_795_000_000_123, pending: 4, subject: 'orders.created' };

for (const [form, reply] of [
  ['of nine tokens', '$JS.ACK.MILLRACE.c1.1.9007199254.17.1795000000123456789.4'],
  ['with domain and account', '$JS.ACK.hub.ACCOUNT.MILLRACE.c1.1.9007199254.17.1795000000123456789.4.rnd'],
] as const) {
  test(`a delivery is read from a reply subject ${form}`, () => {
    const { headers, body, ...place } = deliveredOf(message(reply))!;
    assert.deepEqual(place, EXPECTED);
    assert.equal(Buffer.from(headers!).toString(), HEADERS);
    assert.equal(Buffer.from(body).toString(), BODY);
  });
}

test('what is no delivery is none: a status, or a message that somebody else sent', () => {
  assert.equal(deliveredOf(message('$JS.FC.MILLRACE.c1.x')), undefined);
  assert.equal(deliveredOf(message('_INBOX.x')), undefined);
});
