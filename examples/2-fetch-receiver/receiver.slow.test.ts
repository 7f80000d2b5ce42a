import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createMemoryInbox } from '../1-express-receiver/inbox.ts';
import { receiverSuite } from '../test/receiver-suite.ts';
import { createDrain, createReceiver } from './receiver.ts';
import { serve } from './serve.ts';
import { simple, standard } from './verify.ts';

receiverSuite('the fetch receiver', async (t, { signature, secrets, bounds, ...options }) => {
  const inbox = createMemoryInbox(bounds);
  const underWay = new Set<Promise<void>>();
  const receive = createReceiver({
    verify: signature === 'simple' ? simple({ secrets }) : standard({ secrets }),
    inbox,
    drain: createDrain({ inbox, ...options }),
    waitUntil: (promise) => void underWay.add(promise),
  });
  const server = serve(receive, 0);
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await Promise.all(underWay);
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`, inbox };
});
