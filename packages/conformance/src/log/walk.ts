/**
 * Reading a log to its end, page by page, against a model: the list of what was appended. Every page is held to every
 * sentence of the port about pages, whatever the behaviour at hand is about.
 */
import assert from 'node:assert/strict';
import type { Event } from '@millrace/core/event';
import { attributesOf } from '@millrace/core/event-bytes';
import { compileTopics } from '@millrace/core/topic';
import type { Log, LogRecord, Page, Position, ReadRequest } from '@millrace/gateway/ports/log';
import { BEFORE_ALL, MB } from './world.ts';
import type { Placed } from './world.ts';

export type Query = Partial<Omit<ReadRequest, 'shard'>>;

/** Reads `shard` from `after` to its end; every page in order. */
export async function walk(log: Log, shard: string, query: Query = {}): Promise<readonly Page[]> {
  const request = { shard, after: BEFORE_ALL, limit: 1_000, maxBytes: 16 * MB, ...query };
  const pages: Page[] = [];
  for (let after = request.after; ; after = pages.at(-1)!.through) {
    const page = await log.read({ ...request, after });
    pages.push(page);
    checkPage(page, { ...request, after });
    if (page.atEnd) return pages;
  }
}

/** Reads one shard to its end; all records. */
export async function readAll(log: Log, shard: string, query: Query = {}): Promise<readonly LogRecord[]> {
  return (await walk(log, shard, query)).flatMap((page) => page.records);
}

/** Every shard, read with `query`, holds exactly what of `appended` was asked for, and reports exactly what of it is `lost`. */
export async function holdsExactly(
  log: Log,
  appended: readonly Placed[],
  query: Query = {},
  lost: (each: Placed) => boolean = () => false,
): Promise<void> {
  const asked = appended.filter(askedFor(query));
  for (const shard of log.shards()) {
    let after = query.after ?? BEFORE_ALL;
    for (const page of await walk(log, shard, query)) {
      const within = asked.filter((each) => each.shard === shard && each.position > after && each.position <= page.through);
      const there = within.filter((each) => !lost(each));
      assert.deepEqual(
        page.records.map((record) => record.position),
        there.map((each) => each.position),
      );
      page.records.forEach((record, i) => sameAs(there[i]!, record));
      reportsLoss(page, within.filter(lost));
      after = page.through;
    }
    const end = asked.filter((each) => each.shard === shard).at(-1);
    assert.ok(end === undefined || end.position <= after, 'the last page reaches the end');
  }
}

/** The record is the entry, at its place, bytes and attributes alike. */
export function sameAs({ entry, shard, position, timeMs }: Placed, record: LogRecord): void {
  assert.equal(record.shard, shard);
  assert.equal(record.position, position);
  assert.equal(record.timeMs, timeMs);
  assert.equal(record.environment, entry.environment);
  assert.equal(record.app, entry.app);
  assert.equal(record.size, entry.bytes.length);
  sameEvent(record.event, entry.event);
}

export function sameEvent(actual: Event, expected: Event): void {
  assert.deepEqual({ ...attributesOf(actual) }, attributesOf(expected));
  assert.deepEqual({ ...actual.extensions }, expected.extensions);
  assert.equal(hex(actual.data), hex(expected.data));
}

function reportsLoss({ expired }: Page, lost: readonly Placed[]): void {
  const [first, last] = [lost[0], lost.at(-1)];
  assert.deepEqual(
    expired && { ...expired.last },
    last && { position: last.position, timeMs: last.timeMs },
    'the last record lost is reported',
  );
  assert.equal(expired?.count ?? lost.length, lost.length, 'the count, where it is known');
  assert.equal(expired?.firstTimeMs ?? first?.timeMs, first?.timeMs, 'the first time, where it is known');
}

function checkPage(page: Page, { shard, after, limit, maxBytes }: ReadRequest): void {
  const { records, through } = page;
  assert.ok(records.length <= limit, `at most ${limit} records`);
  assert.ok(records.length <= 1 || sizeOf(records) <= maxBytes, `at most ${maxBytes} bytes`);
  assert.ok(records.every((record) => record.shard === shard));
  ascend([after, ...records.map((record) => record.position)]);
  assert.ok((records.at(-1)?.position ?? after) <= through, 'through is at or after the last record');
  assert.ok(page.atEnd || through > after, 'a page that is not the last gets on');
  assert.ok(
    records.every((record, i) => i === 0 || records[i - 1]!.timeMs <= record.timeMs),
    'time never runs backwards',
  );
}

export function ascend(positions: readonly Position[]): void {
  positions.forEach((position, i) =>
    assert.ok(i === 0 || positions[i - 1]! < position, `${positions[i - 1]} before ${position}`),
  );
}

export function sizeOf(records: readonly LogRecord[]): number {
  return records.reduce((sum, record) => sum + record.size, 0);
}

function askedFor({ only, after = BEFORE_ALL }: Query): (each: Placed) => boolean {
  const matches = only === undefined ? () => true : compileTopics(only.topics);
  return ({ entry, position }) =>
    position > after && (only === undefined || only.environment === entry.environment) && matches(entry.event.type);
}

/** Not the same for an absent payload and an empty one. */
function hex(data: Uint8Array | undefined): string | undefined {
  return data && Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');
}
