/** What Prometheus reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '@millrace/core/problem';
import { handWorld } from '../test/clock.ts';
import type { Gateway } from './api.ts';
import { createMetrics } from './metrics.ts';

test('events, attempts and states are counted by subscription, and what strangers make up is no series', async (t) => {
  const world = await handWorld(t);
  const metrics = createMetrics({ version: '1.2.3' });
  const gateway = metrics.counting(world.gateway);
  await world.subscribe('crm', { retry: { schedule: [] }, breaker: false });
  world.sender.script = () => 500;
  const events = [{ type: 'orders.created' }, { type: 'made.up' }];
  await gateway.publish({ environment: 'default', app: 'shop', events });
  await assert.rejects(gateway.publish({ environment: 'default', app: '', events }));
  await world.clock.advance(1);
  for (const notice of world.notices) metrics.notice(notice);
  metrics.notice({ kind: 'log_failing', code: 'x' });
  const text = await metrics.text();
  for (const line of [
    'millrace_build_info{version="1.2.3"} 1',
    'millrace_events_total{topic="orders.created",outcome="appended"} 1',
    'millrace_events_total{topic="",outcome="unknown_topic"} 1',
    'millrace_events_total{topic="",outcome="invalid_request"} 2',
    'millrace_delivery_attempts_total{subscription="default/crm",outcome="dead",cause="http_500"} 1',
    'millrace_delivery_attempt_duration_seconds_count{subscription="default/crm"} 1',
    'millrace_dead_letters{subscription="default/crm"} 1',
    'millrace_parked_deliveries{subscription="default/crm"} 0',
    'millrace_notices_total{kind="log_failing"} 1',
  ])
    assert.ok(text.includes(`${line}\n`), `${line}\n\n${text}`);
  assert.match(metrics.contentType, /^text\/plain/);
});

test('past five hundred subscriptions the others share one series', async () => {
  const metrics = createMetrics({ version: '1' });
  const notice = {
    kind: 'delivered',
    environment: 'e',
    webhookId: '',
    eventId: '',
    topic: '',
    cause: '',
    status: 200,
    n: 1,
    durationMs: 1,
  } as const;
  for (let at = 0; at < 510; at++) metrics.notice({ ...notice, subscription: `s${at}` });
  const text = await metrics.text();
  assert.ok(text.includes('{subscription="e/s499",outcome="delivered",cause=""} 1'));
  assert.ok(text.includes('{subscription="other",outcome="delivered",cause=""} 10'));
});

test('what is refused takes no series from the topics there are', async () => {
  const metrics = createMetrics({ version: '1' });
  const refused = new Problem('unknown_topic', 'there is none');
  const publish: Gateway['publish'] = async ({ events }) =>
    events.map(({ type }) =>
      type === 'refused'
        ? ({ status: 'appended', id: '1', shard: 'main', position: '1' } as const)
        : { status: 'refused', problem: refused },
    );
  const gateway = metrics.counting({ publish, states: () => [] } as Partial<Gateway> as Gateway);
  const events = [...Array.from({ length: 510 }, (_, at) => ({ type: `made.up.${at}` })), { type: 'refused' }];
  await gateway.publish({ environment: 'default', app: 'shop', events });
  const text = await metrics.text();
  assert.ok(text.includes('millrace_events_total{topic="refused",outcome="appended"} 1\n'), text);
  assert.ok(text.includes('millrace_events_total{topic="",outcome="unknown_topic"} 510\n'), text);
});

test('a node of a cluster says how many slots it works and how much it delivers; a gateway by itself does not', async () => {
  const text = await createMetrics({ version: '1', node: () => ({ slots: 43, load: 12.5 }) }).text();
  for (const line of ['millrace_slots 43', 'millrace_load 12.5']) assert.ok(text.includes(`${line}\n`), text);
  assert.doesNotMatch(await createMetrics({ version: '1' }).text(), /millrace_(slots|load)/);
});
