/** The benchmark does what it says, with little of everything: no figure of it is looked at but that there is one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Sample } from '../figure.ts';
import { startGenerator } from '../processes.ts';
import { measureFanOut } from './fan-out.ts';
import { createLatency, pacesOf } from './latency.ts';
import { startListeners } from './listeners.ts';
import { measureIdle, measurePaused } from './memory.ts';
import { type Server, startOurs, startRaw } from './servers.ts';

describe('the realtime benchmark', { timeout: 120_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-test-'));
  const listeners = startListeners();
  const generator = startGenerator();
  let ours: Server;
  let raw: Server;

  before(async () => {
    [ours, raw] = [await startOurs({ data: join(directory, 'ours'), durability: 'relaxed' }), await startRaw()];
  });
  after(async () => {
    listeners.stop();
    generator.close();
    await Promise.all([ours.stop(), raw.stop()]);
    rmSync(directory, { recursive: true, force: true });
  });

  test('times events to a WebSocket and to an event stream', async () => {
    const kept = await startRaw({ file: join(directory, 'kept'), durability: 'fsync' });
    const latency = createLatency({
      servers: { fsync: ours, relaxed: ours },
      kept: { fsync: kept, relaxed: kept },
      raw,
      listeners,
      generator,
    });
    await latency.warmUp(50);
    const [brisk, slow] = [await latency.measure(pacesOf(0.1)[0]!), await latency.measure(pacesOf(0.1)[1]!)];
    assert.equal(brisk.length, 12);
    assert.equal(slow.length, 4);
    mustBeFigures([...brisk, ...slow]);
    await kept.stop();
  });

  test('counts what all sockets get, one event at a time and ten', async () => {
    const samples = await measureFanOut({ ours, raw, listeners }, { sockets: 100, events: 10 });
    assert.equal(samples.length, 4);
    mustBeFigures(samples);
  });

  test('weighs idle connections and consumers that take nothing', async () => {
    const needs = { directory, listeners, generator };
    const sizes = { idle: 100, events: 1_000 };
    assert.equal((await measureIdle(needs, sizes)).length, 1);
    const paused = await measurePaused(needs, sizes);
    assert.equal(paused.length, 4);
    mustBeFigures(paused);
  });
});

function mustBeFigures(samples: readonly Sample[]): void {
  for (const { name, ours, raw = Number.NaN } of samples) assert.ok(ours > 0 && raw > 0, `${name}: ${ours} beside ${raw}`);
}
