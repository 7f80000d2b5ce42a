/** What /metrics says of several workers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import type { Notice } from '../api.ts';
import { createMetrics, type Metrics } from '../metrics.ts';
import type { ToWorker } from './messages.ts';
import { createScrapes, type Scrapes } from './scrapes.ts';
import type { WorkerThread } from './worker-thread.ts';

const NOTICE = { kind: 'delivered', environment: 'default', subscription: 's', eventId: 'e', cause: '', durationMs: 5 } as Notice;

interface Fake {
  readonly metrics: Metrics;
  readonly thread: WorkerThread;
  hangs: boolean;
}

/** As its thread answers, or does not. */
function worker(number: number, scrapes: Scrapes): Fake {
  const metrics = createMetrics({ version: '1' });
  const fake = { metrics, hangs: false };
  const thread = {
    number,
    ended: new Promise(() => undefined),
    post(message: ToWorker) {
      // Across threads it is a clone.
      if ('sample' in message && !fake.hangs)
        void metrics.samples().then((samples) => scrapes.told(message.sample, structuredClone(samples)));
    },
  } as unknown as WorkerThread;
  return Object.assign(fake, { thread });
}

const attempts = (text: string): number =>
  Number(/^millrace_delivery_attempts_total\{subscription="default\/s",outcome="delivered",cause=""\} (\d+)$/m.exec(text)?.[1]);

test('counters of all workers are summed, and what one had counted stays counted when it has ended', async () => {
  const scrapes = createScrapes({ clock: createHandClock() });
  const [a, b] = [worker(1, scrapes), worker(2, scrapes)];
  for (const { metrics } of [a, a, b]) metrics.notice(NOTICE);
  const text = await scrapes.text([a.thread, b.thread]);
  assert.equal(attempts(text), 3);
  assert.match(text, /^millrace_workers 2$/m);
  assert.match(text, /^millrace_build_info\{version="1"\} 1$/m);
  assert.match(text, /^millrace_delivery_attempt_duration_seconds_count\{subscription="default\/s"\} 3$/m);
  scrapes.ended(a.thread);
  assert.equal(attempts(await scrapes.text([b.thread])), 3);
  const again = worker(1, scrapes);
  again.metrics.notice(NOTICE);
  const later = await scrapes.text([b.thread, again.thread]);
  assert.equal(attempts(later), 4);
  assert.match(later, /^millrace_worker_ends_total 1$/m);
});

test('memory of the process is not counted once for each worker', async () => {
  const scrapes = createScrapes({ clock: createHandClock() });
  const text = await scrapes.text([1, 2, 3].map((number) => worker(number, scrapes).thread));
  const bytes = Number(/^millrace_resident_bytes (\d+)$/m.exec(text)?.[1]);
  assert.ok(bytes > 0 && bytes < 2 * process.memoryUsage().rss, String(bytes));
});

test('a worker that does not answer is taken as it last was', async () => {
  const clock = createHandClock();
  const scrapes = createScrapes({ clock });
  const a = worker(1, scrapes);
  a.metrics.notice(NOTICE);
  assert.equal(attempts(await scrapes.text([a.thread])), 1);
  a.hangs = true;
  a.metrics.notice(NOTICE);
  const asked = scrapes.text([a.thread]);
  await clock.advance(2_000);
  assert.equal(attempts(await asked), 1);
});
