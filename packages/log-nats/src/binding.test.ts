import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Entry, LogRecord } from '@millrace/gateway/ports/log';
import { bodyOf, headersOf, marksOf, recordOf } from './binding.ts';
import { readHeaders, readStatus, writeHeaders } from './headers.ts';
import { readPlain } from './plain.ts';
import { createSubjects, UNNAMED } from './subjects.ts';

const where = { stream: 'MILLRACE', identity: 'nats:MILLRACE:1', named: createSubjects('').named };
const utf8 = (text: string) => new TextEncoder().encode(text);
const timeMs = Date.UTC(2026, 10, 2, 12);

/** A message as a native client sends it. */
function native(body: string | Uint8Array, headers?: Record<string, string>, subject = 'orders.created'): LogRecord {
  const lines = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const block = headers && utf8(`NATS/1.0\r\n${lines.join('')}\r\n`);
  return recordOf({ sequence: 7, timeMs, subject, headers: block, body: typeof body === 'string' ? utf8(body) : body }, where);
}

function roundTrip(event: Event, app = 'shop') {
  const entry = {
    environment: 'default',
    app,
    event,
    bytes: encodeEvent(event),
    dedupe: { key: 'k', digest: 'di gest', windowMs: 1 },
  };
  const headers = headersOf(entry, 'append-1', 'id-1');
  const stored = { sequence: 7, timeMs, subject: event.type, headers, body: bodyOf(event) };
  return { entry, headers, stored, record: recordOf(stored, where) };
}

const event: Event = {
  id: 'evt_1',
  source: '/shop',
  type: 'orders.created',
  time: '2026-11-02T12:00:00.5Z',
  datacontenttype: 'application/json',
  subject: 'order/42',
  dataschema: 'https://shop.example/schema',
  extensions: { partitionkey: 'k1', audience: 'crm' },
  data: utf8('{"a":1}'),
};

describe('an event of ours', () => {
  test('is its data as the body, its attributes as the headers of the CloudEvents binding', () => {
    const { headers, stored } = roundTrip(event);
    assert.equal(new TextDecoder().decode(stored.body), '{"a":1}');
    assert.deepEqual(Object.fromEntries(readHeaders(headers)), {
      'Nats-Msg-Id': 'id-1',
      'ce-specversion': '1.0',
      'ce-id': 'evt_1',
      'ce-source': '/shop',
      'ce-type': 'orders.created',
      'ce-subject': 'order/42',
      'ce-time': '2026-11-02T12:00:00.5Z',
      'ce-datacontenttype': 'application/json',
      'ce-dataschema': 'https://shop.example/schema',
      'ce-partitionkey': 'k1',
      'ce-audience': 'crm',
      'millrace-app': 'shop',
      'millrace-append': 'append-1',
      'millrace-digest': 'di%20gest',
    });
    assert.deepEqual(marksOf(stored), { digest: 'di gest', append: 'append-1' });
  });

  test('has the key under which it was used anew, and none where it has no digest or no app', () => {
    const entry = { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
    const read = (dedupe: Entry['dedupe'], id: string, more = '') => {
      const headers = headersOf({ ...entry, ...(dedupe && { dedupe }) }, 'append-1', id);
      return recordOf({ sequence: 7, timeMs, subject: event.type, headers: withLine(headers, more), body: bodyOf(event) }, where);
    };
    const dedupe = { key: 'k', digest: 'd', windowMs: 1 };
    for (const more of ['', 'x: y\r\n']) {
      assert.deepEqual(read(dedupe, 'id@5@9', more).keyed, { key: 'id', digest: 'd' });
      assert.equal(read(undefined, 'id', more).keyed, undefined);
    }
    const fields = { 'Nats-Msg-Id': 'id', 'millrace-digest': 'd', 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s' };
    assert.equal(native('1', { ...fields, 'ce-type': 'orders.created' }).keyed, undefined);
  });

  test('is read the same by the short way and the long one', () => {
    const { time: _, ...untimed } = event;
    const { data: __, ...empty } = event;
    for (const one of [event, untimed, empty, { ...event, data: new Uint8Array() }, { ...event, extensions: {} }]) {
      const { entry, record, headers, stored } = roundTrip(one);
      assert.ok(readPlain(headers, stored.body, one.type, 16_384) !== undefined);
      // A header the short way does not know leaves it to the long one.
      const long = recordOf({ ...stored, headers: withLine(headers, 'x: y\r\n') }, where);
      assert.deepEqual({ ...record.event }, { ...long.event });
      assert.deepEqual({ ...record.event }, one);
      assert.deepEqual([record.app, record.size, long.app, long.size], ['shop', entry.bytes.length, 'shop', entry.bytes.length]);
      for (const { keyed } of [record, long]) assert.deepEqual(keyed, { key: 'id-1', digest: 'di gest' });
    }
  });

  test('keeps what ASCII and strings can not hold', () => {
    const one: Event = {
      ...event,
      id: ' "Straße" 100% \\ 😀 ',
      datacontenttype: 'application/json; charset=utf-8',
      time: '2024-02-29T23:59:60+01:00',
      extensions: { n: -7, yes: true, no: false, empty: '', constructor: 'x' },
    };
    const { entry, record } = roundTrip(one, 'Ünï:😀');
    assert.deepEqual({ ...record.event }, one);
    assert.deepEqual([record.app, record.size], ['Ünï:😀', entry.bytes.length]);
  });

  test('without data is null where it is JSON, so that whoever subscribes can parse every body', () => {
    const { data: _, ...empty } = event;
    assert.equal(new TextDecoder().decode(bodyOf(empty)), 'null');
    assert.equal(bodyOf({ ...empty, datacontenttype: 'text/plain' }).length, 0);
    assert.equal('data' in roundTrip(empty).record.event, false);
    assert.equal('data' in roundTrip({ ...empty, datacontenttype: 'text/plain' }).record.event, false);
  });
});

describe('a message of a native client', () => {
  test('without headers gets an envelope: topic, broker time, and an id of log and place', () => {
    const record = native('{"a":1}');
    assert.deepEqual(
      { ...record, event: { ...record.event, data: undefined } },
      {
        shard: 'MILLRACE',
        position: '0000000000000007',
        timeMs,
        environment: 'default',
        app: 'nats:MILLRACE',
        size: encodeEvent(record.event).length,
        event: {
          id: 'nats:MILLRACE:1:0000000000000007',
          source: 'nats://MILLRACE',
          type: 'orders.created',
          time: '2026-11-02T12:00:00.000Z',
          datacontenttype: 'application/json',
          extensions: {},
          data: undefined,
        },
      },
    );
  });

  test('is JSON where its bytes are, and bytes where they are not', () => {
    const typeOf = (body: string | Uint8Array) => native(body).event.datacontenttype;
    assert.deepEqual(['{"a":1}', '7', '"x"', 'null'].map(typeOf), Array(4).fill('application/json'));
    assert.deepEqual(['{a:1}', 'hello', '{"a":1'].map(typeOf), Array(3).fill('application/octet-stream'));
    assert.equal(typeOf(Uint8Array.of(0x22, 0xff, 0x22)), 'application/octet-stream');
    assert.equal('data' in native('').event, false);
  });

  test('with CloudEvents headers is that event, under the topic of its subject', () => {
    const { app, event } = native('{"a":1}', {
      'ce-specversion': '1.0',
      'ce-id': 'a%20b',
      'ce-source': '/native',
      'ce-type': 'com.example.Order',
      'CE-PartitionKey': 'k',
      'content-type': 'ignored',
    });
    assert.deepEqual(
      { ...event, data: undefined },
      {
        id: 'a b',
        source: '/native',
        type: 'orders.created',
        extensions: { partitionkey: 'k', nativetype: 'com.example.Order' },
        data: undefined,
      },
    );
    assert.equal(app, 'nats:MILLRACE');
  });

  test('in structured mode is the event its body holds', () => {
    const body = '{"specversion":"1.0","id":"1","source":"/s","type":"orders.created","data":{"a":1}}';
    const { event } = native(body, { 'Content-Type': 'application/cloudevents+json; charset=utf-8' });
    assert.deepEqual([event.id, event.source, new TextDecoder().decode(event.data)], ['1', '/s', '{"a":1}']);
  });

  test('whose headers say too little gets the rest from where it stands', () => {
    const { event } = native('{"a":1}', { 'ce-specversion': '1.0', 'ce-partitionkey': 'k' });
    assert.deepEqual([event.id, event.source], ['nats:MILLRACE:1:0000000000000007', 'nats://MILLRACE']);
    assert.deepEqual({ ...event.extensions }, { partitionkey: 'k' });
  });

  test('that claims to be JSON by saying nothing is bytes where it is none', () => {
    const { event } = native('no json', { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s' });
    assert.equal(event.datacontenttype, 'application/octet-stream');
  });

  test('that can be no event is rejected, with the reason, and in an envelope of its bytes', () => {
    const id = { 'ce-id': '1', 'ce-source': '/s', 'ce-type': 'orders.created' };
    const good = { 'ce-specversion': '1.0', ...id };
    const broken: [Record<string, string>, string, RegExp][] = [
      [id, 'invalid_event', /no ce-specversion/],
      [{ ...good, 'ce-specversion': '0.3' }, 'invalid_event', /"0\.3"/],
      [{ ...good, 'ce-id': '%zz' }, 'invalid_event', /ce-id holds a %/],
      [{ ...good, 'ce-id': '%ff' }, 'invalid_event', /no UTF-8/],
      [{ ...good, 'ce-id': '' }, 'invalid_event', /id/],
      [{ ...good, 'ce-time': 'yesterday' }, 'invalid_event', /RFC 3339/],
      [{ ...good, 'ce-data': 'x' }, 'invalid_event', /data/],
      [{ ...good, 'ce-an_other': 'x' }, 'invalid_event', /an_other/],
      [{ ...good, 'CE-id': '2' }, 'invalid_event', /ce-id is there twice/],
      [{ ...good, 'ce-n': '1.5', 'millrace-app': 'shop', 'millrace-types': 'n=i' }, 'invalid_event', /integer/],
      [{ ...good, 'ce-long': 'x'.repeat(16_384) }, 'payload_too_large', /attributes/],
      [{ 'Content-Type': 'application/cloudevents+json' }, 'invalid_event', /specversion/],
    ];
    for (const [headers, code, detail] of broken) {
      const { event, app, rejected } = native('{"a":1}', headers);
      assert.equal(rejected?.code, code, JSON.stringify(headers));
      assert.match(rejected?.detail ?? '', detail);
      assert.deepEqual({ ...event.extensions }, {});
      assert.deepEqual(
        [app, event.id, new TextDecoder().decode(event.data)],
        ['nats:MILLRACE', 'nats:MILLRACE:1:0000000000000007', '{"a":1}'],
      );
    }
  });

  test('that says it is JSON and is none is rejected; of any other type its bytes are its own affair', () => {
    const of = (datacontenttype: string, body: string | Uint8Array) =>
      native(body, { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-datacontenttype': datacontenttype }).rejected
        ?.code;
    assert.equal(of('application/json', '{"a":'), 'invalid_json');
    assert.equal(of('application/vnd.shop+json', Uint8Array.of(0x22, 0xff, 0x22)), 'invalid_json');
    assert.deepEqual(
      [
        of('application/json', '{"a":1}'),
        of('application/json', ''),
        of('application/avro', Uint8Array.of(0xff, 0)),
        of('text/plain', '{'),
      ],
      Array(4).fill(undefined),
    );
    assert.equal(native(Uint8Array.of(0xff, 0, 0xfe)).rejected, undefined);
  });

  test('that is larger than any event is rejected, in whatever form, and whoever it says it is of', () => {
    const large = JSON.stringify('x'.repeat(524_287));
    const full = JSON.stringify('x'.repeat(524_286));
    const own = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 'orders.created', 'millrace-app': 'shop' };
    const structured = (data: string) => `{"specversion":"1.0","id":"1","source":"/s","type":"orders.created","data":${data}}`;
    const type = { 'Content-Type': 'application/cloudevents+json' };
    const codes = [native(large), native(large, own), native(structured(large), type)].map(({ rejected }) => rejected?.code);
    assert.deepEqual(codes, Array(3).fill('payload_too_large'));
    const taken = [native(full), native(full, own), native(structured(full), type)].map(({ rejected }) => rejected);
    assert.deepEqual(taken, Array(3).fill(undefined));
  });

  test('with a header block of nonsense is delivered all the same', () => {
    const blocks = [
      'NATS/1.0',
      'NATS/1.0\r\n',
      'NATS/1.0\r\n\r\n',
      'NATS/1.0\r\n: x\r\nno colon\r\nce-\r\n\r\n',
      'NATS/1.0\r\nce-: x\r\n\r\n',
    ];
    for (const block of blocks) {
      const record = recordOf({ sequence: 7, timeMs, subject: 'a', headers: utf8(block), body: utf8('1') }, where);
      assert.equal(record.event.id, 'nats:MILLRACE:1:0000000000000007', block);
    }
  });

  test('with tens of thousands of headers costs no more than reading them', () => {
    const block = utf8(`NATS/1.0\r\n${'a:\r\n'.repeat(16_000)}\r\n`);
    assert.equal(Array.from(readHeaders(block)).length, 16_000);
    assert.equal(recordOf({ sequence: 7, timeMs, subject: 'a', headers: block, body: utf8('1') }, where).event.type, 'a');
  });

  test('on a subject that is no topic has no topic, and its subject in the source', () => {
    const { event } = native('1', undefined, 'orders/created now');
    assert.deepEqual([event.type, event.source], [UNNAMED, 'nats://MILLRACE/orders%2Fcreated%20now']);
    assert.deepEqual({ ...event.extensions }, { millracefault: 'subject' });
  });
});

describe('a status', () => {
  test('is read from the first line of a header block', () => {
    assert.deepEqual(readStatus(utf8('NATS/1.0 404 No Messages\r\n\r\n')), { code: 404, text: 'no messages' });
    assert.deepEqual(readStatus(utf8('NATS/1.0 100 Idle Heartbeat\r\na: b\r\n\r\n')), { code: 100, text: 'idle heartbeat' });
    assert.deepEqual(
      [readStatus(utf8('NATS/1.0\r\na: 404\r\n\r\n')), readStatus(undefined)],
      [
        { code: 0, text: '' },
        { code: 0, text: '' },
      ],
    );
  });
});

/** A header the short way does not know leaves a message to the long one. */
function withLine(headers: Uint8Array, line: string): Uint8Array {
  return writeHeaders(`${textOf(headers)}${line}`);
}

function textOf(block: Uint8Array): string {
  return new TextDecoder().decode(block).slice('NATS/1.0\r\n'.length, -2);
}
