/** Who we are to the broker, and who it is to us. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { nkeys } from '@nats-io/transport-node';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { startNats } from '../../../scripts/brokers/nats.ts';
import { cacheDirectory } from '../../../scripts/brokers/running.ts';
import type { NatsAuth } from './log-nats.ts';
import { openNats } from './log-nats.ts';
import { CERTIFICATE, CERTIFICATE_KEY } from '@millrace/conformance/certificate';
import { entry, hasCode, openFor, plainClient, readAll } from './testing.ts';

const { server, skip } = await findBroker('nats');
await server?.remove();

function folder(context: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-nats-connect-'));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Its url, for a server with these lines of configuration. */
async function serverWith(context: TestContext, lines: string, directory = folder(context)): Promise<string> {
  const config = join(directory, 'nats.conf');
  writeFileSync(config, lines);
  const started = await startNats({ cache: cacheDirectory(), directory }, ['-c', config]);
  context.after(() => started.stop());
  return started.url;
}

async function works(context: TestContext, servers: string, auth: NatsAuth): Promise<void> {
  const log = await openFor(context, { servers, auth });
  await log.append([entry('1')]);
  assert.ok((await readAll(log)).length > 0);
}

describe('a connection', { skip, timeout: 60_000 }, () => {
  test('by token works, and without it or with another is refused', async (t) => {
    const servers = await serverWith(t, 'authorization { token: "s3cret" }');
    await works(t, servers, { token: 's3cret' });
    await assert.rejects(openNats({ servers }), hasCode('log_unavailable'));
    await assert.rejects(openNats({ servers, auth: { token: 'guess' } }), (error: Error) => {
      assert.ok(!error.message.includes('guess'), 'a secret is not told on');
      return hasCode('log_unavailable')(error);
    });
  });

  test('by user and password, and by nkey, works', async (t) => {
    const pair = nkeys.createUser();
    const servers = await serverWith(
      t,
      `authorization { users: [ { user: shop, password: "pass word" }, { nkey: ${pair.getPublicKey()} } ] }`,
    );
    await works(t, servers, { user: 'shop', password: 'pass word' });
    await works(t, servers, { nkeySeed: new TextDecoder().decode(pair.getSeed()) });
    await assert.rejects(openNats({ servers, auth: { user: 'shop', password: 'x' } }), hasCode('log_unavailable'));
  });

  test('over TLS trusts what it was told to trust, and nobody else', async (t) => {
    const directory = folder(t);
    const [certificate, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
    writeFileSync(certificate, CERTIFICATE);
    writeFileSync(key, CERTIFICATE_KEY);
    const url = await serverWith(t, `tls { cert_file: "${certificate}", key_file: "${key}" }`, directory);
    const servers = url.replace('nats://127.0.0.1', 'tls://localhost');
    const log = await openFor(t, { servers, tls: { caFile: certificate } });
    await log.append([entry('1')]);
    await assert.rejects(openNats({ servers, tls: {} }), hasCode('log_unavailable'));
  });

  test('to a server that takes larger messages than any event reads them, too', async (t) => {
    const servers = await serverWith(t, 'max_payload: 8388608');
    const log = await openFor(t, { servers, tailBytes: 0 });
    await log.append([entry('1'), entry('2')]);
    const { js } = await plainClient(t, servers);
    for (let i = 0; i < 2; i++) await js.publish('orders.created', 'x'.repeat(5_000_000));
    await log.append([entry('3')]);
    for (const limit of [1, 1_000]) {
      const sizes = (await readAll(log, { limit })).map(({ event }) => event.data?.length ?? 0);
      assert.deepEqual(sizes, [0, 0, 5_000_000, 5_000_000, 0]);
    }
  });

  test('to a server without JetStream, or with too small messages, is refused with what to do', async (t) => {
    const small = await serverWith(t, 'max_payload: 65536');
    await assert.rejects(openNats({ servers: small }), { code: 'log_unsuitable', advice: /max_payload/ });
    const account = 'accounts { A: { users: [ { user: a, password: a } ] } }';
    const none = await serverWith(t, account);
    await assert.rejects(openNats({ servers: none, auth: { user: 'a', password: 'a' } }), (error: Error) => {
      assert.match(error.message, /JetStream/);
      return hasCode('log_unavailable')(error);
    });
  });
});
