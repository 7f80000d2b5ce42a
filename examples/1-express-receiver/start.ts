/**
 * Runs the receiver: `node start.ts`. `node start.ts failed` lists what was given up.
 *
 *   WEBHOOK_SECRETS     the subscription's secret; while it is rotated both, with a comma between them
 *   WEBHOOK_SIGNATURE   standard (default) or simple, as the subscription says
 *   INBOX               the file of the inbox (inbox.db); PORT (3000)
 */
import type { AddressInfo } from 'node:net';
import { openSqliteInbox } from './inbox-sqlite.ts';
import type { Message } from './inbox.ts';
import { createReceiver } from './receiver.ts';
import { simple, standard } from './verify.ts';
import { startWorker } from './worker.ts';

const { WEBHOOK_SECRETS = '', WEBHOOK_SIGNATURE = 'standard', INBOX = 'inbox.db', PORT = '3000' } = process.env;
/** Each may hold a body in memory. One more is closed, and its sender comes again. */
const CONNECTIONS_MAX = 256;
const REQUEST_MS = 30_000;

const inbox = openSqliteInbox(INBOX);
if (process.argv[2] === 'failed') for (const failure of await inbox.failed()) console.log(JSON.stringify(failure));
else serve();

function serve(): void {
  const secrets = WEBHOOK_SECRETS.split(',').filter((secret) => secret !== '');
  if (secrets.length === 0) throw new Error('WEBHOOK_SECRETS is empty: set it to the secret of the subscription');
  const worker = startWorker({ inbox, work, onFailed: ({ id }, error) => console.error(`given up: ${id}: ${error}`) });
  const verify = WEBHOOK_SIGNATURE === 'simple' ? simple(secrets) : standard(secrets);
  const server = createReceiver({ verify, inbox, wake: worker.wake }).listen(Number(PORT), '127.0.0.1', () => {
    console.log(`receives on http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`);
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_MS;
  process.once('SIGTERM', () => {
    server.close(() => void worker.stop().then(() => inbox.close()));
    server.closeIdleConnections();
  });
}

/** Yours. Throwing means: once more, after a pause. */
async function work({ id, headers, body }: Message): Promise<void> {
  console.log(`${headers['ce-type']}  ${id}  ${Buffer.from(body).toString()}`);
}
