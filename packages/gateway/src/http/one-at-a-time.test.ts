/** Requests that are sent without waiting for answers. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { openDoor, turnsUntil } from './test/door.ts';

const SUBSCRIPTION = { topics: ['orders.*'] };

describe('requests of one connection', { timeout: 30_000 }, () => {
  test('are done one after the other, and nothing more is read while one is', async (t) => {
    const door = await openDoor(t);
    const held: ServerResponse[] = [];
    const endpoint = await receiver(t, (response) => void held.push(response));
    await door.ask('PUT /v1/subscriptions/s', { json: { ...SUBSCRIPTION, deliver: { webhook: { url: endpoint.url } } } });
    let requests = 0;
    door.app.server.on('request', () => requests++);

    const { inside, write, until } = await door.connect();
    const json = { 'content-type': 'application/json' };
    const count = 20_000;
    write(door.head('POST /v1/subscriptions/s/test'));
    write(door.head('DELETE /v1/topics/orders.paid'));
    const body = '{"type":"orders.created"}';
    for (let n = 1; n <= count; n++)
      write(door.head('POST /v1/events', { ...json, 'content-length': body.length, 'x-n': n }) + body);
    write(door.head('GET /livez', { connection: 'close' }));
    await endpoint.request(1);
    await turnsUntil(() => requests > 1);
    // Others are served, and by the time they are, everything that was parsed would have been done.
    assert.equal((await door.ask('GET /v1/topics/orders.paid')).status, 200);
    assert.ok(inside.isPaused());
    const [parsed, read] = [requests, inside.bytesRead];
    assert.ok(parsed < count, `${parsed} requests were taken in`);
    assert.equal((await door.ask('GET /v1/topics/orders.paid')).status, 200);
    assert.deepEqual([requests, inside.bytesRead], [parsed, read]);

    held[0]?.writeHead(204).end();
    const answers = await until(/"status":"live"/);
    assert.deepEqual(
      answers.match(/HTTP\/1\.1 \d+/g),
      ['200', '204', ...Array.from({ length: count }, () => '202'), '200'].map((status) => `HTTP/1.1 ${status}`),
    );
    assert.equal((await door.ask('GET /v1/topics/orders.paid')).status, 404);
  });

  test('that were not begun when it broke are not done', async (t) => {
    const door = await openDoor(t);
    const endpoint = await receiver(t, () => undefined);
    await door.ask('PUT /v1/subscriptions/s', { json: { ...SUBSCRIPTION, deliver: { webhook: { url: endpoint.url } } } });
    const { socket, inside, closed, write } = await door.connect();
    let requests = 0;
    door.app.server.on('request', () => requests++);
    write(door.head('POST /v1/subscriptions/s/test') + door.head('DELETE /v1/topics/orders.paid'));
    await turnsUntil(() => requests === 2);
    await endpoint.request(1);
    socket.resetAndDestroy();
    inside.destroy();
    await closed;
    assert.equal((await door.ask('DELETE /v1/topics/orders.created')).status, 204);
    assert.equal((await door.ask('GET /v1/topics/orders.paid')).status, 200);
    assert.deepEqual(door.errors, []);
  });
});
