/** A broker that stands still for a while, and messages as large as no event is. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { headers } from '@nats-io/transport-node';
import { setTimeout as passed } from 'node:timers/promises';
import { findBroker, startBroker } from '../../../scripts/brokers/find.ts';
import { startNats } from '../../../scripts/brokers/nats.ts';
import { cacheDirectory } from '../../../scripts/brokers/running.ts';
import { entry, hasCode, openFor, ownStream, plainClient, readAll } from './testing.ts';

const { server, skip } = await findBroker('nats');
await server?.remove();

/** The signal is sent and not waited for: what the server has in hand by then it may still answer. */
async function standStill(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const isStopped = async (): Promise<boolean> => {
    const tasks = await readdir(`/proc/${pid}/task`).catch(() => []);
    const states = await Promise.all(tasks.map((task) => readFile(`/proc/${pid}/task/${task}/stat`, 'utf8').catch(() => '')));
    return states.every((state) => /\) T /.test(state));
  };
  while (!(await isStopped()));
}

describe('a broker that is slow', { skip, timeout: 120_000 }, () => {
  test('as it stood still for a moment has every append once, and each is answered', async (t) => {
    const slow = await startBroker('nats');
    t.after(() => slow.remove());
    const log = await openFor(t, { servers: slow.url, ...ownStream() });
    await log.append([entry('first')]);
    await standStill(slow.pid);
    const appends = Array.from({ length: 20 }, (_, at) => log.append([entry(`${at}`)]));
    await passed(1_000); // real time: it is the broker that waits
    process.kill(slow.pid, 'SIGCONT');
    for (const [result] of await Promise.all(appends)) assert.equal(result?.status, 'appended');
    const ids = (await readAll(log)).map(({ event }) => event.id);
    assert.deepEqual(ids, ['first', ...Array.from({ length: 20 }, (_, at) => `${at}`)]);
  });

  test('as it stands still for longer than anybody waits is unavailable, and what was in doubt is there once when it is tried again', async (t) => {
    const slow = await startBroker('nats');
    t.after(() => slow.remove());
    const log = await openFor(t, { servers: slow.url, ...ownStream() });
    const dedupe = { key: 'k', digest: 'd', windowMs: 60_000 };
    await log.append([entry('first')]);
    await standStill(slow.pid);
    await assert.rejects(log.append([entry('doubtful', { dedupe })]), hasCode('log_unavailable'));
    process.kill(slow.pid, 'SIGCONT');
    for (;;) {
      try {
        await log.append([entry('doubtful', { dedupe })]);
        break;
      } catch (error) {
        assert.ok(hasCode('log_unavailable')(error));
        await passed(50); // real time: another process goes on, and nothing of it can wake us
      }
    }
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.id),
      ['first', 'doubtful'],
    );
  });
});

describe('a message', { skip, timeout: 60_000 }, () => {
  test('with a megabyte of headers is refused by JetStream itself, though the server lets it in, and holds up nobody', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-nats-faults-'));
    t.after(() => rmSync(directory, { recursive: true, force: true }));
    const config = join(directory, 'nats.conf');
    writeFileSync(config, 'max_payload: 8388608');
    const large = await startNats({ cache: cacheDirectory(), directory }, ['-c', config]);
    t.after(() => large.stop());
    const own = ownStream();
    const log = await openFor(t, { servers: large.url, ...own });
    await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 60_000 });
    const { js } = await plainClient(t, large.url);
    const many = headers();
    for (let at = 0; at < 1_050; at++) many.set(`ce-x${at}`, 'y'.repeat(1_000));
    many.set('ce-specversion', '1.0');
    // The largest that can be stored are those of native.slow.test.ts.
    await assert.rejects(js.publish(`${own.subjectPrefix}.orders.created`, '{}', { headers: many }), /64k/);
    await log.append([entry('last')]);
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.id),
      ['last'],
    );
  });
});
