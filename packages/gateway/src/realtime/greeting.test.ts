/** Before it is known who a client is: what it sends meanwhile waits in the network, but for a message. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fastify from 'fastify';
import { turnsUntil } from '../http/test/door.ts';
import { LIMITS } from '../limits.ts';
import { createMessages } from './messages.ts';
import type { Admitted } from './session-needs.ts';
import { createSessions } from './sessions.ts';
import { realtime } from './test/client.ts';
import { framed, rawSocket } from './test/raw-socket.ts';
import { websocketDoor } from './websocket.ts';

describe('a client that nobody knows yet', { timeout: 30_000 }, () => {
  test('is not read from while it is found out who it is, and then is what it said, in order', async (t) => {
    const door = await realtime(t);
    const admitting = Promise.withResolvers<Admitted>();
    const app = fastify();
    const never = (): never => assert.fail();
    const { feeds } = door.gateway;
    const sessions = createSessions({
      feeds,
      log: feeds.log,
      enterGroup: never,
      groupOf: never,
      publish: never,
      count: () => () => undefined,
      messages: createMessages(),
      clock: door.hand,
      limits: LIMITS,
      node: '',
      onError: never,
    });
    websocketDoor(app, {
      sessions,
      limits: LIMITS,
      clock: door.hand,
      checkClient: () => undefined,
      admitFor: () => () => admitting.promise,
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    t.after(() => app.close());
    const { inside, socket, write, next } = await rawSocket(t, { ...door, app });
    t.after(() => socket.destroy());
    write(framed('{"op":"hello","v":1}'));
    const pings = 40;
    for (let n = 0; n < pings; n++) write(framed(`{"op":"ping","t":${n},"x":"${'y'.repeat(1_000_000)}"}`));
    let before = -1;
    // As long as something comes.
    for (let idle = 0; idle < 200; idle = inside.bytesRead === before ? idle + 1 : 0) {
      before = inside.bytesRead;
      await new Promise(setImmediate);
    }
    assert.ok(inside.bytesRead < 3_000_000, String(inside.bytesRead));
    admitting.resolve({ caller: { key: 'key_1', environment: 'default', app: 'shop', scopes: [], admin: false } });
    await next('welcome');
    for (let n = 0; n < pings; n++) assert.equal((await next('pong')).t, n);
    write(framed('{"op":"bye"}'));
    await turnsUntil(() => sessions.size === 0);
  });
});
