/** The sentences an operator reads, and what can't be provoked in a server. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamConfig } from '@nats-io/jetstream';
import { type Facts, findingsOf } from './findings.ts';

const DAY_MS = 86_400_000;
const healthy = {
  name: 'MILLRACE',
  subjects: ['orders.>'],
  storage: 'file',
  num_replicas: 3,
  discard: 'new',
  max_bytes: -1,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  max_age: 7 * DAY_MS * 1e6,
  duplicate_window: DAY_MS * 1e6,
} as unknown as StreamConfig;

function found(config: Partial<StreamConfig>, more: Partial<Facts> = {}) {
  return findingsOf({
    config: { ...healthy, ...config },
    state: { bytes: 0, messages: 0 },
    version: '2.15.2',
    isCluster: true,
    mayChange: true,
    sync: { kind: 'unknown' },
    wanted: { topics: [], patterns: [], dedupeWindowMs: DAY_MS },
    subjectOf: (_environment, topic) => topic,
    ...more,
  });
}

test('of three replicas on disk, with room and time enough, nothing is said', () => {
  assert.deepEqual(found({}), []);
});

test('one replica in a cluster is worth knowing, and what it means for a power loss', () => {
  const [sync, copies] = found({ num_replicas: 1 });
  assert.match(sync?.problem ?? '', /^whether an event that was answered survives a power loss is not known here: .* 1 replica$/);
  assert.match(sync?.advice ?? '', /sync_interval: always .* 3 replicas\. .*\$SYS\.REQ\.SERVER\.PING\.JSZ/);
  assert.deepEqual([copies?.level, copies?.code], ['note', 'log_one_replica']);
});

test('a server that is older than the log needs is a problem, also when it took the place of a newer one', () => {
  const [finding] = found({}, { version: '2.9.10' });
  assert.equal(finding?.problem, 'the NATS server is version 2.9.10; the log needs 2.10 or newer');
});

test('a stream that is nearly full says of what, and what happens then', () => {
  const [finding] = found({ max_bytes: 1_000 }, { state: { bytes: 999, messages: 5 } });
  assert.equal(finding?.problem, 'the stream MILLRACE has used 99 % of its max_bytes');
  assert.match(finding?.advice ?? '', /log_full/);
  assert.deepEqual(found({ max_bytes: 1_000 }, { state: { bytes: 799, messages: 5 } }), []);
});

test('of many topics a few are named', () => {
  const topics = [1, 2, 3, 4, 5].map((n) => ({ environment: 'default', topic: `users.${n}`, retentionMs: DAY_MS }));
  const [finding] = found({}, { wanted: { topics, patterns: [], dedupeWindowMs: 1 } });
  assert.equal(finding?.problem, 'the stream MILLRACE does not capture users.1, users.2, users.3 and 2 more');
});

test('a topic is captured by its own subject or by a pattern; a pattern by one that covers it', () => {
  const topics = ['a.b', 'c.d', 'orders.x'].map((topic) => ({ environment: 'default', topic, retentionMs: DAY_MS }));
  const patterns = ['orders.*', 'c.*', 'a.b'].map((pattern) => ({ environment: 'default', pattern }));
  const wanted = { topics, patterns, dedupeWindowMs: 1 };
  const said = found({ subjects: ['orders.>', 'a.b'] }, { wanted, mayChange: false });
  assert.deepEqual(
    said.map(({ code, problem }) => [code, problem]),
    [
      ['topic_not_captured', 'the stream MILLRACE does not capture c.d'],
      ['pattern_not_captured', 'subscriptions want c.*, of which the stream MILLRACE captures a part or nothing'],
    ],
  );
});

test('what is to be kept longer than the stream keeps it is named with both times', () => {
  const topics = [{ environment: 'default', topic: 'orders.created', retentionMs: 30 * DAY_MS }];
  const [finding] = found({}, { wanted: { topics, patterns: [], dedupeWindowMs: 1 } });
  assert.match(finding?.problem ?? '', /keeps events for 7d, .* retention of orders\.created$/);
  assert.match(finding?.advice ?? '', /max_age to 30d/);
});
