/** Who sets endpoints learns nothing of the names inside: one that leads nowhere reads as one that is not sent to. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type World, world } from '../../test/world.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

/** One name leads nowhere, one address is not sent to; both are dead, and their breakers open. */
const ENDPOINTS = { dns: 'http://nothing.invalid/', blocked_address: 'http://10.0.0.7/' } as const;
const CAUSES = Object.keys(ENDPOINTS) as (keyof typeof ENDPOINTS)[];

async function dead(t: TestContext): Promise<{ world: World; key: string }> {
  const made = await world(t);
  for (const cause of CAUSES) {
    const deliver = { webhook: { url: ENDPOINTS[cause] } };
    const breaker = { failures: 1, events: 1 };
    const json = { app: 'shop', topics: ['orders.*'], deliver, breaker, retry: { schedule: [] } };
    assert.equal((await made.ask(`PUT /v1/subscriptions/${cause}`, { json })).status, 201);
  }
  await made.ask('POST /v1/events', { json: { type: 'orders.created' } });
  for (const cause of CAUSES)
    while ((await made.ask(`GET /v1/dead-letters?subscription=${cause}`)).json.data.length === 0) await new Promise(setImmediate);
  return { world: made, key: await made.key('shop', ['subscribe', 'manage']) };
}

describe('a cause that would tell where a name leads', { timeout: 30_000 }, () => {
  test('is told to admins alone, in whatever is answered', async (t) => {
    const { world, key } = await dead(t);
    const causes = async (route: string, pick: (json: Json) => unknown, by?: string): Promise<unknown[]> => {
      const answers = await Promise.all(
        CAUSES.map((cause) => world.ask(route.replace('{s}', cause), by === undefined ? {} : { key: by })),
      );
      return answers.map(({ json }) => pick(json));
    };
    for (const [route, pick] of [
      ['POST /v1/subscriptions/{s}/test', ({ cause }: Json) => cause],
      ['GET /v1/deliveries?subscription={s}', ({ data }: Json) => data[0].attempts[0].cause],
      ['GET /v1/dead-letters?subscription={s}', ({ data }: Json) => data[0].cause],
      ['GET /v1/subscriptions/{s}', ({ health }: Json) => health.outage.cause],
    ] as const) {
      assert.deepEqual(await causes(route, pick), CAUSES, route);
      assert.deepEqual(await causes(route, pick, key), ['unreachable', 'unreachable'], route);
    }
    const listed = async (by?: string): Promise<string[]> =>
      (await world.ask('GET /v1/subscriptions', by === undefined ? {} : { key: by })).json.data
        .map(({ health }: Json) => health.outage.cause)
        .toSorted();
    assert.deepEqual(await listed(), CAUSES.toSorted());
    assert.deepEqual(await listed(key), ['unreachable', 'unreachable']);
    for (const cause of CAUSES) {
      const [letter] = (await world.ask(`GET /v1/dead-letters?subscription=${cause}`)).json.data;
      assert.equal((await world.ask(`GET /v1/dead-letters/${letter.id}`, { key })).json.cause, 'unreachable');
      const [delivery] = (await world.ask(`GET /v1/deliveries?subscription=${cause}`)).json.data;
      assert.equal((await world.ask(`GET /v1/deliveries/${delivery.id}`, { key })).json.attempts[0].cause, 'unreachable');
    }
    // Who runs the gateway is told as it is.
    const { cause } = (await world.notice('dead')) as { readonly cause: keyof typeof ENDPOINTS };
    assert.ok(CAUSES.includes(cause));
  });

  test('is not found out by asking for it: to others the three are one', async (t) => {
    const { world, key } = await dead(t);
    const count = async (subscription: string, cause: string, by?: string): Promise<number> => {
      const ask = { json: { subscription, cause, dryRun: true }, ...(by === undefined ? {} : { key: by }) };
      return (await world.ask('POST /v1/dead-letters/discard', ask)).json.count;
    };
    for (const subscription of CAUSES) {
      for (const cause of [...CAUSES, 'unreachable']) {
        assert.equal(await count(subscription, cause, key), 1, `${subscription} by ${cause}`);
        assert.equal(await count(subscription, cause), cause === subscription ? 1 : 0);
      }
      assert.equal(await count(subscription, 'refused', key), 0);
    }
    const begun = await world.ask('POST /v1/dead-letters/discard', { key, json: { subscription: 'dns', cause: 'unreachable' } });
    assert.equal(begun.json.progress.total, 1);
  });
});
