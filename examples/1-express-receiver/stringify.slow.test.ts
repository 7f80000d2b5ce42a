/**
 * The receiver that many people write first: Express parses the body, and the HMAC is taken over JSON.stringify of it. With
 * `"signature": "simple"` it accepts what any language published, though that is rarely printed as JavaScript prints it.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import express from 'express';
import { startChild } from '../test/child.ts';
import { type Gateway, startGateway } from '../test/gateway.ts';

/** Brought along, and no whsec_: the whole text is the key. */
const SECRET = 'correct horse battery staple';

async function naiveReceiver(t: TestContext): Promise<{ readonly url: string; readonly bodies: unknown[] }> {
  const bodies: unknown[] = [];
  const app = express();
  app.post('/hooks', express.json(), (request, response) => {
    const signature = createHmac('sha256', SECRET).update(JSON.stringify(request.body)).digest('hex');
    if (signature !== request.get('x-signature')) return void response.sendStatus(401);
    bodies.push(request.body);
    response.sendStatus(204);
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`, bodies };
}

async function scene(t: TestContext): Promise<{ readonly gateway: Gateway; readonly bodies: unknown[] }> {
  const [gateway, { url, bodies }] = [await startGateway(t), await naiveReceiver(t)];
  const webhook = { url, signature: 'simple', secret: SECRET };
  await gateway.subscribe('naive', { deliver: { webhook }, retry: { schedule: ['1h'] } });
  return { gateway, bodies };
}

/** Bytes as they are: no client prints them anew. */
async function publishText({ address, key }: Gateway, body: string): Promise<string> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const response = await fetch(`${address}/v1/events`, { method: 'POST', headers, body });
  const { id } = (await response.json()) as { readonly id: string };
  assert.equal(response.status, 202);
  return id;
}

/** How each prints `data`, where it differs from JSON.stringify. */
const PRINTED: readonly (readonly [by: string, data: string])[] = [
  [
    'Python: spaces, escapes, floats',
    String.raw`{"name": "Zo\u00eb \ud83d\ude80", "price": 19.0, "tiny": 1e-07, "big": 1e+16, "list": [1, 2.5, null, true]}`,
  ],
  ['PHP: slashes and letters escaped', String.raw`{"url":"https:\/\/shop.example\/o\/42","name":"Zo\u00eb"}`],
  [
    'Go: < > & escaped, large floats',
    String.raw`{"html":"\u003cb\u003e\u0026\u003c/b\u003e","sep":"\u2028","big":1e+21,"small":1e-7}`,
  ],
  ['Go: indented', '{\n  "id": 42,\n  "lines": []\n}'],
  ['Java: upper-case exponents', '{"rate":1.0E10,"half":5.0E-1}'],
  ['Decimal types: zeros at the end', '{"amount": 1.50, "zero": 0.00, "minus": -0.0}'],
  ['curl: by hand', '{ "2": "two", "1" : "one" , "a/b": "\t" }'.replace('\t', String.raw`\u0009`)],
  ['an empty object', '{ }'],
  ['a list', '[ {"id": 1.0} ]'],
];

test('accepts over JSON.stringify(req.body) what other languages print', { timeout: 60_000 }, async (t) => {
  const { gateway, bodies } = await scene(t);
  for (const [by, data] of PRINTED) {
    const id = await publishText(gateway, `{"type": "prices.changed", "data": ${data}}`);
    const { outcome, attempts } = await gateway.delivery('naive', id, () => true);
    assert.deepEqual([by, outcome, attempts.length], [by, 'delivered', 1]);
    assert.deepEqual(JSON.stringify(bodies.at(-1)), JSON.stringify(JSON.parse(data)));
  }
});

test('and what there is without data: {}', { timeout: 60_000 }, async (t) => {
  const { gateway, bodies } = await scene(t);
  await gateway.delivery('naive', await gateway.publish({ type: 'prices.asked' }), ({ outcome }) => outcome === 'delivered');
  assert.deepEqual(bodies, [{}]);
});

const PYTHON = `
import json, os, urllib.request
data = {"name": "Zoë 🚀", "price": 19.0, "rate": 1e-7, "exact": 1.50, "big": 1e22, "none": None, "list": [1, 2.5, True]}
request = urllib.request.Request(
    os.environ["MILLRACE_URL"] + "/v1/topics/prices.changed/events", data=json.dumps(data).encode(),
    headers={"Authorization": "Bearer " + os.environ["MILLRACE_KEY"], "Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request))["id"])
`;

test('accepts what a real Python published', { timeout: 60_000 }, async (t) => {
  if (spawnSync('python3', ['--version']).status !== 0) return t.skip('python3 is not installed');
  const { gateway, bodies } = await scene(t);
  const python = startChild(t, ['python3', '-c', PYTHON], { MILLRACE_URL: gateway.address, MILLRACE_KEY: gateway.key });
  const [, id = ''] = await python.printed(/^(\S+)\n/);
  await gateway.delivery('naive', id, ({ outcome }) => outcome === 'delivered');
  assert.deepEqual(bodies, [{ name: 'Zoë 🚀', price: 19, rate: 1e-7, exact: 1.5, big: 1e22, none: null, list: [1, 2.5, true] }]);
});

test(
  'does not accept a number that JavaScript can not hold: it goes out as it was sent, never changed',
  { timeout: 60_000 },
  async (t) => {
    const { gateway, bodies } = await scene(t);
    const id = await publishText(gateway, '{"type": "prices.changed", "data": {"id": 12345678901234567890}}');
    const { outcome, attempts } = await gateway.delivery('naive', id, () => true);
    assert.deepEqual([outcome, attempts[0].status, bodies], ['retry', 401, []]);
  },
);
