/** A gateway that is killed or stopped and comes back, under a client that listens and one that publishes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ready, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { connect, outbox, type ReceivedEvent, ws } from './millrace.ts';
import { collected } from './test/collected.ts';

const EVENTS = 60;
/** Killed, and asked to go. */
const ENDS: Readonly<Record<number, NodeJS.Signals>> = { 15: 'SIGKILL', 35: 'SIGTERM' };

describe('a gateway that goes and comes back', { timeout: 120_000 }, () => {
  test('loses nothing of what was published, and what was handled is not handled again', async (t) => {
    const data = temporary(t);
    const start = (port: string) => startProcess(t, ['dev', '--port', port, '--data', data, '--json', '--no-sample']);
    let running = start('0');
    const { address, key } = await ready(running);
    const { port } = new URL(address);
    const gateway = connect({ url: address, key, transports: [ws], hooks: { onGap: (gap) => assert.fail(JSON.stringify(gap)) } });
    t.after(() => gateway.close({ now: true }));
    const box = outbox(gateway, { maxEvents: EVENTS });
    const alone = collected<ReceivedEvent>();
    const inGroup = collected<ReceivedEvent>();
    await box.sendEvent({ type: 'orders.created', data: 'declares the topic' });
    await Promise.all([
      gateway.subscribe('orders.created', alone.add).ready,
      gateway.subscribe('orders.created', inGroup.add, { group: 'g', from: 'latest', concurrency: 4 }).ready,
    ]);
    const sent: Promise<unknown>[] = [];
    for (let n = 1; n <= EVENTS; n++) {
      sent.push(box.sendEvent({ type: 'orders.created', data: n }));
      if (n % 5 === 0) await Promise.race([sent.at(-1), running.ended]);
      const signal = ENDS[n];
      if (signal === undefined) continue;
      await alone.first(n);
      await inGroup.first(n - 4);
      running.child.kill(signal);
      await running.ended;
      running = start(port);
    }
    await Promise.all(sent);
    const numbers = ({ data: n }: ReceivedEvent): number => n as number;
    const all = Array.from({ length: EVENTS }, (_, at) => at + 1);
    assert.deepEqual((await alone.first(EVENTS)).map(numbers), all, 'in order, each once');
    await inGroup.first(EVENTS);
    // Its end confirms what is under way: had something come twice, it would be here by now.
    await gateway.close();
    assert.deepEqual(
      inGroup.all.map(numbers).toSorted((one, other) => one - other),
      all,
    );
    assert.deepEqual(alone.all.length, EVENTS);
  });
});
