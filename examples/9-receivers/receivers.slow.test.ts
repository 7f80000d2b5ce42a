/** Each wrapper as its platform runs it: Express and Fastify as servers, Workers in workerd, Vercel and Lambda by what they call. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import express from 'express';
import fastify from 'fastify';
import { memoryStore, type Receiver, receiver } from '../../sdk/js/millrace.ts';
import { workerd } from '../../scripts/runtimes/all.ts';
import { findRuntime } from '../../scripts/runtimes/find.ts';
import { startWorkerd } from '../../test/runtimes/workerd.ts';
import { type Call, callAt, type Needs, type Platform, platformSuite, SECRET, type Worked } from '../test/platform-suite.ts';
import { onExpress } from './express.ts';
import { onFastify } from './fastify.ts';
import { type LambdaEvent, onLambda } from './lambda.ts';
import { onVercel } from './vercel.ts';

function receiverOf({ ack, work, ended }: Needs): Receiver {
  return receiver({
    secrets: [SECRET],
    store: memoryStore(),
    ack,
    gateways: ['https://events.test'],
    async handle({ type }, { id, body }) {
      const one = { id, type, body: Buffer.from(body).toString() };
      await work(one);
      ended(one);
    },
  });
}

const onExpress5: Platform = {
  name: 'Express',
  goesOn: true,
  listens: true,
  async start(t, needs) {
    const app = express();
    app.all('/hooks', onExpress(receiverOf(needs)));
    app.use(express.json());
    const server = app.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    t.after(() => server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
    return { url, call: callAt(url) };
  },
};

const onFastify5: Platform = {
  name: 'Fastify',
  goesOn: true,
  listens: true,
  async start(t, needs) {
    const app = fastify();
    await app.register(onFastify(receiverOf(needs), '/hooks'));
    app.post('/orders', async ({ body }) => body);
    const address = await app.listen({ port: 0, host: '127.0.0.1' });
    t.after(() => app.close());
    return { url: `${address}/hooks`, call: callAt(`${address}/hooks`) };
  },
};

const { path, skip } = findRuntime(workerd);
/** The worker works by asking the test: all that it has is fetch. */
const WORKER = `
  import { onWorkers, Seen } from ${JSON.stringify(join(import.meta.dirname, 'worker.ts'))};
  export { Seen };
  export default onWorkers((env) => ({
    ack: env.ACK,
    gateways: ['https://events.test'],
    async handle({ type }, { id, body }) {
      for (const step of ['work', 'ended']) {
        const one = JSON.stringify({ id, type, body: new TextDecoder().decode(body) });
        const { status } = await fetch(env.TEST + '/' + step, { method: 'POST', body: one });
        if (status !== 204) throw new Error('the work failed');
      }
    },
  }));
`;

const onWorkerd: Platform = {
  name: 'Workers',
  skip,
  goesOn: true,
  listens: true,
  async start(t, { ack, work, ended }) {
    const url = await serveWork(t, { work, ended: async (one) => ended(one) });
    const variables = { ACK: ack, TEST: url, WEBHOOK_SECRETS: SECRET };
    const running = await startWorkerd(t, { path, code: WORKER, variables, objects: ['Seen'] });
    return { url: running.url, call: callAt(running.url) };
  },
};

async function serveWork(t: TestContext, steps: Readonly<Record<string, (one: Worked) => Promise<void>>>): Promise<string> {
  const server = createServer((request, response) => {
    const answer = async (): Promise<number> => {
      const one = JSON.parse(Buffer.concat(await request.toArray()).toString()) as Worked;
      return (steps[String(request.url).slice(1)]?.(one) ?? Promise.reject(new Error('no such step'))).then(
        () => 204,
        () => 500,
      );
    };
    void answer().then((status) => response.writeHead(status).end());
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What the package gives to whoever runs in a function is a context that takes promises, and the function lives until they have ended. */
const onVercelFunctions: Platform = {
  name: 'Vercel',
  goesOn: true,
  listens: false,
  async start(_, needs) {
    const { fetch } = onVercel(receiverOf(needs), (work) => assert.ok(work instanceof Promise));
    const url = 'https://shop.vercel.app/api/hooks';
    return { call: ({ method, headers, body }) => fetch(new Request(url, { method, headers, ...(body && { body }) })) };
  },
};

/** Bodies of text come as they are, others as base64; with `isBase64` all of them, as behind a function URL that takes binary. */
const lambda = (name: string, isBase64: boolean, more: object): Platform => ({
  name,
  goesOn: false,
  listens: false,
  async start(_, needs) {
    const handler = onLambda(receiverOf(needs));
    return {
      async call(call) {
        // As JSON there and back: so it comes to the function, and so its answer goes.
        const { statusCode, headers, body } = JSON.parse(
          JSON.stringify(await handler(JSON.parse(JSON.stringify(eventOf(call, isBase64, more))))),
        );
        return new Response(statusCode === 204 ? null : body, { status: statusCode, headers });
      },
    };
  },
});

/** As in the documentation of the payload format 2.0. */
function eventOf({ method, headers, body }: Call, isBase64Encoded: boolean, more: object): LambdaEvent {
  const text = isBase64Encoded && body !== undefined ? Buffer.from(body).toString('base64') : body;
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: '/hooks',
    rawQueryString: 'parameter1=value1&parameter1=value2',
    headers: {
      ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])),
      'accept-encoding': 'gzip,br',
      'x-forwarded-for': '203.0.113.7,198.51.100.9',
      host: 'abcdefg.lambda-url.eu-central-1.on.aws',
    },
    requestContext: {
      accountId: 'anonymous',
      apiId: 'abcdefg',
      http: { method, path: '/hooks', protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'millrace' },
      requestId: 'id',
      routeKey: '$default',
      stage: '$default',
      time: '12/Mar/2026:19:03:58 +0000',
      timeEpoch: 1_773_342_238_000,
    },
    ...(text ? { body: text } : {}),
    isBase64Encoded: isBase64Encoded && Boolean(text),
    ...more,
  } as LambdaEvent;
}

for (const platform of [
  onExpress5,
  onFastify5,
  onWorkerd,
  onVercelFunctions,
  lambda('Lambda, by a function URL', true, {}),
  lambda('Lambda, by an HTTP API', false, { cookies: ['a=1', 'b=2'], stageVariables: null, pathParameters: { proxy: 'hooks' } }),
])
  platformSuite(platform);

test('Express that has read the body before is told so, and answers 500', async (t) => {
  const errors: string[] = [];
  const app = express();
  app.use(express.json());
  app.all('/hooks', onExpress(receiver({ secrets: [SECRET], store: memoryStore(), handle: () => undefined })));
  app.use(((error: Error, _request, response, _next) => {
    errors.push(error.message);
    response.sendStatus(500);
  }) as express.ErrorRequestHandler);
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
  const { status } = await callAt(url)({ method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  assert.equal(status, 500);
  assert.match(errors[0] ?? '', /goes before express\.json\(\)/);
});

test('Fastify keeps the JSON of its other routes', async (t) => {
  const app = fastify();
  await app.register(onFastify(receiver({ secrets: [SECRET], store: memoryStore(), handle: () => undefined }), '/hooks'));
  app.post('/orders', async ({ body }) => body);
  t.after(() => app.close());
  const { body } = await app.inject({ method: 'POST', url: '/orders', payload: { id: 1 } });
  assert.equal(body, '{"id":1}');
});

test('Fastify that is closed waits for the work that goes on', async () => {
  const gate = Promise.withResolvers<void>();
  const steps: string[] = [];
  const app = fastify();
  const handle = () => gate.promise.then(() => steps.push('worked'));
  const receive = receiver({ secrets: [SECRET], store: memoryStore(), handle, ack: 'first', gateways: ['https://events.test'] });
  await app.register(onFastify(receive, '/hooks'));
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  const { Webhook } = await import('standardwebhooks');
  const time = new Date();
  const headers = {
    'webhook-id': 'msg_a',
    'webhook-timestamp': String(Math.floor(time.getTime() / 1_000)),
    'webhook-signature': new Webhook(SECRET).sign('msg_a', time, '{}'),
    'content-type': 'application/json',
    connection: 'close',
  };
  assert.equal((await fetch(`${address}/hooks`, { method: 'POST', headers, body: '{}' })).status, 204);
  const closed = app.close().then(() => steps.push('closed'));
  gate.resolve();
  await closed;
  assert.deepEqual(steps, ['worked', 'closed']);
});

test('Lambda with an event of another format is told so', async () => {
  const handler = onLambda(receiver({ secrets: [SECRET], store: memoryStore(), handle: () => undefined }));
  const old = { version: '1.0', httpMethod: 'POST', headers: {}, requestContext: {}, body: '{}', isBase64Encoded: false };
  await assert.rejects(handler(old), /payload format 2\.0, and this is one of 1\.0/);
});
