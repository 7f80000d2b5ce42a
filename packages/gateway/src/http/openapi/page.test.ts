/** docs/api.md: its links lead somewhere, and what it tells receivers to do works. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { receiver } from '../../../test/receivers.ts';
import { world } from '../../../test/world.ts';
import { NAMED_CAUSES } from '../causes.ts';
import { anchorOf } from './page-marks.ts';
import { pageOf } from './page.ts';
import type { ShownDocument } from './shown.ts';

async function page(t: TestContext): Promise<string> {
  const { app } = await world(t);
  return pageOf((await app.inject('/openapi.json')).json<ShownDocument>());
}

type Verify = (headers: Readonly<Record<string, string>>, body: Buffer, secret: string) => boolean;

describe('docs/api.md', { timeout: 30_000 }, () => {
  test('has links that lead to one heading each', async (t) => {
    const text = await page(t);
    const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => anchorOf(title));
    const links = [...text.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor as string);
    assert.deepEqual(
      links.filter((link) => !anchors.includes(link)),
      [],
    );
    const linked = new Set(links);
    assert.deepEqual(
      anchors.filter((anchor, at) => linked.has(anchor) && anchors.indexOf(anchor) !== at),
      [],
    );
  });

  test('tells of every call', async (t) => {
    const made = await world(t);
    const document = (await made.app.inject('/openapi.json')).json<ShownDocument>();
    const text = pageOf(document);
    for (const [path, operations] of Object.entries(document.paths))
      for (const method of Object.keys(operations))
        assert.ok(text.includes(`\n\`${method.toUpperCase()} ${path}\`, `), `${method} ${path}`);
  });

  test('reads events where some are', async (t) => {
    const made = await world(t);
    await made.ask('POST /v1/events', { json: { type: 'orders.created', data: 1 } });
    const [, query = ''] = /curl -sS 'http[^']+\/v1\/events\?([^']+)'/.exec(await page(t)) ?? [];
    assert.equal((await made.ask(`GET /v1/events?${query}`)).json.data.length, 1);
  });

  test('tells what every cause means', async (t) => {
    const text = await page(t);
    const causes = text.slice(text.indexOf('\n## Causes'), text.indexOf('\n## Events'));
    for (const cause of NAMED_CAUSES) assert.ok(causes.includes(`\`${cause}\``), cause);
  });

  test('verifies deliveries as it tells receivers to', async (t) => {
    const made = await world(t);
    const functions: Record<string, Verify> = {};
    for (const [, code = ''] of (await page(t)).matchAll(/```js\n([^]*?)```/g))
      Object.assign(functions, await import(`data:text/javascript,${encodeURIComponent(code)}`));
    for (const [signature, name] of [
      ['standard', 'isGenuine'],
      ['simple', 'isGenuineSimple'],
    ] as const) {
      const endpoint = await receiver(t);
      const webhook = { url: endpoint.url, signature };
      const { json } = await made.ask(`PUT /v1/subscriptions/${signature}`, { json: { topics: ['>'], deliver: { webhook } } });
      await made.ask('POST /v1/events', { json: { type: 'orders.created', data: { id: 43 } } });
      const { headers, body } = await endpoint.request(1);
      const verify = functions[name] as Verify;
      assert.equal(verify(headers, body, json.secret), true);
      assert.equal(verify(headers, Buffer.from('{"id":44}'), json.secret), false);
      assert.equal(verify({}, body, json.secret), false);
    }
  });
});
