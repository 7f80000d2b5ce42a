/** What a receiver of the SDK promises on every platform, asked as the platform would ask it. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { arrivals, type Arrivals } from './arrivals.ts';
import { startGateway } from './gateway.ts';

export const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;
const OTHER_SECRET = `whsec_${Buffer.from('another secret of thirty-two byt').toString('base64')}`;
/** Written by nobody's JSON.stringify: parsed and printed again it would be other bytes. */
const BODY = ' {"amount" :1.50,\n\t"name":"Zoë \u{1F600}" , "id":12345678901234567890}\r\n';

export interface Call {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface Worked {
  readonly id: string;
  readonly type: string;
  readonly body: string;
}

export interface Needs {
  readonly ack: 'after' | 'first';
  /** What the receiver's `handle` does, and where it says that it is done. */
  readonly work: (one: Worked) => Promise<void>;
  readonly ended: (one: Worked) => void;
}

export interface Platform {
  readonly name: string;
  readonly skip?: string | false;
  /** It goes on after its answer. */
  readonly goesOn: boolean;
  /** It is a server with a URL; the others are called. */
  readonly listens: boolean;
  start(t: TestContext, needs: Needs): Promise<{ readonly call: (call: Call) => Promise<Response>; readonly url?: string }>;
}

/** Of a server. */
export const callAt =
  (url: string) =>
  ({ method, headers, body }: Call): Promise<Response> =>
    fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });

interface Scene {
  readonly call: (call: Call) => Promise<Response>;
  readonly url: string | undefined;
  readonly begun: Arrivals<Worked>;
  readonly ended: Arrivals<Worked>;
}

async function sceneOf(t: TestContext, { start }: Platform, needs: Partial<Needs> = {}): Promise<Scene> {
  const [begun, ended] = [arrivals<Worked>(), arrivals<Worked>()];
  const { ack = 'after', work = async () => undefined } = needs;
  const { call, url } = await start(t, {
    ack,
    async work(one) {
      begun.add(one);
      await work(one);
    },
    ended: ended.add,
  });
  return { call, url, begun, ended };
}

export function platformSuite(platform: Platform): void {
  const { name, skip = false, goesOn, listens } = platform;
  describe(`a receiver on ${name}`, { timeout: 60_000, skip }, () => {
    test('takes what is signed, as the very bytes that came, and once', async (t) => {
      const { call, begun, ended } = await sceneOf(t, platform);
      for (let copy = 0; copy < 2; copy++) assert.equal((await call(signed('msg_a'))).status, 204);
      assert.equal((await call(signed('msg_b', { body: '' }))).status, 204);
      await ended.some(2);
      assert.deepEqual(begun.all, [
        { id: 'msg_a', type: 'orders.created', body: BODY },
        { id: 'msg_b', type: 'orders.created', body: '' },
      ]);
    });

    test('refuses what is not signed so, and does not work on it', async (t) => {
      const { call, begun, ended } = await sceneOf(t, platform);
      const good = signed('msg_a');
      for (const [what, forged] of [
        ['a changed body', { ...good, body: BODY.trim() }],
        ['another id', { ...good, headers: { ...good.headers, 'webhook-id': 'msg_c' } }],
        ['another secret', signed('msg_a', { secret: OTHER_SECRET })],
        ['too old', signed('msg_a', { time: new Date(Date.now() - 360_000) })],
        ['no signature', { ...good, headers: { 'content-type': 'application/json' } }],
      ] as const)
        assert.equal((await call(forged)).status, 401, what);
      assert.equal((await call(good)).status, 204);
      await ended.some(1);
      assert.equal(begun.all.length, 1);
    });

    test('refuses what is too long, and says so', async (t) => {
      const { call, begun } = await sceneOf(t, platform);
      assert.equal((await call(signed('msg_a', { body: 'x'.repeat(1_048_577) }))).status, 413);
      assert.deepEqual(begun.all, []);
    });

    test('asks for it again when the work fails before the ack', async (t) => {
      let isBroken = true;
      const work = async (): Promise<void> => {
        if (isBroken) throw new Error('the printer is on fire');
      };
      const { call, begun } = await sceneOf(t, platform, { work });
      assert.equal((await call(signed('msg_a'))).status, 500);
      isBroken = false;
      assert.equal((await call(signed('msg_a'))).status, 204);
      assert.equal(begun.all.length, 2);
    });

    test(
      goesOn
        ? 'acks first where it is told to, and ends its work after the answer'
        : 'acks after the work also where it is told to ack first: the platform stops with the answer',
      async (t) => {
        const gate = Promise.withResolvers<void>();
        const { call, begun, ended } = await sceneOf(t, platform, { ack: 'first', work: () => gate.promise });
        const answered = call(signed('msg_a'));
        await begun.some(1);
        if (!goesOn) gate.resolve();
        assert.equal((await answered).status, 204);
        assert.equal(ended.all.length, goesOn ? 0 : 1);
        gate.resolve();
        await ended.some(1);
        assert.equal((await call(signed('msg_a'))).status, 204);
        assert.equal((await call(signed('msg_b'))).status, 204);
        await ended.some(2);
        assert.deepEqual(
          begun.all.map(({ id }) => id),
          ['msg_a', 'msg_b'],
        );
      },
    );

    test('says that it is there, agrees to be sent events, and answers a challenge', async (t) => {
      const { call, begun } = await sceneOf(t, platform);
      const health = await call({ method: 'GET', headers: {} });
      assert.deepEqual([health.status, await health.json()], [200, { status: 'ready' }]);
      const asked = await call({ method: 'OPTIONS', headers: { 'webhook-request-origin': 'events.example' } });
      assert.deepEqual([asked.status, asked.headers.get('webhook-allowed-origin')], [200, 'events.example']);
      const body = '{"challenge":"say this"}';
      const answer = await call(signed('msg_a', { body, type: 'millrace.challenge' }));
      assert.deepEqual([answer.status, await answer.text()], [200, 'say this']);
      assert.deepEqual(begun.all, []);
    });

    if (!listens) return;
    test('takes what a gateway delivers', async (t) => {
      const { url, ended } = await sceneOf(t, platform);
      const gateway = await startGateway(t);
      await gateway.subscribe('hook', { deliver: { webhook: { url, secret: SECRET } } });
      const id = await gateway.publish({ type: 'orders.created', data: { name: 'Zoë' } });
      const [one] = await ended.some(1);
      assert.deepEqual([one?.type, one?.body], ['orders.created', '{"name":"Zoë"}']);
      const { webhookId } = await gateway.delivery('hook', id, ({ outcome }) => outcome === 'delivered');
      assert.equal(webhookId, one?.id);
    });
  });
}

/** By another's library: what it signs, everybody's tools sign. */
function signed(
  id: string,
  {
    secret = SECRET,
    time = new Date(),
    body = BODY,
    type = 'orders.created',
  }: Partial<Record<'secret' | 'body' | 'type', string>> & { time?: Date } = {},
): Required<Call> {
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(time.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, time, body),
    'content-type': 'application/json; charset=utf-8',
    'ce-specversion': '1.0',
    'ce-id': `evt_${id}`,
    'ce-source': '/apps/shop',
    'ce-type': type,
  };
  return { method: 'POST', headers, body };
}
