/** One event is made JSON once, whoever gets it and by whatever way. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LogRecord } from '../ports/log.ts';
import { turnsUntil } from '../http/test/door.ts';
import { createMessages } from './messages.ts';
import { realtime } from './test/client.ts';

const recordOf = (position: string, bytes = 10): LogRecord =>
  ({
    shard: 's',
    position,
    event: { id: position, source: '/s', type: 'a.b', extensions: {}, data: Buffer.from(JSON.stringify('x'.repeat(bytes))) },
  }) as unknown as LogRecord;

describe('messages', () => {
  test('are the same bytes for all subs of the same number, and end in the same event for all others', () => {
    const messages = createMessages();
    const record = recordOf('1');
    const one = messages.msg(1, record, 'c');
    assert.equal(messages.msg(1, record, 'c'), one);
    const other = messages.msg(2, record, 'c');
    assert.notEqual(other, one);
    const event = messages.event(record).bytes.toString();
    for (const { bytes } of [one, other, messages.msg(999, record, 'c')]) assert.ok(bytes.toString().endsWith(`${event}}`));
    assert.equal(JSON.parse(event).sequence, '1');
  });

  test('keep some events for those who are not in step, and never more than a bound', () => {
    const { counted, count } = counting();
    const messages = createMessages();
    const small = Array.from({ length: 64 }, (_, n) => counted(recordOf(String(n))));
    for (let round = 0; round < 3; round++) for (const record of small) messages.event(record);
    assert.equal(count(), 64);
    const large = Array.from({ length: 8 }, (_, n) => counted(recordOf(`l${n}`, 400_000)));
    for (let round = 0; round < 2; round++) for (const record of large) messages.event(record);
    assert.equal(count(), 64 + 16);
    // The newest two fit, and pushed out all before them.
    messages.event(large[6] as LogRecord);
    assert.equal(count(), 64 + 16);
    messages.event(small[63] as LogRecord);
    assert.equal(count(), 64 + 17);
  });

  test('of one event are made of one JSON, over sockets, streams and pulls', { timeout: 30_000 }, async (t) => {
    const door = await realtime(t);
    const { counted, count } = counting();
    const { feeds } = door.gateway;
    const really = feeds.open;
    t.mock.method(feeds, 'open', (...[wish, sink]: Parameters<typeof really>) =>
      really(wish, { ...sink, take: (record) => sink.take(counted(record)) }),
    );
    const clients = await Promise.all(Array.from({ length: 5 }, () => door.client()));
    for (const [at, client] of clients.entries()) {
      await client.hello();
      client.say({ op: 'sub', sub: at + 1, topics: ['orders.created'], credit: 9 });
      await client.next('subed');
    }
    const stream = await door.connect();
    stream.write(door.head('GET /v1/sse?topics=orders.created'));
    await stream.until(/\nid: /);
    const pulled = door.ask('POST /v1/pull', { json: [{ op: 'sub', topics: ['orders.*'], credit: 1, waitMs: 60_000 }] });
    await turnsUntil(() => feeds.size === 7);
    await door.publish('orders.created', { n: 1 });
    for (const client of clients) assert.deepEqual((await client.next('msg')).event.data, { n: 1 });
    await stream.until(/"n":1/);
    assert.deepEqual((await pulled).json[1].event.data, { n: 1 });
    assert.equal(count(), 1);
  });

  test('of a group are made of the same JSON as those of all others who get the event', { timeout: 30_000 }, async (t) => {
    const door = await realtime(t);
    const { counted, count } = counting();
    const { groups } = door.gateway;
    const really = groups.join;
    t.mock.method(groups, 'join', (...[environment, id, consumer]: Parameters<typeof really>) =>
      really(environment, id, { ...consumer, take: (handed) => consumer.take({ ...handed, record: counted(handed.record) }) }),
    );
    const clients = await Promise.all(['a', 'b', 'c'].map(() => door.client()));
    for (const [at, client] of clients.entries()) {
      await client.hello();
      client.say({ op: 'sub', sub: 1, group: `g${at}`, topics: ['orders.created'], credit: 9 });
      await client.next('subed');
    }
    for (let n = 0; n < 3; n++) await door.publish('orders.created', { n });
    for (const client of clients) for (let n = 0; n < 3; n++) assert.deepEqual((await client.next('msg')).event.data, { n });
    // Beside what is looked at of each to see whether the client may have it.
    assert.equal(count(), 3 + 9);
  });
});

/** Records that count how often their event is taken out: whoever makes JSON of it does so once. */
function counting() {
  let count = 0;
  const all = new WeakMap<LogRecord, LogRecord>();
  return {
    count: () => count,
    counted: (record: LogRecord): LogRecord =>
      all.getOrInsertComputed(
        record,
        () => new Proxy(record, { get: (target, name) => (name === 'event' && count++, Reflect.get(target, name)) }),
      ),
  };
}
