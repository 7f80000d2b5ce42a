/** The one line that says where a log on NATS is, and how to get in. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { natsOptionsOf } from './nats-address.ts';

test('an address alone is a server; several are one cluster', () => {
  assert.deepEqual(natsOptionsOf('nats://127.0.0.1:4222'), { servers: ['nats://127.0.0.1:4222'] });
  assert.deepEqual(natsOptionsOf('tls://a:4222,b:4222/'), { servers: ['tls://a:4222', 'tls://b:4222'] });
});

test('who we are stands before the host, or in a file', (t) => {
  assert.deepEqual(natsOptionsOf('nats://s3cret@h:1').auth, { token: 's3cret' });
  assert.deepEqual(natsOptionsOf('nats://me:p%40ss:word@h:1').auth, { user: 'me', password: 'p@ss:word' });
  assert.deepEqual(natsOptionsOf('nats://h:1?creds=/etc/me.creds').auth, { credsFile: '/etc/me.creds' });
  const folder = mkdtempSync(join(tmpdir(), 'millrace-nats-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'seed');
  writeFileSync(file, 'SUAX\n');
  assert.deepEqual(natsOptionsOf(`nats://h:1?nkey=${file}`).auth, { nkeySeed: 'SUAX' });
  assert.deepEqual(natsOptionsOf('tls://h:1?ca=ca.pem&cert=me.pem&key=me.key').tls, {
    caFile: 'ca.pem',
    certFile: 'me.pem',
    keyFile: 'me.key',
  });
});

test('everything else of the stream', () => {
  assert.deepEqual(
    natsOptionsOf(
      'nats://h:1?stream=S&prefix=acme&adopt=legacy.>,x.*&manage=true&replicas=3&storage=memory&dedupe=5m&max-bytes=1000&max-messages=9',
    ),
    {
      servers: ['nats://h:1'],
      stream: 'S',
      subjectPrefix: 'acme',
      adopt: ['legacy.>', 'x.*'],
      manage: true,
      replicas: 3,
      storage: 'memory',
      dedupeWindowMs: 300_000,
      maxBytes: 1000,
      maxMessages: 9,
    },
  );
});

test('what is no address, or has a member that is not known, is refused without saying what may be a password', () => {
  for (const bad of [
    'nats://',
    'http://h:1',
    'nats://me:secret@',
    'nats://me:secret@h:1?replica=3',
    'nats://h:1?replicas=two',
    'nats://h:1?storage=tape',
  ])
    assert.throws(
      () => natsOptionsOf(bad),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'invalid_request');
        assert.ok(!error.message.includes('secret'));
        return true;
      },
    );
});
