/** What the document says of the settings of a subscription is what the gateway takes: there the values are checked. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { world } from '../../../test/world.ts';
import { SETTINGS } from './subscription-settings.ts';
import type { Schema } from './types.ts';

interface Checked {
  readonly path: readonly string[];
  readonly means: {
    readonly minimum?: number;
    readonly maximum?: number;
    readonly enum?: readonly string[];
    readonly default?: unknown;
  };
}

/** Those whose values the gateway checks. */
function checkedIn(properties: Readonly<Record<string, Schema>>, before: readonly string[] = []): Checked[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const path = [...before, name];
    const within = (schema['anyOf'] as readonly Schema[] | undefined)?.find((one) => one['properties'] !== undefined) ?? schema;
    const inner =
      within['properties'] === undefined ? [] : checkedIn(within['properties'] as Readonly<Record<string, Schema>>, path);
    return typeof schema['means'] === 'object' ? [{ path, means: schema['means'] as Checked['means'] }, ...inner] : inner;
  });
}

function nested([name = '', ...path]: readonly string[], value: unknown): object {
  return { [name]: path.length === 0 ? value : nested(path, value) };
}

function valueAt(path: readonly string[], value: unknown): unknown {
  return path.reduce<unknown>((one, name) => (one as Readonly<Record<string, unknown>> | undefined)?.[name], value);
}

/** `json` goes with `simple` alone; `secret` fits one signature only. */
const SIMPLE = { deliver: { webhook: { signature: 'simple', secret: 'sixteen letters!' } } };
const CHECKED = checkedIn(SETTINGS);

describe('settings of a subscription', { timeout: 30_000 }, () => {
  test('are taken up to the bounds that the document names, and refused beyond', async (t) => {
    const { ask } = await world(t);
    const ranges = CHECKED.filter(({ means }) => means.minimum !== undefined);
    assert.ok(ranges.length > 8);
    await ask('PUT /v1/subscriptions/s', { json: { topics: ['>'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } } });
    for (const { path, means } of ranges) {
      const { minimum = 0, maximum = 0 } = means;
      const status = async (value: number): Promise<number> =>
        (await ask('PATCH /v1/subscriptions/s', { json: nested(path, value) })).status;
      const said = [await status(minimum), await status(maximum), await status(minimum - 0.001), await status(maximum + 1)];
      assert.deepEqual(said, [200, 200, 400, 400], path.join('.'));
    }
  });

  test('take the words that the document names, and no others', async (t) => {
    const { ask } = await world(t);
    const words = CHECKED.filter(({ means }) => means.enum !== undefined);
    assert.ok(words.length >= 5);
    let made = 0;
    for (const { path, means } of words) {
      const last = path.at(-1);
      for (const word of [...(means.enum ?? []), 'other']) {
        const webhook = {
          url: 'http://127.0.0.1:9',
          ...(last === 'json' ? SIMPLE.deliver.webhook : {}),
          ...(path[0] === 'deliver' ? { [last as string]: word } : {}),
        };
        const json = { topics: ['>'], ...(path[0] === 'deliver' ? {} : nested(path, word)), deliver: { webhook } };
        const { status, text } = await ask(`PUT /v1/subscriptions/s${made++}`, { json });
        assert.equal(status, word === 'other' ? 400 : 201, text);
      }
    }
  });

  test('have the defaults that the document names', async (t) => {
    const { ask } = await world(t);
    const { json } = await ask('PUT /v1/subscriptions/s', {
      json: { topics: ['>'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } },
    });
    const named = CHECKED.filter(({ path, means }) => means.default !== undefined && path[0] !== 'from');
    assert.ok(named.length > 12);
    for (const { path, means } of named) {
      const shown = valueAt(path, json);
      // A day is written as one, whoever wrote 24 hours.
      const said = Array.isArray(means.default) ? means.default.map((one) => (one === '24h' ? '1d' : one)) : means.default;
      assert.deepEqual(shown, said, path.join('.'));
    }
  });
});
