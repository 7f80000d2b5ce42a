/** Keys pressed while `dev` runs: against a server that notes what it is asked. The real terminal is in test/dev.slow.test.ts. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type Asked, serverFor } from '../test/server.ts';
import { createHotkeys } from './hotkeys.ts';

interface Made {
  readonly press: (keys: string) => void;
  readonly text: () => string;
  readonly quits: () => number;
  readonly raw: () => boolean;
  readonly asked: (count: number) => Promise<readonly Asked[]>;
}

async function made(t: TestContext): Promise<Made> {
  const server = await serverFor(t, ({ route }) =>
    route.startsWith('GET /v1/deliveries') ? { json: { data: [{ id: 'd/1' }] } } : { status: 202, json: {} },
  );
  let text = '';
  let quits = 0;
  let raw = false;
  let listener: (bytes: Uint8Array) => void = () => undefined;
  const stdin = {
    setRawMode: (on: boolean) => void (raw = on),
    on: (_: 'data', given: (bytes: Uint8Array) => void) => void (listener = given),
    resume: () => undefined,
  };
  const hotkeys = createHotkeys({ stdin, write: (more) => void (text += more), quit: () => void quits++ });
  hotkeys.ready({ address: server.address, key: 'mr_key' });
  hotkeys.notice({
    kind: 'delivered',
    environment: 'default',
    subscription: 'crm',
    eventId: 'evt_1',
    webhookId: 'msg_1',
    topic: 'orders.created',
    cause: 'ok',
    status: 204,
    n: 1,
    durationMs: 1,
  });
  return {
    press: (keys) => listener(Buffer.from(keys)),
    text: () => text,
    quits: () => quits,
    raw: () => raw,
    asked: server.asked,
  };
}

describe('hotkeys', () => {
  test('are told at first, and on demand', async (t) => {
    const { press, text, raw } = await made(t);
    assert.ok(raw());
    assert.match(text(), /t {2}send the event.*q {2}quit/);
    press('?');
    assert.equal(text().split('q  quit').length, 3);
  });

  test('send the event of the line "Try"', async (t) => {
    const { press, asked } = await made(t);
    press('t');
    const [first] = await asked(1);
    assert.equal(first?.route, 'POST /v1/events');
    assert.equal(first?.headers['authorization'], 'Bearer mr_key');
    assert.deepEqual(JSON.parse(first?.body ?? ''), { type: 'orders.created', data: { id: 42 } });
  });

  test('send the last delivery again', async (t) => {
    const { press, asked } = await made(t);
    press('r');
    const routes = (await asked(2)).map(({ route }) => route);
    assert.deepEqual(routes, ['GET /v1/deliveries?subscription=crm&limit=1', 'POST /v1/deliveries/d%2F1/retry']);
  });

  test('quit by q and by Ctrl-C, clear, and heed no arrows', async (t) => {
    const { press, quits, text } = await made(t);
    press('q');
    press('\u0003');
    press('\u001B[A');
    press('c');
    assert.equal(quits(), 2);
    assert.ok(text().endsWith('\u001B[H'));
  });
});
