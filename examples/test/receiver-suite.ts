/** What both receivers promise, against a real gateway: whoever copies one of them gets all of this. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, describe, test, type TestContext } from 'node:test';
import { Webhook } from 'standardwebhooks';
import type { Inbox, InboxBounds, Message } from '../1-express-receiver/inbox.ts';
import { arrivals, type Arrivals } from './arrivals.ts';
import { type Gateway, startGateway } from './gateway.ts';

export interface ReceiverOptions {
  readonly signature: 'standard' | 'simple';
  readonly secrets: readonly string[];
  readonly work: (message: Message) => Promise<void>;
  readonly retryMs?: readonly number[];
  readonly bounds?: Partial<InboxBounds>;
  readonly onFailed?: (message: Message, error: string) => void;
}

export interface Receiver {
  readonly url: string;
  readonly inbox: Inbox;
}

export type StartReceiver = (t: TestContext, options: ReceiverOptions) => Promise<Receiver>;

const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;
const OTHER_SECRET = `whsec_${Buffer.from('another secret of thirty-two byt').toString('base64')}`;
const BODY = '{"amount":1.50}';

export function receiverSuite(name: string, startReceiver: StartReceiver): void {
  describe(name, { timeout: 120_000 }, () => {
    let gateway: Gateway;
    let count = 0;
    const ends: (() => unknown)[] = [];
    before(async () => void (gateway = await startGateway({ after: (end) => void ends.push(end as () => unknown) })));
    after(async () => {
      for (const end of ends.toReversed()) await end();
    });

    interface Scene extends Receiver {
      readonly id: string;
      readonly topic: string;
      readonly worked: Arrivals<Message>;
    }

    /** A receiver with a subscription of its own. `work` comes after the message is noted in `worked`. */
    async function scene(t: TestContext, options: Partial<ReceiverOptions> = {}): Promise<Scene> {
      const id = `s${++count}`;
      const topic = `${id}.happened`;
      const worked = arrivals<Message>();
      const { signature = 'standard', work = async () => undefined } = options;
      const receiver = await startReceiver(t, {
        signature,
        secrets: [SECRET],
        ...options,
        async work(message) {
          worked.add(message);
          await work(message);
        },
      });
      await gateway.subscribe(id, {
        topics: [topic],
        deliver: { webhook: { url: receiver.url, signature, secret: SECRET } },
        retry: { schedule: Array.from({ length: 30 }, () => '20ms') },
      });
      return { id, topic, worked, ...receiver };
    }

    for (const signature of ['standard', 'simple'] as const)
      test(`gets what was published, verified as ${signature}`, async (t) => {
        const { id, topic, worked } = await scene(t, { signature });
        const eventId = await gateway.publish({ type: topic, data: { name: 'Zoë' } });
        const [message] = await worked.some(1);
        assert.deepEqual(JSON.parse(Buffer.from(message?.body ?? []).toString()), { name: 'Zoë' });
        assert.equal(message?.headers['ce-id'], eventId);
        const { webhookId, attempts } = await gateway.delivery(id, eventId, ({ outcome }) => outcome === 'delivered');
        assert.deepEqual([webhookId, attempts.length], [message?.id, 1]);
      });

    test('gets an event without data, and one that is no JSON', async (t) => {
      const { topic, worked } = await scene(t);
      await gateway.publish({ type: topic });
      await gateway.publish({ type: topic, datacontenttype: 'text/plain', data: 'ring twice' });
      const bodies = (await worked.some(2)).map(({ body }) => Buffer.from(body).toString());
      assert.deepEqual(bodies.toSorted(), ['', 'ring twice']);
    });

    test('refuses what is forged, too old, too new or too large, and does not work on it', async (t) => {
      const { url, worked } = await scene(t);
      const minutes = (count: number): Date => new Date(Date.now() + count * 60_000);
      const refusals: [string, number, RequestInit][] = [
        ['a changed body', 401, { ...signed('msg_a'), body: BODY.replace('1', '9') }],
        ['another id', 401, { ...signed('msg_a'), headers: { ...signed('msg_a').headers, 'webhook-id': 'msg_b' } }],
        ['another secret', 401, signed('msg_a', { secret: OTHER_SECRET })],
        ['too old', 401, signed('msg_a', { time: minutes(-6) })],
        ['too new', 401, signed('msg_a', { time: minutes(6) })],
        ['no signature', 401, { method: 'POST', body: BODY }],
        ['nonsense', 401, { ...signed('msg_a'), headers: { ...signed('msg_a').headers, 'webhook-signature': 'v1,? v1 ,' } }],
        ['too large', 413, signed('msg_a', { body: 'x'.repeat(1024 * 1024 + 1) })],
      ];
      for (const [what, status, request] of refusals) assert.equal((await fetch(url, request)).status, status, what);
      assert.equal((await fetch(url, signed('msg_a'))).status, 204);
      await worked.some(1);
      assert.equal(worked.all.length, 1);
    });

    test('with the simple signature, refuses what is forged', async (t) => {
      const { url, worked } = await scene(t, { signature: 'simple' });
      const by = (secret: string): string => createHmac('sha256', secret).update(BODY).digest('hex');
      const headers = { 'webhook-id': 'msg_a', 'x-signature': by(SECRET) };
      for (const forged of [by(OTHER_SECRET), '', by(SECRET).slice(0, 63), `${by(SECRET)}00`, `${by(SECRET).slice(0, 62)}zz`])
        assert.equal((await post(url, { ...headers, 'x-signature': forged })).status, 401, forged);
      assert.equal((await post(url, headers, `${BODY} `)).status, 401);
      assert.equal((await post(url, headers)).status, 204);
      await worked.some(1);
      assert.equal(worked.all.length, 1);
    });

    test('goes on while the secret is rotated, also where it knows the old one alone', async (t) => {
      const { id, topic, worked } = await scene(t);
      assert.equal((await gateway.ask(`POST /v1/subscriptions/${id}/rotate-secret`, { secret: OTHER_SECRET })).status, 200);
      const eventId = await gateway.publish({ type: topic, data: 1 });
      await worked.some(1);
      const { attempts } = await gateway.delivery(id, eventId, ({ outcome }) => outcome === 'delivered');
      assert.equal(attempts.length, 1);
    });

    test('knows a delivery that is sent again, and does not work on it twice', async (t) => {
      const { id, topic, worked } = await scene(t);
      const eventId = await gateway.publish({ type: topic, data: 1 });
      const first = await gateway.delivery(id, eventId, ({ outcome }) => outcome === 'delivered');
      assert.equal((await gateway.ask(`POST /v1/deliveries/${first.id}/retry`)).status, 202);
      const again = await gateway.delivery(id, eventId, ({ attempts }) => attempts.length === 2);
      assert.deepEqual([again.outcome, again.webhookId], ['delivered', first.webhookId]);
      await gateway.publish({ type: topic, data: 2 });
      const bodies = (await worked.some(2)).map(({ body }) => Buffer.from(body).toString());
      assert.deepEqual(bodies, ['1', '2']);
    });

    test('works once on two copies that come at once', async (t) => {
      const { url, worked } = await scene(t);
      const copies = await Promise.all([1, 2, 3, 4].map(() => fetch(url, signed('msg_a'))));
      assert.deepEqual(
        copies.map(({ status }) => status),
        [204, 204, 204, 204],
      );
      assert.equal((await fetch(url, signed('msg_b'))).status, 204);
      const ids = (await worked.some(2)).map(({ id }) => id);
      assert.deepEqual(ids, ['msg_a', 'msg_b']);
    });

    test('answers 503 when its inbox is full, and gets everything later', async (t) => {
      const gate = Promise.withResolvers<void>();
      const { id, topic, worked, url } = await scene(t, { bounds: { openMax: 2 }, work: () => gate.promise });
      for (const n of [1, 2, 3, 4, 5]) await gateway.publish({ type: topic, data: n });
      await gateway.running.line(({ kind, subscription, status }) => kind === 'retry' && subscription === id && status === 503);
      const refused = await fetch(url, signed('msg_a'));
      assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1']);
      gate.resolve();
      const bodies = (await worked.some(5)).map(({ body }) => Buffer.from(body).toString());
      assert.deepEqual(bodies.toSorted(), ['1', '2', '3', '4', '5']);
    });

    test('tries again what fails after the ack, gives it up, shows it, and takes it when it is sent again', async (t) => {
      let isBroken = true;
      const work = async (): Promise<void> => {
        if (isBroken) throw new Error('the printer is on fire');
      };
      const failures = arrivals<string>();
      const { id, topic, worked, inbox } = await scene(t, {
        retryMs: [10, 20],
        work,
        onFailed: (_, error) => failures.add(error),
      });
      const eventId = await gateway.publish({ type: topic, data: 1 });
      const { id: delivery, webhookId } = await gateway.delivery(id, eventId, ({ outcome }) => outcome === 'delivered');
      await failures.some(1);
      assert.equal(worked.all.length, 3);
      assert.deepEqual(await inbox.failed(), [{ id: webhookId, topic, attempts: 3, error: 'Error: the printer is on fire' }]);
      isBroken = false;
      assert.equal((await gateway.ask(`POST /v1/deliveries/${delivery}/retry`)).status, 202);
      await worked.some(4);
      assert.deepEqual(await inbox.failed(), []);
    });
  });
}

function signed(
  id: string,
  { secret = SECRET, time = new Date(), body = BODY }: { secret?: string; time?: Date; body?: string } = {},
): { readonly method: string; readonly headers: Record<string, string>; readonly body: string } {
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(time.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, time, body),
    'content-type': 'application/json',
  };
  return { method: 'POST', headers, body };
}

function post(url: string, headers: Record<string, string>, body = BODY): Promise<Response> {
  return fetch(url, { method: 'POST', headers, body });
}
