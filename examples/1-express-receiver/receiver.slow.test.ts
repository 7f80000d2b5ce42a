import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { type Receiver, type ReceiverOptions, receiverSuite } from '../test/receiver-suite.ts';
import { openSqliteInbox } from './inbox-sqlite.ts';
import { createMemoryInbox, type Inbox } from './inbox.ts';
import { createReceiver } from './receiver.ts';
import { simple, standard } from './verify.ts';
import { startWorker } from './worker.ts';

async function start(t: TestContext, inbox: Inbox, { signature, secrets, ...options }: ReceiverOptions): Promise<Receiver> {
  const worker = startWorker({ inbox, concurrency: 2, ...options });
  const verify = signature === 'simple' ? simple(secrets) : standard(secrets);
  const server = createReceiver({ verify, inbox, wake: worker.wake }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await worker.stop();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`, inbox };
}

receiverSuite('the Express receiver with its inbox in memory', (t, options) =>
  start(t, createMemoryInbox(options.bounds), options),
);

receiverSuite('the Express receiver with its inbox in a file', async (t, options) => {
  const inbox = openSqliteInbox(join(temporary(t), 'inbox.db'), options.bounds);
  const receiver = await start(t, inbox, options);
  t.after(() => inbox.close());
  return receiver;
});
