import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CloudEvent, HTTP } from 'cloudevents';
import { type Named, pick, randomJson, refusal, seeded, vectors } from '../test/vectors.ts';
import { decodeHttp, encodeBatch, encodeBinary, encodeStructured, STRUCTURED_TYPE, BATCH_TYPE } from './cloud-events-http.ts';
import type { EventDraft } from './draft.ts';
import type { Event } from './event.ts';
import { Problem, type ProblemCode } from './problem.ts';

interface Bytes {
  body?: string;
  bodyBase64?: string;
}
type Payload = Omit<EventDraft, 'data'> & { dataText?: string; dataBase64?: string };
type Item = Payload | { problem: ProblemCode; pointer?: string };
const cases = vectors<{
  decode: (Named &
    Bytes & { headers: Record<string, string>; problem?: ProblemCode; pointer?: string; batch?: boolean; events?: Item[] })[];
  encode: (Named & {
    event: Payload & { id: string; source: string };
    binary: Bytes & { headers: Record<string, string> };
    structured: string;
  })[];
}>('cloudevents');
const bytesOf = ({ body, bodyBase64 }: Bytes) =>
  bodyBase64 === undefined ? Buffer.from(body ?? '') : Buffer.from(bodyBase64, 'base64');

/** A draft or Problem in the words of the vectors. */
function described(event: EventDraft | Problem, like: Item | undefined): unknown {
  if (event instanceof Problem) return { problem: event.code, pointer: event.pointer };
  const { data, ...attributes } = event;
  if (data === undefined) return attributes;
  const bytes = Buffer.from(data);
  return {
    ...attributes,
    ...(like !== undefined && 'dataBase64' in like ? { dataBase64: bytes.toString('base64') } : { dataText: bytes.toString() }),
  };
}

function eventOf({ dataText, dataBase64, ...attributes }: Payload & { id: string; source: string }): Event {
  const data =
    dataBase64 !== undefined ? Buffer.from(dataBase64, 'base64') : dataText !== undefined ? Buffer.from(dataText) : undefined;
  return {
    ...attributes,
    extensions: attributes.extensions ?? {},
    ...(data === undefined ? {} : { data: new Uint8Array(data) }),
  };
}

/** The one event of a message, filled in as a gateway would. */
function decodeOne(headers: Record<string, string>, body: Uint8Array): Event {
  const { batch, events } = decodeHttp({ headers: Object.entries(headers), body });
  assert.ok(!batch && events.length === 1);
  const draft = events[0] as EventDraft;
  return { ...draft, id: draft.id ?? '', source: draft.source ?? '', extensions: draft.extensions ?? {} };
}

for (const { name, headers, problem, pointer, batch, events, ...content } of cases.decode) {
  test(`decoding ${name}`, () => {
    const decode = () => decodeHttp({ headers: Object.entries(headers), body: bytesOf(content) });
    if (problem !== undefined) return void refusal(decode, problem, pointer);
    const decoded = decode();
    assert.equal(decoded.batch, batch);
    assert.deepEqual(
      decoded.events.map((event, at) => described(event, events?.[at])),
      events,
    );
  });
}

for (const { name, event, binary, structured } of cases.encode) {
  test(`encoding an event with ${name}`, () => {
    const encoded = encodeBinary(eventOf(event));
    assert.deepEqual(encoded.headers, binary.headers);
    assert.deepEqual(Buffer.from(encoded.body), bytesOf(binary));
    assert.equal(Buffer.from(encodeStructured(eventOf(event))).toString(), structured);
    const inBatch = Buffer.from(encodeBatch([eventOf(event), eventOf(event)])).toString();
    assert.equal(inBatch, `[${structured},${structured}]`);
  });
}

test('what is encoded decodes to the same event in all three modes', () => {
  for (const { event } of cases.encode) {
    const sent = eventOf(event);
    assert.deepEqual(decodeOne({ 'content-type': STRUCTURED_TYPE }, encodeStructured(sent)), sent);
    const batch = decodeHttp({ headers: [['content-type', BATCH_TYPE]], body: encodeBatch([sent, sent]) });
    assert.ok(batch.batch && batch.events.length === 2);
    for (const one of batch.events) assert.deepEqual({ extensions: {}, ...(one as EventDraft) }, sent);
    const binary = encodeBinary(sent);
    const headers = new Headers(binary.headers);
    const back = decodeHttp({ headers, body: binary.body }).events[0] as EventDraft;
    // Headers carry strings only, and name the content type that was silent.
    const extensions = Object.fromEntries(Object.entries(sent.extensions).map(([name, value]) => [name, String(value)]));
    const silent = sent.data !== undefined && sent.datacontenttype === undefined;
    assert.deepEqual(
      { extensions: {}, ...back },
      { ...sent, extensions, ...(silent ? { datacontenttype: 'application/json' } : {}) },
    );
  }
});

/** What the CloudEvents SDK read, without its getters and methods. */
function plain(event: CloudEvent<unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(event.toJSON())) as Record<string, unknown>;
}

test('the CloudEvents SDK reads what we emit, in all three modes', () => {
  const event: Event = {
    id: '1',
    source: '/shop',
    type: 'orders.created',
    subject: 'größe',
    time: '2026-11-23T17:20:00.000Z',
    datacontenttype: 'application/json',
    extensions: { partitionkey: 'k', n: 5 },
    data: Buffer.from('{"a": [1, 2]}'),
  };
  const check = (read: Record<string, unknown>) => {
    assert.deepEqual(
      {
        id: read['id'],
        source: read['source'],
        type: read['type'],
        time: read['time'],
        partitionkey: read['partitionkey'],
        n: Number(read['n']),
        data: read['data'],
      },
      {
        id: '1',
        source: '/shop',
        type: 'orders.created',
        time: '2026-11-23T17:20:00.000Z',
        partitionkey: 'k',
        n: 5,
        data: { a: [1, 2] },
      },
    );
  };
  const structured = Buffer.from(encodeStructured(event)).toString();
  const one = HTTP.toEvent({ headers: { 'content-type': STRUCTURED_TYPE }, body: structured }) as CloudEvent<unknown>;
  check(plain(one));
  assert.equal(one.subject, 'größe');
  const batch = Buffer.from(encodeBatch([event, event])).toString();
  const many = HTTP.toEvent({ headers: { 'content-type': BATCH_TYPE }, body: batch }) as CloudEvent<unknown>[];
  assert.equal(many.length, 2);
  for (const read of many) check(plain(read));
  const { headers, body } = encodeBinary(event);
  check(plain(HTTP.toEvent({ headers, body: Buffer.from(body).toString() }) as CloudEvent<unknown>));
});

test('the CloudEvents SDK reads the bytes of a binary payload in structured mode', () => {
  const event: Event = {
    id: '1',
    source: '/s',
    type: 't',
    datacontenttype: 'application/octet-stream',
    extensions: {},
    data: Uint8Array.of(0, 255, 128),
  };
  const read = HTTP.toEvent({
    headers: { 'content-type': STRUCTURED_TYPE },
    body: Buffer.from(encodeStructured(event)).toString(),
  }) as CloudEvent<unknown>;
  assert.equal(read.data_base64, 'AP+A');
});

test('we read what the CloudEvents SDK emits, in all three modes', () => {
  const sdk = new CloudEvent({
    id: '1',
    source: '/shop',
    type: 'orders.created',
    subject: 's',
    time: '2026-11-23T17:20:00.000Z',
    partitionkey: 'k',
    data: { a: [1, 2] },
  });
  const check = (draft: EventDraft) => {
    const { data, ...attributes } = draft;
    assert.deepEqual(JSON.parse(Buffer.from(data ?? []).toString()), { a: [1, 2] });
    const { datacontenttype, ...rest } = attributes;
    assert.match(datacontenttype ?? 'application/json', /^application\/json/);
    assert.deepEqual(rest, {
      id: '1',
      source: '/shop',
      type: 'orders.created',
      subject: 's',
      time: '2026-11-23T17:20:00.000Z',
      extensions: { partitionkey: 'k' },
    });
  };
  const read = (message: { headers: Record<string, unknown>; body: unknown }) => {
    const headers = Object.entries(message.headers).map(([name, value]) => [name, String(value)] as const);
    return decodeHttp({ headers, body: Buffer.from(String(message.body)) });
  };
  for (const message of [HTTP.structured(sdk), HTTP.binary(sdk)]) {
    const { batch, events } = read(message);
    assert.ok(!batch);
    check(events[0] as EventDraft);
  }
  // The SDK has no encoder for batches; the format is a list of its structured events.
  const body = `[${[sdk, sdk].map((one) => String(HTTP.structured(one).body)).join(',')}]`;
  const { batch, events } = read({ headers: { 'content-type': BATCH_TYPE }, body });
  assert.ok(batch && events.length === 2);
  for (const one of events) check(one as EventDraft);
});

test('random payloads come out of an envelope byte for byte, wherever they stand', () => {
  const random = seeded(99);
  for (let round = 0; round < 5000; round += 1) {
    const space = pick(random, ['', ' ', '\n\t']);
    const payload = JSON.stringify(randomJson(random, 4), null, pick(random, [0, 1, '\t']));
    const members = [
      '"specversion":"1.0"',
      '"type":"t"',
      `"data"${space}:${space}${payload}`,
      `"subject":${JSON.stringify(pick(random, ['a', '"data":1', '}', '\\']))}`,
    ];
    members.sort(() => random() - 0.5);
    const body = Buffer.from(`${space}{${space}${members.join(`${space},${space}`)}${space}}${space}`);
    assert.equal(
      Buffer.from(decodeOne({ 'content-type': STRUCTURED_TYPE }, body).data ?? []).toString(),
      Buffer.from(payload).toString(),
    );
    const list = Buffer.concat([Buffer.from('['), body, Buffer.from(','), body, Buffer.from(']')]);
    for (const one of decodeHttp({ headers: [['content-type', BATCH_TYPE]], body: list }).events) {
      assert.equal(Buffer.from((one as EventDraft).data ?? []).toString(), Buffer.from(payload).toString());
    }
  }
});

test('random damage to a body is decoded or refused as a Problem, nothing else', () => {
  const random = seeded(4);
  const body = Buffer.from(
    '[{"specversion":"1.0","type":"t","time":"2026-11-23T17:20:00Z","data":{"a":["\\u00e9",1e5,{}]},"ext":1},{"type":"u","data_base64":"AAAA"}]',
  );
  for (let round = 0; round < 20_000; round += 1) {
    const damaged = Buffer.from(body.subarray(0, random() < 0.3 ? Math.floor(random() * body.length) : body.length));
    for (let hits = 0; hits < 1 + random() * 3; hits += 1)
      damaged[Math.floor(random() * damaged.length)] = pick(random, [...Buffer.from('"{}[]:,\\ 0ae-'), 0, 0xff, 0xc3]);
    const contentType = pick(random, [BATCH_TYPE, STRUCTURED_TYPE, 'application/json']);
    try {
      decodeHttp({ headers: [['content-type', contentType]], body: damaged });
    } catch (error) {
      assert.ok(error instanceof Problem, String(error));
    }
  }
});

test('a depth bomb is refused, quickly, in every mode that parses', () => {
  const startedMs = performance.now();
  for (const contentType of [STRUCTURED_TYPE, BATCH_TYPE, 'application/json']) {
    for (const bomb of [
      '['.repeat(1_000_000),
      '{"a":'.repeat(1_000_000),
      `{"type":"t","data":${'['.repeat(129)}${']'.repeat(129)}}`,
    ]) {
      refusal(() => decodeHttp({ headers: [['content-type', contentType]], body: Buffer.from(bomb) }), 'invalid_json');
    }
  }
  assert.ok(performance.now() - startedMs < 2000);
  const deepest = `{"type":"t","data":${'['.repeat(127)}${']'.repeat(127)}}`;
  assert.equal(decodeHttp({ headers: [['content-type', 'application/json']], body: Buffer.from(deepest) }).events.length, 1);
});

test('brackets inside strings are no depth', () => {
  const body = Buffer.from(`{"type":"t","data":"${'['.repeat(500)}\\"{"}`);
  assert.equal(decodeHttp({ headers: [['content-type', 'application/json']], body }).events.length, 1);
});

test('a batch has at most so many events', () => {
  const body = (count: number) => Buffer.from(`[${Array<string>(count).fill('{"type":"t"}').join(',')}]`);
  const headers: [string, string][] = [['content-type', 'application/json']];
  assert.equal(decodeHttp({ headers, body: body(1000) }).events.length, 1000);
  refusal(() => decodeHttp({ headers, body: body(1001) }), 'payload_too_large');
  refusal(() => decodeHttp({ headers, body: body(4) }, 3), 'payload_too_large');
});

test('a binary header that comes twice is refused', () => {
  const headers: [string, string][] = [
    ['ce-specversion', '1.0'],
    ['ce-type', 'a'],
    ['Ce-Type', 'b'],
  ];
  refusal(() => decodeHttp({ headers, body: new Uint8Array() }), 'invalid_event', '/headers/ce-type');
});

test('random attributes survive binary mode', () => {
  const random = seeded(12);
  const letters = ['a', ' ', '"', '%', '\\', 'é', '😀', '~', '!', '\u{10fffd}', '%41', ','];
  for (let round = 0; round < 3000; round += 1) {
    const subject = Array.from({ length: 1 + Math.floor(random() * 6) }, () => pick(random, letters)).join('');
    const { headers, body } = encodeBinary({ id: '1', source: '/', type: 't', subject, extensions: {} });
    assert.match(headers['ce-subject'] ?? '', /^[!-~]+$/);
    assert.equal(decodeOne(headers, body).subject, subject);
  }
});

test("a native producer's content type that is no header value does not reach the wire", () => {
  const event: Event = {
    id: '1',
    source: '/',
    type: 't',
    datacontenttype: 'text/plain\r\nx-evil: 1',
    extensions: { a: 'b\r\nc\ud800' },
    data: new Uint8Array(),
  };
  const { headers } = encodeBinary(event);
  for (const value of Object.values(headers)) assert.match(value, /^[ -~]*$/);
});
