/** Publishing: attempts, waits, keys, tokens, with a server that answers as it is told. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { type Clock, connect, GatewayError, type HttpOptions, sendEvent, UnauthorizedError } from './millrace.ts';
import { type HandClock, handClock, settle } from './test/hand.ts';

type Answer = { readonly status: number; readonly headers?: Record<string, string>; readonly body?: unknown } | Error;

const TAKEN: Answer = { status: 202, body: { id: 'evt_1', status: 'appended' } };

interface Call {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

function scripted(answers: readonly Answer[]) {
  const clock = handClock();
  const calls: Call[] = [];
  const waits: number[] = [];
  const left = [...answers];
  const options: HttpOptions = {
    clock,
    fetch: async (url, { headers, body } = {}) => {
      calls.push({
        url: url as string,
        headers: headers as Record<string, string>,
        body: body === undefined ? undefined : JSON.parse(body as string),
      });
      const answer = left.shift() ?? TAKEN;
      if (answer instanceof Error) throw answer;
      return new Response(answer.body === undefined ? '' : JSON.stringify(answer.body), {
        status: answer.status,
        headers: answer.headers ?? {},
      });
    },
    hooks: { onRetry: ({ waitMs }) => waits.push(waitMs) },
  };
  return { clock, calls, waits, options };
}

/** What comes of it, with as much time as it wants. */
async function outcome<T>(clock: HandClock, work: Promise<T>): Promise<T | GatewayError> {
  let result: T | GatewayError | undefined;
  work.then(
    (value) => (result = value),
    (error: GatewayError) => (result = error),
  );
  await settle();
  while (result === undefined) await clock.advance(1_000);
  return result;
}

interface Signing {
  readonly name: string;
  readonly key: string;
  readonly id: string;
  readonly timestampSeconds: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

const SIGNING: { readonly sign: readonly Signing[] } = JSON.parse(
  readFileSync(new URL('../../spec/vectors/publish-signatures.json', import.meta.url), 'utf8'),
);

/** Time stands still and pauses are none, as signing takes a while of its own, off this thread. */
const unhurried: Clock = {
  nowMs: () => 0,
  wallMs: () => 1_795_874_436_000,
  random: () => 0,
  after(delayMs, work) {
    const pause = delayMs === 0 ? setImmediate(work) : undefined;
    return () => clearImmediate(pause);
  },
};

const EVENT = { type: 'orders.paid', data: { id: 17 } };
const publish = (answers: readonly Answer[], more = {}) => {
  const { clock, options, ...seen } = scripted(answers);
  return { ...seen, clock, result: outcome(clock, sendEvent('https://gateway.test/', 'mr_key', EVENT, { ...options, ...more })) };
};

/** Which answers are worth another attempt, and after how long: `waitMs` with chance at a half. */
const RETRIES: readonly { name: string; answer: Answer; waitMs: number | undefined }[] = [
  { name: 'no network', answer: new TypeError('fetch failed'), waitMs: 500 },
  ...[408, 425, 429, 500, 502, 503, 504, 507].map((status) => ({ name: `${status}`, answer: { status }, waitMs: 500 })),
  { name: '429 that says when', answer: { status: 429, headers: { 'retry-after': '7' } }, waitMs: 7_000 },
  { name: '503 that says at once', answer: { status: 503, headers: { 'retry-after': '0' } }, waitMs: 0 },
  { name: '409 that says when', answer: { status: 409, headers: { 'retry-after': '1' } }, waitMs: 1_000 },
  { name: '503 that says nonsense', answer: { status: 503, headers: { 'retry-after': 'soon' } }, waitMs: 500 },
  ...[400, 403, 404, 409, 413, 415, 422].map((status) => ({ name: `${status}`, answer: { status }, waitMs: undefined })),
];

describe('publishing', { timeout: 10_000 }, () => {
  for (const { name, answer, waitMs } of RETRIES)
    test(`${name} is ${waitMs === undefined ? 'no reason to try again' : `tried again after ${waitMs} ms`}`, async () => {
      const { result, waits } = publish([answer]);
      const found = await result;
      assert.deepEqual(waits, waitMs === undefined ? [] : [waitMs]);
      if (waitMs !== undefined) return assert.deepEqual(found, { id: 'evt_1', duplicate: false });
      assert.ok(found instanceof GatewayError);
      assert.deepEqual([found.status, found.retryable], [(answer as { status: number }).status, false]);
    });

  test('a page of somebody on the way is no answer of the gateway', async () => {
    const { clock, options, calls } = scripted([]);
    let pages = 1;
    const fetch: typeof globalThis.fetch = async (url, init) =>
      pages-- > 0 ? new Response('<html>log in</html>') : (options.fetch as typeof globalThis.fetch)(url, init);
    const sent = sendEvent('https://gateway.test', 'mr_key', EVENT, { ...options, fetch });
    assert.deepEqual(await outcome(clock, sent), { id: 'evt_1', duplicate: false });
    assert.equal(calls.length, 1);
  });

  test('a date says when as well', async () => {
    const at = new Date(handClock().wallMs() + 60_000).toUTCString();
    const { result, waits } = publish([{ status: 503, headers: { 'retry-after': at } }]);
    await result;
    assert.ok(waits[0] !== undefined && waits[0] > 58_000 && waits[0] <= 60_000);
  });

  test('every attempt is the same event under the same key, in the same trace', async () => {
    const { calls, result, waits } = publish([new TypeError('fetch failed'), { status: 500 }, { status: 500 }]);
    assert.deepEqual(await result, { id: 'evt_1', duplicate: false });
    assert.deepEqual(waits, [500, 1_000, 2_000]);
    assert.equal(calls.length, 4);
    for (const call of calls) assert.deepEqual(call, calls[0]);
    const { url, headers, body } = calls[0] as Call;
    assert.equal(url, 'https://gateway.test/v1/events');
    assert.equal(headers['authorization'], 'Bearer mr_key');
    assert.match(String(headers['traceparent']), /^00-[0-9a-f]{32}-[0-9a-f]{16}-02$/);
    const { id, ...rest } = body as { id: string };
    assert.deepEqual([headers['idempotency-key'], rest], [id, EVENT]);
    assert.match(id, /^[0-9a-f]{32}$/);
  });

  test('with a key of its own the event goes out as it is: another process may send it, too', async () => {
    const { calls, result } = publish([], { idempotencyKey: 'order-17' });
    await result;
    assert.deepEqual([calls[0]?.headers['idempotency-key'], calls[0]?.body], ['order-17', EVENT]);
  });

  test('an event with an id of its own is known by it and its source, as in a list: no header makes another key of it', async () => {
    for (const [more, isKeyed] of [
      [{}, true],
      [{ source: '/shop' }, true],
      [{ id: 'order-17' }, false],
      // no header could hold it
      [{ id: 'Zoë', source: '/shop' }, false],
    ] as const) {
      const { clock, calls, options } = scripted([]);
      await outcome(clock, sendEvent('https://gateway.test', 'mr_key', { ...EVENT, ...more }, options));
      const [call] = calls;
      assert.equal(call?.headers['idempotency-key'] !== undefined, isKeyed);
      assert.match(JSON.stringify(call?.body), /"id":"/);
    }
  });

  test('an address that is none is refused at once, without a word of what was given: it may be the key', () => {
    for (const url of ['mr_key', '127.0.0.1:4400', '', undefined as never])
      assert.throws(
        () => sendEvent(url, 'https://gateway.test', EVENT),
        ({ code, message }: GatewayError) => code === 'invalid' && !message.includes('mr_key'),
      );
  });

  test('says what the network said, and of which address', async () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:4400');
    const { result } = publish([new TypeError('fetch failed', { cause })], { retries: 0 });
    const { code, message } = (await result) as GatewayError;
    assert.deepEqual([code, message], ['network', 'network: connect ECONNREFUSED 127.0.0.1:4400']);
    const bare = await publish([new TypeError('Failed to fetch')], { retries: 0 }).result;
    assert.equal((bare as GatewayError).message, 'network: Failed to fetch');
  });

  test('gives up after its retries, or its budget, with what was last said', async () => {
    const body = { code: 'overloaded', detail: 'too much work', status: 503 };
    const tired = await publish(Array.from({ length: 9 }, () => ({ status: 503, body }))).result;
    assert.ok(tired instanceof GatewayError);
    assert.deepEqual([tired.code, tired.message, tired.status, tired.retryable], ['overloaded', 'too much work', 503, true]);
    const { calls, result } = publish([{ status: 503, headers: { 'retry-after': '20' } }], { budgetMs: 10_000 });
    assert.equal(((await result) as GatewayError).retryAfterMs, 20_000);
    assert.equal(calls.length, 1);
    // A quota of the day: nobody waits for that without having asked to.
    const tomorrow = publish([{ status: 429, headers: { 'retry-after': '6213' }, body: { code: 'quota_exceeded' } }]);
    assert.equal(((await tomorrow.result) as GatewayError).code, 'quota_exceeded');
    assert.deepEqual([tomorrow.calls.length, tomorrow.waits], [1, []]);
  });

  test('an attempt that gets no answer ends, and is tried again', async () => {
    const { clock, options } = scripted([]);
    let attempts = 0;
    const fetch: typeof globalThis.fetch = (url, init) =>
      attempts++ === 0 ? new Promise(() => undefined) : (options.fetch as typeof globalThis.fetch)(url, init);
    assert.deepEqual(await outcome(clock, sendEvent('https://gateway.test', 'mr_key', EVENT, { ...options, fetch })), {
      id: 'evt_1',
      duplicate: false,
    });
    assert.equal(attempts, 2);
  });

  test('ends at once when its caller wants no more of it', async () => {
    const { clock, options, calls } = scripted([{ status: 503 }]);
    const stop = new AbortController();
    const result = sendEvent('https://gateway.test', 'mr_key', EVENT, { ...options, signal: stop.signal });
    await settle();
    stop.abort(new Error('enough'));
    await assert.rejects(result, /enough/);
    await clock.advance(60_000);
    assert.equal(calls.length, 1);
  });

  test('a webhook secret is none to publish with', () => {
    assert.throws(() => sendEvent('https://gateway.test', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', EVENT), /takes an API key/);
    assert.throws(() => sendEvent('https://gateway.test', undefined as never, EVENT), /takes an API key/);
  });

  // Those that JSON.stringify writes.
  for (const { name, key, id, timestampSeconds, body, headers } of SIGNING.sign.filter((one) => !/[[\s]/.test(one.body)))
    test(`signs where its key signs, and sends no key: ${name}`, async () => {
      const { calls, options } = scripted([{ status: 503 }, TAKEN]);
      const times = [timestampSeconds - 60, timestampSeconds];
      const clock = { ...unhurried, wallMs: () => 1_000 * (times[calls.length] ?? 0) + 999 };
      await sendEvent('https://gateway.test', key, JSON.parse(body), { ...options, clock, idempotencyKey: id });
      const [first, second] = calls.map((call) => call.headers);
      for (const [header, value] of Object.entries(headers)) assert.equal(second?.[header], value);
      assert.equal(first?.['webhook-timestamp'], String(timestampSeconds - 60));
      assert.notEqual(first?.['webhook-signature'], second?.['webhook-signature']);
      assert.doesNotMatch(JSON.stringify(calls), new RegExp(key));
    });

  test('signs for an event with an id of its own, whatever that is', async () => {
    const key = SIGNING.sign[0]?.key ?? '';
    for (const [id, sent, source] of [
      ['order-17', 'order-17'],
      // openssl dgst -sha256
      ['order.17 zoë', '7e6be1ecaee5aa180837954d478ab835179bf01970c41c364e79de402118f064'],
      // printf '/shop\norder-17' | openssl dgst -sha256
      ['order-17', 'f106a2ffe80ffff93c411ffa366038d97e7113bb7436420652ccc050910f2b60', '/shop'],
    ] as const) {
      const { options, calls } = scripted([]);
      await sendEvent('https://gateway.test', key, { ...EVENT, id, ...(source && { source }) }, { ...options, clock: unhurried });
      assert.deepEqual([calls[0]?.headers['webhook-id'], calls[0]?.headers['idempotency-key']], [sent, sent]);
    }
  });

  test('signs every event under an id of its own, where only its source is given', async () => {
    const { options, calls } = scripted([]);
    for (let n = 0; n < 2; n++)
      await sendEvent(
        'https://gateway.test',
        SIGNING.sign[0]?.key ?? '',
        { ...EVENT, source: '/shop' },
        { ...options, clock: unhurried },
      );
    assert.notEqual(calls[0]?.headers['webhook-id'], calls[1]?.headers['webhook-id']);
  });

  test('what hooks return goes along as headers', async () => {
    const { clock, options, calls } = scripted([]);
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await outcome(
      clock,
      sendEvent('https://gateway.test', 'mr_key', EVENT, {
        ...options,
        hooks: { onRequest: ({ attempt }) => ({ traceparent, 'x-attempt': `${attempt}` }) },
      }),
    );
    assert.deepEqual([calls[0]?.headers['traceparent'], calls[0]?.headers['x-attempt']], [traceparent, '1']);
  });
});

describe('tokens for calls', { timeout: 10_000 }, () => {
  test('one is asked for by all who need one, kept until a part of its life is left, and made anew after a 401', async () => {
    const { clock, options, calls } = scripted([]);
    const reasons: string[] = [];
    const gateway = connect({
      ...options,
      url: 'https://gateway.test',
      getToken: async ({ reason }) => {
        reasons.push(reason);
        return { token: `t${reasons.length}`, expiresAt: new Date(clock.wallMs() + 600_000).toISOString() };
      },
    });
    await outcome(clock, Promise.all([1, 2, 3].map(() => gateway.sendEvent(EVENT))));
    await clock.advance(509_000);
    await outcome(clock, gateway.sendEvent(EVENT));
    assert.deepEqual(reasons, ['request']);
    // Asleep, timers don't say so: the wall clock does.
    clock.sleep(2_000);
    await outcome(clock, gateway.sendEvent(EVENT));
    assert.deepEqual(reasons, ['request', 'request']);
    assert.deepEqual(
      calls.map(({ headers }) => headers['authorization']),
      ['Bearer t1', 'Bearer t1', 'Bearer t1', 'Bearer t1', 'Bearer t2'],
    );
  });

  test('after a 401 it asks once more, and then believes it', async () => {
    const { clock, options, calls } = scripted([{ status: 401 }, { status: 401 }]);
    const reasons: string[] = [];
    const gateway = connect({
      ...options,
      url: 'https://gateway.test',
      getToken: async ({ reason }) => (reasons.push(reason), `t${reasons.length}`),
    });
    const error = await outcome(clock, gateway.sendEvent(EVENT));
    assert.deepEqual([(error as GatewayError).status, reasons], [401, ['request', 'unauthorized']]);
    assert.equal(calls.length, 2);
    assert.deepEqual(await outcome(clock, gateway.sendEvent(EVENT)), { id: 'evt_1', duplicate: false });
  });

  test('one that is not to be had just now is asked for again, thrice, as a call is tried', async () => {
    const { clock, options, calls, waits } = scripted([]);
    let asked = 0;
    const getToken = async (): Promise<string> => {
      if (++asked < 4) throw new Error('the backend is away');
      return 't4';
    };
    const gateway = connect({ ...options, url: 'https://gateway.test', getToken });
    assert.deepEqual(await outcome(clock, gateway.sendEvent(EVENT)), { id: 'evt_1', duplicate: false });
    assert.deepEqual([asked, waits, calls.length], [4, [500, 1_000, 2_000], 1]);
    asked = -9;
    const late = connect({ ...options, url: 'https://gateway.test', getToken });
    const error = await outcome(clock, late.sendEvent(EVENT));
    assert.deepEqual([(error as GatewayError).code, (error as GatewayError).retryable], ['no_token', true]);
    assert.match(String((error as GatewayError).cause), /the backend is away/);
  });

  test('where there is none to be had, the call says so', async () => {
    const { clock, options } = scripted([]);
    const getToken = (): never => {
      throw new UnauthorizedError('logged out');
    };
    const gateway = connect({ ...options, url: 'https://gateway.test', getToken });
    assert.ok((await outcome(clock, gateway.sendEvent(EVENT))) instanceof UnauthorizedError);
  });

  test('it wants either a key or a way to tokens', () => {
    assert.throws(() => connect({ url: 'https://gateway.test' }), /key or getToken/);
    assert.throws(() => connect({ key: 'a' } as never), /url is none/);
    assert.throws(() => connect({ url: 'https://gateway.test', key: 'a', getToken: () => 'b' }), /key or getToken/);
  });
});
