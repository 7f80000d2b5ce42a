/** What the log finds in real servers and streams that are set up so. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { startNats } from '../../../scripts/brokers/nats.ts';
import { cacheDirectory } from '../../../scripts/brokers/running.ts';
import type { Demands } from '@millrace/gateway/ports/finding';
import type { Log } from '@millrace/gateway/ports/log';
import { after } from 'node:test';
import { entry, openFor, ownStream, plainClient } from './testing.ts';

const { server, skip } = await findBroker('nats');
const servers = server?.url ?? '';
after(() => server?.remove());

const DAY_MS = 86_400_000;
const NANOS = 1e6;
const wanted: Demands = { topics: [], patterns: [], dedupeWindowMs: 120_000 };

async function codes(log: Log, more: Partial<Demands> = {}): Promise<string[]> {
  const findings = (await log.findings?.({ ...wanted, ...more })) ?? [];
  return findings.map(({ level, code }) => `${level} ${code}`);
}

/** An account for events, to which the system account lends what tells how files are synced. */
async function serverThatTells(context: TestContext, syncs: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-nats-findings-'));
  const config = join(directory, 'nats.conf');
  const subject = '$SYS.REQ.SERVER.PING.JSZ';
  writeFileSync(
    config,
    `jetstream { ${syncs} }
     system_account: SYS
     accounts {
       SYS { users: [{ user: sys, password: sys }], exports: [{ service: "${subject}", response: stream }] }
       APP { jetstream: enabled, users: [{ user: app, password: app }], imports: [{ service: { account: SYS, subject: "${subject}" } }] }
     }`,
  );
  const started = await startNats({ cache: cacheDirectory(), directory }, ['-c', config]);
  context.after(async () => {
    await started.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  return started.url;
}

describe('the log finds', { skip, timeout: 60_000 }, () => {
  const auth = { user: 'app', password: 'app' };

  test('that it is not known when the server syncs, where that is not told', async (t) => {
    const log = await openFor(t, { servers, ...ownStream() });
    assert.deepEqual(await codes(log), ['note log_sync_unknown']);
  });

  test('that the server syncs late, where its system account tells, and nothing where it always syncs', async (t) => {
    const late = await openFor(t, { servers: await serverThatTells(t, 'sync_interval: "30s"'), auth });
    const [finding] = (await late.findings?.(wanted)) ?? [];
    assert.deepEqual([finding?.level, finding?.code], ['problem', 'log_synced_late']);
    assert.match(finding?.problem ?? '', /syncs its files every 30s, and the stream MILLRACE has 1 replica$/);
    const always = await openFor(t, { servers: await serverThatTells(t, 'sync_interval: always'), auth });
    assert.deepEqual(await codes(always), []);
  });

  test('that events are in memory alone', async (t) => {
    const log = await openFor(t, { servers, ...ownStream(), storage: 'memory' });
    assert.deepEqual(await codes(log), ['problem log_in_memory']);
  });

  test('that there is little room left, and no more once there is', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, storage: 'memory', maxMessages: 5 });
    await log.append(['1', '2', '3', '4'].map((id) => entry(id)));
    const findings = (await log.findings?.(wanted)) ?? [];
    assert.match(findings[1]?.problem ?? '', /has used 80 % of its max_msgs/);
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.purge(own.stream);
    assert.deepEqual(await codes(log), ['problem log_in_memory']);
  });

  test('what a stream of others does with events, and which of them it does not have', async (t) => {
    const own = ownStream();
    const subject = (topic: string): string => `${own.subjectPrefix}.${topic}`;
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.add({
      name: own.stream,
      subjects: [subject('orders.>')],
      max_age: DAY_MS * NANOS,
      max_bytes: 1_000_000,
      max_msgs_per_subject: 10,
      duplicate_window: 60_000 * NANOS,
    });
    const log = await openFor(t, { servers, ...own });
    const asked: Partial<Demands> = {
      topics: [
        { environment: 'default', topic: 'orders.created', retentionMs: 30 * DAY_MS },
        { environment: 'default', topic: 'users.created', retentionMs: DAY_MS },
      ],
      patterns: [
        { environment: 'default', pattern: 'orders.*' },
        { environment: 'default', pattern: '>' },
      ],
    };
    assert.deepEqual(await codes(log, asked), [
      'note log_sync_unknown',
      'problem log_drops_oldest',
      'problem log_drops_of_topic',
      'problem log_keeps_shorter',
      'note log_dedupes_shorter',
      'problem topic_not_captured',
      'note pattern_not_captured',
    ]);
    const managed = await openFor(t, { servers, ...own, manage: true });
    for (const topic of asked.topics ?? []) await managed.declareTopic(topic);
    assert.deepEqual(await codes(managed, asked), [
      'note log_sync_unknown',
      'problem log_drops_oldest',
      'problem log_drops_of_topic',
      'note log_dedupes_shorter',
    ]);
  });
});
