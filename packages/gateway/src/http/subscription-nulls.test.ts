/** A change in which something is null: the setting has its default back, or it is said why not. It is never a fault of ours. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { world } from '../../test/world.ts';
import { PATCH_SCHEMA } from './openapi/subscription-settings.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly anyOf?: readonly Schema[];
}

/** Every member of a schema and of what is in it, as the way there. */
function waysIn(schema: Schema, above: readonly string[] = []): string[][] {
  const within = [schema, ...(schema.anyOf ?? [])].flatMap(({ properties = {} }) => Object.entries(properties));
  return within.flatMap(([name, member]) => [[...above, name], ...waysIn(member, [...above, name])]);
}

const WAYS = waysIn(PATCH_SCHEMA as Schema);

/** Null, at the end of the way. */
const nullAt = (way: readonly string[]): unknown => way.reduceRight<unknown>((inner, name) => ({ [name]: inner }), null);

const WEBHOOK = { url: 'http://127.0.0.1:9' };
/** As far from the defaults as it can be, and as near. */
const SUBSCRIPTIONS: Readonly<Record<string, object>> = {
  plain: { deliver: { webhook: WEBHOOK } },
  chosen: {
    filter: { data: { id: ['7'] } },
    deliver: { webhook: { ...WEBHOOK, timeoutMs: 900, body: 'event', headers: { a: 'b', authorization: 'x' } } },
    retry: { schedule: ['1s'], jitter: 0 },
    ordering: 'key',
    onDead: 'hold',
    concurrency: 3,
    ratePerSecond: 5,
    breaker: { failures: 2, events: 2 },
    bounds: { parked: 5, parkedBytes: 700_000, held: 5, deadLetters: 5 },
    disableAfter: '1h',
  },
  simple: {
    deliver: { webhook: { ...WEBHOOK, signature: 'simple', secret: 'sixteen letters!', json: 'as-sent' } },
    breaker: false,
    disableAfter: false,
  },
};

describe('null in a change', { timeout: 60_000 }, () => {
  test('is known of every setting there is', () => {
    const ways = WAYS.map((way) => way.join('.'));
    for (const way of ['deliver.webhook.headers', 'retry.jitter', 'breaker.events', 'bounds.held', 'disableAfter'])
      assert.ok(ways.includes(way), way);
  });

  for (const [id, settings] of Object.entries(SUBSCRIPTIONS)) {
    test(`gives back a default or is refused with where and why: ${id}`, async (t) => {
      const { ask, errors } = await world(t);
      for (const way of WAYS) {
        const made = await ask(`PUT /v1/subscriptions/${way.join('.')}`, { json: { topics: ['orders.*'], ...settings } });
        assert.equal(made.status, 201, made.text);
        const answer = await ask(`PATCH /v1/subscriptions/${way.join('.')}`, { json: nullAt(way) });
        if (answer.status === 200) continue;
        assert.equal(answer.status, 400, `${way.join('.')}: ${answer.text}`);
        assert.ok(answer.json.detail.length > 10, answer.text);
        assert.ok(answer.json.pointer === `/${way.join('/')}` || answer.json.code === 'invalid_secret', answer.text);
      }
      assert.deepEqual(errors, []);
    });
  }

  test('is refused where it is a value: in a list, and among headers', async (t) => {
    const { ask, errors } = await world(t);
    await ask('PUT /v1/subscriptions/s', { json: { topics: ['orders.*'], deliver: { webhook: WEBHOOK } } });
    for (const json of [
      { topics: [null] },
      { retry: { schedule: [null] } },
      { deliver: { webhook: { headers: { a: null } } } },
      { filter: { data: null } },
      { filter: { data: { id: null } } },
      { filter: { data: { id: [null] }, type: null } },
    ]) {
      const answer = await ask('PATCH /v1/subscriptions/s', { json });
      assert.equal(answer.status, 400, `${JSON.stringify(json)}: ${answer.text}`);
    }
    assert.deepEqual(errors, []);
  });
});
