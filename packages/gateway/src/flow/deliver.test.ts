/** Deliver: the request an event becomes, and what an answer means. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSecret } from '@millrace/core/signatures';
import { Webhook } from 'standardwebhooks';
import { createHandClock, createScriptedSender, settle } from '../../test/clock.ts';
import type { LogRecord } from '../ports/log.ts';
import type { SendError, SendRequest, SendResult } from '../ports/sender.ts';
import { type OpenSecret, simpleSigner, standardSigner } from '../signing.ts';
import { createDeliver, type Outcome, type Target } from './deliver.ts';

const SECRET = newSecret(() => new Uint8Array(32).fill(3));
const forEver = (texts: readonly string[]): OpenSecret[] => texts.map((text) => ({ text, untilSeconds: Infinity }));
const TARGET: Target = {
  uid: 'uid1',
  id: 'crm',
  url: 'https://crm.example/',
  headers: {},
  timeoutMs: 7,
  form: 'data',
  signer: standardSigner(forEver([SECRET])),
};
const TEXT = '{ "n": 12345678901234567890 }';
const RECORD: LogRecord = {
  shard: 'a',
  position: '0042',
  timeMs: 5,
  environment: 'default',
  app: 'shop',
  size: 1,
  event: {
    id: '1',
    source: '/s',
    type: 'orders.created',
    time: '2026-01-01T00:00:00Z',
    extensions: { partitionkey: 'k', traceparent: '00-a' },
    data: Buffer.from(TEXT),
  },
};

async function sentBy(target: Partial<Target> = {}, record: LogRecord = RECORD, run?: string) {
  const clock = createHandClock();
  const sender = createScriptedSender(clock);
  await createDeliver({ sender, clock })({ ...TARGET, ...target }, record, { lane: '', n: 1, run });
  const [sent] = sender.sent;
  assert.ok(sent !== undefined);
  return sent;
}

const withEvent = (change: Partial<LogRecord['event']>): LogRecord => ({ ...RECORD, event: { ...RECORD.event, ...change } });
const idOf = async (...args: Parameters<typeof sentBy>) => (await sentBy(...args)).headers['webhook-id'];

test('the body is the payload as it was sent, the attributes stand in headers', async () => {
  const { headers, body, url, timeoutMs, subscription } = await sentBy();
  assert.equal(Buffer.from(body).toString(), TEXT);
  assert.deepEqual([url, timeoutMs, subscription], ['https://crm.example/', 7, 'uid1']);
  const { 'webhook-id': id, 'webhook-timestamp': _stamp, 'webhook-signature': _signature, ...rest } = headers;
  assert.match(id ?? '', /^msg_[a-z2-7]{26}$/i);
  assert.deepEqual(rest, {
    'content-type': 'application/json',
    'ce-specversion': '1.0',
    'ce-id': '1',
    'ce-source': '/s',
    'ce-type': 'orders.created',
    'ce-time': '2026-01-01T00:00:00Z',
    'ce-partitionkey': 'k',
    'ce-traceparent': '00-a',
    'ce-sequence': '0042',
    'x-idempotency-key': id,
    'millrace-subscription': 'crm',
  });
});

test('as an event, the body is the CloudEvent with its place in the log', async () => {
  const { headers, body } = await sentBy({ form: 'event' });
  assert.match(headers['content-type'] ?? '', /^application\/cloudevents\+json/);
  assert.ok(!Object.keys(headers).some((name) => name.startsWith('ce-')));
  const text = Buffer.from(body).toString();
  assert.ok(text.includes('12345678901234567890'));
  const { data: _data, ...event } = JSON.parse(text);
  assert.deepEqual([event.id, event.type, event.sequence, event.partitionkey], ['1', 'orders.created', '0042', 'k']);
});

test("a publisher's own sequence is kept", async () => {
  const record = withEvent({ extensions: { sequence: '7' } });
  assert.equal((await sentBy({}, record)).headers['ce-sequence'], '7');
  const { body } = await sentBy({ form: 'event' }, record);
  assert.equal(JSON.parse(Buffer.from(body).toString()).sequence, '7');
});

test('one event for two subscriptions with other forms goes to each in its own', async () => {
  const clock = createHandClock();
  const sender = createScriptedSender(clock);
  const deliver = createDeliver({ sender, clock });
  for (const form of ['data', 'event', 'data'] as const) await deliver({ ...TARGET, form }, RECORD);
  assert.deepEqual(
    sender.sent.map(({ headers }) => headers['ce-id']),
    ['1', undefined, '1'],
  );
});

test('headers of a subscription are added, and never replace what is ours', async () => {
  const { headers } = await sentBy({
    headers: { authorization: 'Bearer x', 'ce-id': 'forged', 'webhook-id': 'forged', 'millrace-subscription': 'forged' },
  });
  assert.equal(headers['authorization'], 'Bearer x');
  assert.deepEqual([headers['ce-id'], headers['millrace-subscription']], ['1', 'crm']);
  assert.match(headers['webhook-id'] ?? '', /^msg_/);
});

test('the webhook-id is the same for the same delivery whatever its place in the log, and another for any other', async () => {
  const id = await idOf();
  assert.equal(await idOf({ url: 'https://other/', form: 'event' }, { ...RECORD, position: '0099', shard: 'b', timeMs: 9 }), id);
  const others = await Promise.all([
    idOf({ uid: 'uid2' }),
    idOf({}, { ...RECORD, app: 'erp' }),
    idOf({}, withEvent({ id: '2' })),
    idOf({}, withEvent({ source: '/t' })),
    idOf({}, RECORD, 'run_1'),
    idOf({}, RECORD, 'run_2'),
  ]);
  assert.equal(new Set([id, ...others]).size, 7);
  assert.equal(await idOf({}, RECORD, 'run_1'), others[4]);
});

test('the Standard Webhooks library verifies it, with the old secret and the new one during a rotation', async (t) => {
  // The library asks the machine's clock whether the signature is recent.
  t.mock.timers.enable({ apis: ['Date'], now: createHandClock().now() });
  const older = newSecret();
  const { headers, body } = await sentBy({ signer: standardSigner(forEver([SECRET, older])) });
  for (const secret of [SECRET, older]) assert.ok(new Webhook(secret).verify(Buffer.from(body).toString(), headers));
  assert.throws(() => new Webhook(newSecret()).verify(Buffer.from(body).toString(), headers));
});

test('a simple signature comes with an id and a time too', async () => {
  const { headers } = await sentBy({ signer: simpleSigner(forEver(['sixteen characters'])) });
  assert.match(headers['x-signature'] ?? '', /^[0-9a-f]{64}$/);
  assert.ok(headers['webhook-id'] !== undefined && headers['webhook-timestamp'] !== undefined);
});

const simple = (form: Target['form'] = 'simple-data'): Partial<Target> => ({
  form,
  signer: simpleSigner(forEver(['sixteen characters'])),
});

test('simple writes JSON as its receiver prints it again, unless that changes a value or was switched off', async () => {
  const cases: [string | undefined, Target['form'], string][] = [
    ['{ "a": 1.0 }', 'simple-data', '{"a":1}'],
    ['{ "a": 1.0 }', 'simple-data-as-sent', '{ "a": 1.0 }'],
    [TEXT, 'simple-data', TEXT],
    [undefined, 'simple-data', '{}'],
    [undefined, 'simple-data-as-sent', '{}'],
  ];
  for (const [text, form, expected] of cases) {
    const { data: _data, ...event } = RECORD.event;
    const record = { ...RECORD, event: text === undefined ? event : { ...event, data: Buffer.from(text) } };
    const { headers, body } = await sentBy(simple(form), record);
    assert.deepEqual([Buffer.from(body).toString(), headers['content-type']], [expected, 'application/json'], form);
  }
  const typed = withEvent({ datacontenttype: 'application/vnd.shop+json; charset=utf-8', data: Buffer.from('[ ]') });
  assert.equal((await sentBy(simple(), typed)).headers['content-type'], 'application/json');
  const plain = await sentBy(simple(), withEvent({ datacontenttype: 'text/plain', data: Buffer.from('{ }') }));
  assert.deepEqual([plain.headers['content-type'], Buffer.from(plain.body).toString()], ['text/plain', '{ }']);
});

test('simple writes the whole event likewise', async () => {
  const { headers, body } = await sentBy(simple('simple-event'), withEvent({ data: Buffer.from('{ "a": 1 }') }));
  const text = Buffer.from(body).toString();
  assert.deepEqual([headers['content-type'], JSON.stringify(JSON.parse(text))], ['application/json', text]);
});

test('headers named as what every object has go out: such as are refused at the door by now may be there from before', async () => {
  const own = '{"valueof":"v"}';
  const { headers } = await sentBy(
    { headers: { constructor: 'subscription' } },
    withEvent({ extensions: { webhookheaders: own } }),
  );
  const sent = new Map(Object.entries(headers));
  assert.deepEqual(
    ['constructor', 'valueof'].map((name) => sent.get(name)),
    ['subscription', 'v'],
  );
});

test("an event's own headers go out, behind what is ours and the subscription's", async () => {
  const own = JSON.stringify({ 'X-Tenant': 'a', 'X-Both': 'event' });
  const record = withEvent({ extensions: { webhookheaders: own } });
  const { headers } = await sentBy({ headers: { 'x-both': 'subscription' } }, record);
  assert.deepEqual([headers['x-tenant'], headers['x-both'], headers['ce-webhookheaders']], ['a', 'subscription', undefined]);
  // What came in past accept, by a native client.
  for (const bad of ['{"Authorization":"x"}', '{"ce-id":"x"}', '[]', 'x', '{"a":"\\n"}'])
    assert.equal((await sentBy({}, withEvent({ extensions: { webhookheaders: bad } }))).headers['ce-id'], '1', bad);
});

for (const status of [401, 403, 500]) {
  test(`while two secrets count, a simple delivery answered ${status} is tried with the other one at once`, async () => {
    const signer = simpleSigner(forEver(['the newer secret', 'the older secret']));
    const clock = createHandClock();
    const signatures: (string | undefined)[] = [];
    const older = signer.other(1)?.('', 1, Buffer.from(TEXT))['x-signature'];
    const sender = {
      send: async ({ headers }: SendRequest): Promise<SendResult> => {
        signatures.push(headers['x-signature']);
        return { status: headers['x-signature'] === older ? 200 : status, durationMs: 1 };
      },
      close: async () => undefined,
    };
    const deliver = createDeliver({ sender, clock });
    const target = { ...TARGET, form: 'simple-data', signer } as const;
    assert.deepEqual([(await deliver(target, RECORD)).kind, signatures.length], ['delivered', 2]);
    // The one that worked goes first from now on.
    assert.deepEqual([(await deliver(target, RECORD)).kind, signatures.length], ['delivered', 3]);
    assert.equal(signatures[2], older);
  });
}

test('an answer that is not about the signature, or no second secret, is one request', async () => {
  for (const [status, secrets] of [
    [404, ['the newer secret', 'the older secret']],
    [401, ['the newer secret']],
  ] as const) {
    const clock = createHandClock();
    let requests = 0;
    const send = async (): Promise<SendResult> => (requests++, { status, durationMs: 1 });
    const signer = simpleSigner(forEver(secrets));
    const outcome = await createDeliver({ sender: { send, close: async () => undefined }, clock })({ ...TARGET, signer }, RECORD);
    assert.deepEqual([outcome.cause, requests], [`http_${status}`, 1]);
  }
});

async function outcomeOf(result: number | SendResult): Promise<Outcome> {
  const clock = createHandClock();
  const sender = createScriptedSender(clock);
  sender.script = () => undefined;
  const outcome = createDeliver({ sender, clock })(TARGET, RECORD);
  await settle();
  sender.sent[0]?.answer(result);
  return outcome;
}

const ANSWERS: readonly (readonly [status: number, kind: Outcome['kind'], evidence: Outcome['evidence'], slowDown?: boolean])[] =
  [
    [200, 'delivered', 'success'],
    [204, 'delivered', 'success'],
    [299, 'delivered', 'success'],
    [301, 'failed', 'refusal'],
    [400, 'failed', 'refusal'],
    [404, 'failed', 'refusal'],
    [408, 'failed', 'failing'],
    [410, 'failed', 'refusal'],
    [429, 'failed', 'busy', true],
    [500, 'failed', 'failing'],
    [503, 'failed', 'failing', false],
    [599, 'failed', 'failing'],
  ];

for (const [status, kind, evidence, slowDown = false] of ANSWERS) {
  test(`an answer ${status} is ${kind}: ${evidence}`, async () => {
    const outcome = await outcomeOf({ status, snippet: 'why', durationMs: 3 });
    assert.deepEqual([outcome.kind, outcome.evidence, outcome.slowDown, outcome.status], [kind, evidence, slowDown, status]);
    assert.deepEqual([outcome.cause, outcome.snippet], kind === 'delivered' ? ['', ''] : [`http_${status}`, 'why']);
    assert.equal(outcome.durationMs, 3);
  });
}

test('a receiver that says when to come back is heard, and slows the subscription down where it is overloaded', async () => {
  for (const [status, slowDown] of [
    [429, true],
    [502, true],
    [503, true],
    [504, true],
    [500, false],
    [400, false],
  ] as const) {
    const outcome = await outcomeOf({ status, retryAfterMs: 5_000, durationMs: 1 });
    assert.deepEqual([outcome.retryAfterMs, outcome.slowDown], [5_000, slowDown], String(status));
  }
});

const ERRORS: Readonly<Record<SendError, Outcome['evidence'] | 'aborted'>> = {
  dns: 'unreachable',
  refused: 'unreachable',
  unreachable: 'unreachable',
  connect_timeout: 'unreachable',
  tls: 'unreachable',
  // Not `failing`: when a breaker opens would tell whether a name leads inside.
  blocked_address: 'unreachable',
  reset: 'failing',
  timeout: 'failing',
  protocol: 'failing',
  aborted: 'aborted',
};

for (const [error, means] of Object.entries(ERRORS)) {
  test(`the error ${error} means ${means}`, async () => {
    const outcome = await outcomeOf({ error: error as SendError, detail: 'x'.repeat(2_000), durationMs: 1 });
    assert.equal(outcome.kind, means === 'aborted' ? 'aborted' : 'failed');
    if (means !== 'aborted') assert.equal(outcome.evidence, means);
    assert.deepEqual([outcome.cause, outcome.status, outcome.slowDown, outcome.snippet.length], [error, 0, false, 1_024]);
  });
}
