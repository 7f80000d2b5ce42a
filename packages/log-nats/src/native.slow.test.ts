/** Plain NATS clients and Millrace on the same subjects. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { headers } from '@nats-io/transport-node';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { entry, follow, hasCode, openFor, ownStream, plainClient, readAll, readPages } from './testing.ts';

const { server, skip } = await findBroker('nats');
const servers = server?.url ?? '';
after(() => server?.remove());

const declared = { environment: 'default', topic: 'orders.created', retentionMs: 86_400_000 };

describe('a plain client', { skip, timeout: 60_000 }, () => {
  test('publishes JSON on a declared topic, and it is an event; the same twice is two', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic(declared);
    const { nc } = await plainClient(t, servers);
    for (let i = 0; i < 2; i++) nc.publish(`${own.subjectPrefix}.orders.created`, '{"amount":7}');
    const events = (await follow(log, 2)).map(({ app, event }) => ({ app, ...event, data: Buffer.from(event.data!).toString() }));
    assert.deepEqual(
      events.map(({ app, type, source, datacontenttype, data }) => ({ app, type, source, datacontenttype, data })),
      Array.from({ length: 2 }, () => ({
        app: `nats:${own.stream}`,
        type: 'orders.created',
        source: `nats://${own.stream}`,
        datacontenttype: 'application/json',
        data: '{"amount":7}',
      })),
    );
    assert.notEqual(events[0]!.id, events[1]!.id);
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.id),
      events.map(({ id }) => id),
      'and keeps its id',
    );
  });

  test('subscribes to a topic and gets bytes that always parse', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic(declared);
    const { nc } = await plainClient(t, servers);
    const subscription = nc.subscribe(`${own.subjectPrefix}.orders.created`, { max: 2 });
    await nc.flush();
    await log.append([entry('1', { data: '{"a":1}' }), entry('2')]);
    const got: unknown[] = [];
    for await (const message of subscription)
      got.push([JSON.parse(message.string()), message.headers?.get('ce-id'), message.headers?.get('ce-type')]);
    assert.deepEqual(got, [
      [{ a: 1 }, '1', 'orders.created'],
      [null, '2', 'orders.created'],
    ]);
  });

  test('that sends what is no JSON, no UTF-8, too much, or 60 KB of headers holds up nobody, and what is no event is rejected', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic(declared);
    const { js } = await plainClient(t, servers);
    const subject = `${own.subjectPrefix}.orders.created`;
    const large = headers();
    for (let i = 0; i < 60; i++) large.set(`ce-x${i}`, 'y'.repeat(1_000));
    large.set('ce-specversion', '1.0');
    await js.publish(subject, Uint8Array.of(0xff, 0, 0xfe));
    await js.publish(subject, 'x', { headers: large });
    await js.publish(subject, 'x'.repeat(900_000));
    await js.publish(subject, '');
    await log.append([entry('last')]);
    for (const records of [
      await readAll(log),
      await Promise.all((await readAll(log)).map(({ position }) => log.fetch(own.stream, position))),
    ])
      assert.deepEqual(
        records.map((record) => [record!.event.data?.length, record!.event.datacontenttype, record!.rejected?.code]),
        [
          [3, 'application/octet-stream', undefined],
          [1, 'application/octet-stream', 'payload_too_large'],
          [900_000, 'application/octet-stream', 'payload_too_large'],
          [undefined, undefined, undefined],
          [undefined, undefined, undefined],
        ],
      );
    assert.equal((await readAll(log)).at(-1)!.event.id, 'last');
  });

  test('whose message id is one of a dedupe key does not shadow it: the event is told from the key’s own', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic(declared);
    const dedupe = { key: 'k', digest: 'd', windowMs: 60_000 };
    const { js, jsm } = await plainClient(t, servers);
    const [first] = await log.append([entry('1', { dedupe })]);
    assert.equal(first!.status, 'appended');
    const stored = await jsm.streams.getMessage(own.stream, { seq: 1 });
    const again = await js.publish(`${own.subjectPrefix}.orders.created`, 'x', { msgID: stored!.header.get('Nats-Msg-Id') });
    assert.equal(again.duplicate, true);
    await js.publish(`${own.subjectPrefix}.orders.created`, 'x', { msgID: 'theirs' });
    assert.deepEqual(
      (await log.append([entry('2', { dedupe })])).map(({ status }) => status),
      ['duplicate'],
    );
    assert.equal((await readAll(log)).length, 2);
  });

  test('on the subjects of another environment publishes there', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic({ ...declared, environment: 'staging' });
    const { js } = await plainClient(t, servers);
    await js.publish(`${own.subjectPrefix}.@staging.orders.created`, '1');
    await follow(log, 1);
    const [record] = await readAll(log, { only: { environment: 'staging', topics: ['orders.*'] } });
    assert.deepEqual([record?.environment, record?.event.type], ['staging', 'orders.created']);
  });

  test('publishes on adopted subjects without any being declared, also on those that are no topics', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, adopt: [`${own.subjectPrefix}.sensors.>`] });
    const { js } = await plainClient(t, servers);
    await js.publish(`${own.subjectPrefix}.sensors.hall.1`, '20.5');
    await js.publish(`${own.subjectPrefix}.sensors.hall/2`, '20.6');
    await log.append([entry('1', { topic: 'sensors.hall.3' })]);
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.type),
      ['sensors.hall.1', '_unnamed', 'sensors.hall.3'],
    );
  });
});

describe('what is taken from the stream by others', { skip, timeout: 60_000 }, () => {
  test('by a purge, is told as lost, and positions go on', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, tailBytes: 0 });
    await log.append(Array.from({ length: 10 }, (_, i) => entry(`${i}`)));
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.purge(own.stream);
    const [empty] = await readPages(log);
    assert.deepEqual(
      [empty!.records.length, empty!.through, empty!.expired?.last.position, empty!.atEnd],
      [0, '0000000000000010', '0000000000000010', true],
    );
    assert.deepEqual(await log.bounds(own.stream), { end: '0000000000000010' });
    const [next] = await log.append([entry('next')]);
    assert.equal(next!.status === 'appended' && next!.position, '0000000000000011');
    const [page] = await readPages(log, { after: '0000000000000004' });
    assert.deepEqual([page!.records.map(({ event }) => event.id), page!.expired?.last.position], [['next'], '0000000000000010']);
    assert.equal((await readPages(log, { after: '0000000000000010' }))[0]!.expired, undefined);
  });

  test('is told also to who reads some topics, and to who reads from memory', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.append(Array.from({ length: 10 }, (_, i) => entry(`${i}`, { topic: i % 2 === 0 ? 'even' : 'odd' })));
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.purge(own.stream, { seq: 6 });
    await jsm.streams.deleteMessage(own.stream, 8);
    await log.trim();
    const seen = async (only?: { environment: string; topics: string[] }) => {
      const pages = await readPages(log, only && { only });
      return [
        pages.flatMap(({ records }) => records.map(({ event }) => event.id)),
        pages.flatMap(({ expired }) => (expired === undefined ? [] : [Number(expired.last.position)])),
      ];
    };
    assert.deepEqual(await seen(), [['5', '6', '8', '9'], [8]]);
    assert.deepEqual(await seen({ environment: 'default', topics: ['even'] }), [['6', '8'], [5]]);
    await log.append([entry('10')]);
    assert.equal((await readAll(log, { after: '0000000000000010' })).length, 1);
  });
});

describe('a full stream', { skip, timeout: 60_000 }, () => {
  test('refuses appends as log_full, drops nothing, and takes them again when there is room', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, maxMessages: 5 });
    await log.append(Array.from({ length: 5 }, (_, i) => entry(`${i}`)));
    await assert.rejects(log.append([entry('6')]), hasCode('log_full'));
    assert.equal((await readAll(log)).length, 5);
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.purge(own.stream);
    assert.equal((await log.append([entry('7')]))[0]!.status, 'appended');
  });

  test('by bytes refuses them, too', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, maxBytes: 100_000 });
    const large = () => log.append([entry('1', { data: JSON.stringify('x'.repeat(40_000)) })]);
    await large();
    await large();
    await assert.rejects(large(), hasCode('log_full'));
    assert.equal((await log.append([entry('small')]))[0]!.status, 'appended');
  });

  test('a message larger than the stream takes is refused as too large', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const tooLarge = entry('1', { data: JSON.stringify('x'.repeat(1_100_000)) });
    await assert.rejects(log.append([tooLarge]), hasCode('payload_too_large'));
    assert.equal((await log.append([entry('2')]))[0]!.status, 'appended');
  });
});
