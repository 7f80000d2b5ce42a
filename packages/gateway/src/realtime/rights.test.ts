/** Who may be in a session, and for how long: tokens that end, are revoked or are another app's, and pages that are nobody's. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { settle } from '../../test/clock.ts';
import { type Frame, realtime, type RealtimeDoor } from './test/client.ts';
import { openSession } from './test/stream.ts';

interface Talk {
  say(...frames: readonly object[]): void;
  next(op: string): Promise<Frame>;
}

type Begin = (t: TestContext, door: RealtimeDoor, token: string, headers?: Record<string, string>) => Promise<Talk>;

const TRANSPORTS: Readonly<Record<string, Begin>> = {
  async websocket(_t, door, token, headers = {}) {
    const client = await door.client(headers);
    client.say({ op: 'hello', v: 1, token });
    return client;
  },
  async sse(t, door, token, headers = {}) {
    const as = { authorization: `Bearer ${token}`, ...headers };
    const stream = await openSession(t, door, [{ op: 'hello', v: 1, token }], as);
    let [id, key] = ['', token];
    return {
      say(...json) {
        void door.ask(`POST /v1/sse/${id}`, { key, json });
        for (const frame of json as readonly Frame[]) if (frame.op === 'auth') key = frame.token;
      },
      async next(op) {
        const frame = await stream.frame(op);
        if (op === 'welcome') id = frame.session;
        return frame;
      },
    };
  },
};

for (const [name, begin] of Object.entries(TRANSPORTS))
  describe(`a session over ${name}`, { timeout: 60_000 }, () => {
    test('is asked for another token when four fifths of its own are over, goes on with it, and ends without one', async (t) => {
      const { door, pass } = await timed(t, { heartbeatMs: 60_000 });
      const [own, next] = [await tokenOf(door, 'shop', '100s'), await tokenOf(door, 'shop', '300s')];
      const talk = await begin(t, door, own.token);
      const { tokenMs } = await talk.next('welcome');
      assert.ok(tokenMs > 90_000 && tokenMs <= 100_000);
      await pass(80_000);
      const { withinMs } = await talk.next('refresh');
      assert.ok(withinMs > 0 && withinMs <= 20_000);
      talk.say({ op: 'auth', token: next.token });
      assert.deepEqual((await talk.next('authed')).dropped, []);
      // Past the end of the first, then of the second one and of the grace behind it.
      for (let n = 0; n < 3; n++) {
        await pass(60_000);
        talk.say({ op: 'ping', t: n });
        await talk.next('pong');
      }
      await pass(70_000);
      assert.deepEqual(await talk.next('bye'), { op: 'bye', code: 4_010, reason: 'the token has expired' });
      assert.deepEqual(door.errors, []);
    });

    test('ends with the key that made its token, where that ends before', async (t) => {
      const { door, pass } = await timed(t, { heartbeatMs: 60_000 });
      const { token } = await tokenOf(door, 'shop', '300s');
      const made = (await door.directory.list('key', { limit: 100 })).find(({ value }) => value.app === 'shop');
      assert.ok(made);
      await door.directory.put('key', 'default', made.id, { ...made.value, expiresMs: Date.now() + 50_000 });
      await settle();
      const talk = await begin(t, door, token);
      assert.equal((await talk.next('welcome')).tokenMs, 50_000);
      await pass(81_000);
      assert.equal((await talk.next('bye')).code, 4_010);
      assert.deepEqual(door.errors, []);
    });

    test('ends when its token is revoked, and no other does', async (t) => {
      const door = await realtime(t);
      const [one, other] = [await tokenOf(door, 'shop'), await tokenOf(door, 'shop')];
      const [revoked, left] = [await begin(t, door, one.token), await begin(t, door, other.token)];
      for (const talk of [revoked, left]) await talk.next('welcome');
      await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: one.jti } });
      assert.equal((await revoked.next('error')).code, 'token_revoked');
      assert.equal((await revoked.next('bye')).code, 4_401);
      left.say({ op: 'ping', t: 1 });
      await left.next('pong');
    });

    test('ends when the app of its token is deleted, whoever made it', async (t) => {
      const door = await realtime(t);
      const json = { scopes: ['subscribe'], topics: ['orders.*'], app: 'crm' };
      const { token } = (await door.ask('POST /v1/tokens', { json })).json;
      const talk = await begin(t, door, token);
      await talk.next('welcome');
      assert.equal((await door.ask('DELETE /v1/apps/crm')).status, 204);
      assert.equal((await talk.next('bye')).code, 4_401);
    });

    test('takes tokens one after the other, the last one counts, and not as many as anybody sends', async (t) => {
      const door = await realtime(t);
      const [one, other] = [await tokenOf(door, 'shop'), await tokenOf(door, 'shop')];
      const talk = await begin(t, door, one.token);
      await talk.next('welcome');
      talk.say({ op: 'auth', token: other.token }, { op: 'auth', token: one.token }, { op: 'auth', token: other.token });
      for (let n = 0; n < 3; n++) assert.deepEqual((await talk.next('authed')).dropped, []);
      await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: one.jti } });
      talk.say({ op: 'ping', t: 1 });
      await talk.next('pong');
      talk.say(...Array.from({ length: 9 }, () => ({ op: 'auth', token: other.token })));
      assert.equal((await talk.next('error')).code, 'too_many_requests');
      assert.equal((await talk.next('bye')).code, 4_029);
    });

    test('is of one app: a token of another one ends it', async (t) => {
      const door = await realtime(t);
      const talk = await begin(t, door, (await tokenOf(door, 'shop')).token);
      await talk.next('welcome');
      talk.say({ op: 'auth', token: (await tokenOf(door, 'crm')).token });
      assert.equal((await talk.next('error')).code, 'forbidden');
      assert.equal((await talk.next('bye')).code, 4_403);
    });

    test('is none for a page of a hostile origin, nor for a page with a key', async (t) => {
      const door = await realtime(t);
      const origin = 'https://shop.example';
      await door.ask('PATCH /v1/apps/shop', { json: { origins: [origin] } });
      const { token } = await tokenOf(door, 'shop');
      const key = await door.key('shop', ['subscribe']);
      const hostile = ['https://evil.example', 'https://shop.example.evil.example', 'http://shop.example', 'null'];
      if (name === 'websocket') {
        const pages = hostile.map((from) => ({ by: token, from, code: 'origin_not_allowed' }));
        for (const { by, from, code } of [...pages, { by: key, from: origin, code: 'forbidden' }]) {
          const talk = await begin(t, door, by, { origin: from });
          assert.equal((await talk.next('error')).code, code, from);
          assert.equal((await talk.next('bye')).code, 4_403);
        }
      } else
        for (const from of hostile) {
          const json = [{ op: 'hello', v: 1 }];
          const answer = await door.ask('POST /v1/sse', { key: token, json, headers: { origin: from } });
          assert.deepEqual([answer.status, answer.json.code], [403, 'origin_not_allowed'], from);
          assert.equal(answer.headers['access-control-allow-origin'], undefined);
        }
      await (await begin(t, door, token, { origin })).next('welcome');
    });
  });

describe('a session', { timeout: 60_000 }, () => {
  test('is none with a token that has expired, was revoked, is for another audience, or was signed by somebody else', async (t) => {
    const { door, pass } = await timed(t);
    const [short, revoked, edge] = [
      await tokenOf(door, 'shop', '30s'),
      await tokenOf(door, 'shop'),
      await tokenOf(door, 'shop', '300s', { audience: 'edge-1' }),
    ];
    await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: revoked.jti } });
    const forged = `${revoked.token.slice(0, -8)}AAAAAAAA`;
    await pass(60_000);
    for (const [token, code] of [
      [short.token, 4_010],
      [revoked.token, 4_401],
      [edge.token, 4_401],
      [forged, 4_401],
    ] as const) {
      const client = await door.client();
      client.say({ op: 'hello', v: 1, token });
      assert.equal((await client.closed).code, code);
    }
  });

  test('goes on where a clock is wrong: times of a client are said back and no more, and its own are no matter of the wall', async (t) => {
    const { door, jump } = await timed(t);
    const { token } = await tokenOf(door, 'shop', '300s');
    const client = await door.client();
    client.say({ op: 'hello', v: 1, token });
    const { nowMs } = await client.next('welcome');
    // By it a client sees that its own clock is wrong.
    assert.equal(nowMs, Date.now());
    client.say({ op: 'ping', t: 8_640_000_000_000_000 });
    assert.equal((await client.next('pong')).t, 8_640_000_000_000_000);
    const future = `elsewhere/memory-0:0@${(nowMs + 86_400_000).toString(36)}`;
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 9, from: { cursors: [future] } });
    assert.equal((await client.next('subed')).gap.reason, 'log_changed');
    jump(-3_600_000);
    // By the wall the token has an hour more than it had: who set the clock did not mean to end anybody.
    for (let n = 0; n < 14; n++) {
      await door.hand.advance(25_000);
      await client.next('ping');
      client.say({ op: 'pong', t: 1 });
    }
    await door.publish('orders.created', { n: 1 });
    assert.deepEqual((await client.next('msg')).event.data, { n: 1 });
  });
});

async function tokenOf(
  door: RealtimeDoor,
  app: string,
  ttl = '300s',
  more: object = {},
): Promise<{ token: string; jti: string }> {
  const key = await door.key(app, ['subscribe']);
  const { status, json } = await door.ask('POST /v1/tokens', {
    key,
    json: { scopes: ['subscribe'], topics: ['orders.*'], ttl, ...more },
  });
  assert.equal(status, 201, json.message);
  return json;
}

/** A door whose wall clock stands still but for the test. */
async function timed(t: TestContext, limits: Record<string, number> = {}) {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const door = await realtime(t, limits);
  const jump = (ms: number): void => t.mock.timers.setTime(Date.now() + ms);
  return {
    door,
    jump,
    async pass(ms: number): Promise<void> {
      jump(ms);
      await door.hand.advance(ms);
    },
  };
}
