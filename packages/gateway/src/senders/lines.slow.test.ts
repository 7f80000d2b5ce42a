/** Many subscriptions behind one host: connections stay within their bound, and nobody waits longer than those before. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { connecting, sending, statusOf } from './test/sending.ts';

const CONNECTIONS = 8;

describe('10,000 subscriptions behind one host', { timeout: 120_000 }, () => {
  test('share a few connections: all arrive, none out of turn, the bound is never passed', async (t) => {
    let open = 0;
    let most = 0;
    const endpoint = await receiver(t);
    const connect = connecting();
    const post = sending(t, {
      connectionsMax: CONNECTIONS,
      connect: (options, callback) =>
        connect(options, (...opened) => {
          most = Math.max(most, ++open);
          opened[1]?.once('close', () => open--);
          callback(...opened);
        }),
    });

    const results = await Promise.all(
      Array.from({ length: 10_000 }, (_, n) => post(`${endpoint.url}/${n}`, { subscription: `s${n}`, timeoutMs: 100_000 })),
    );
    assert.ok(results.every((result) => statusOf(result) === 204));

    const arrived = endpoint.requests.map(({ path }) => Number(path.slice(1)));
    assert.deepEqual(
      arrived.toSorted((a, b) => a - b),
      [...arrived.keys()],
    );
    // One is sent when all but seven of those before it were answered, so at most seven can come in after it.
    arrived.forEach((n, at) => assert.ok(at >= n - CONNECTIONS + 1, `request ${n} came in as number ${at}`));
    assert.equal(most, CONNECTIONS);
    assert.equal(endpoint.connections(), CONNECTIONS);
  });

  test('of which half are given up before it is their turn: the others still have theirs', async (t) => {
    let answer = (): void => undefined;
    const held = new Promise<void>((resolve) => (answer = resolve));
    const endpoint = await receiver(t, (response) => void held.then(() => response.writeHead(204).end()));
    const post = sending(t, { connectionsMax: 2 });
    const first = [1, 2].map(() => post(endpoint.url, { timeoutMs: 100_000 }));
    const rest = Array.from({ length: 2_000 }, (_, n) =>
      post(`${endpoint.url}/${n}`, { timeoutMs: n % 2 === 0 ? 100 : 100_000 }),
    );
    await Promise.all(rest.filter((_, n) => n % 2 === 0));
    answer();
    assert.deepEqual(
      (await Promise.all([...first, ...rest])).map((result) => ('error' in result ? result.error : result.status)),
      [204, 204, ...rest.map((_, n) => (n % 2 === 0 ? 'timeout' : 204))],
    );
    assert.equal(endpoint.requests.length, 1_002);
    assert.equal(endpoint.connections(), 2);
  });
});
