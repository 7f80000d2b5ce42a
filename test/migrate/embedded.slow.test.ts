/** From one embedded log to another, with ledgers on SQLite: what the drivers on disk say of gaps, of expired events and of positions. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { openEmbedded } from '@millrace/embedded';
import { cursorAt, idHashOf } from '@millrace/gateway/lanes/cursor';
import { deadLetterId } from '@millrace/gateway/lanes/rows';
import { migrateLog } from '@millrace/gateway/migrate/migrate-log';
import type { Subscription } from '@millrace/gateway/ports/directory';
import type { AttemptRow, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { Entry, Log } from '@millrace/gateway/ports/log';
import { temporary } from '../../packages/gateway/test/process.ts';

const START_MS = Date.UTC(2026, 10, 2, 12);
const HOUR_MS = 3_600_000;
const UID = 'a'.repeat(26);
const LANE = `${UID}.p0`;
const SHARD = '0';

function entry(id: string, topic: string): Entry {
  const event = { id, source: '/s', type: topic, extensions: { partitionkey: 'k' }, data: Buffer.from('{}') };
  return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
}

async function idsIn(log: Log): Promise<string[]> {
  const { records } = await log.read({ shard: SHARD, after: '', limit: 1_000, maxBytes: 1e7 });
  return records.map(({ event }) => event.id);
}

/**
 * Of ten events those with odd numbers are kept for an hour, the others for a week. The lane stands at the fourth; beyond it the
 * sixth is settled, the seventh dead, the eighth parked; of the expired the first was delivered, the third waits for long, and the fifth is
 * lost.
 */
async function lived(data: string) {
  let nowMs = START_MS;
  const store = await openEmbedded({ directory: data, now: () => nowMs });
  const { log, ledger, directory } = store;
  for (const [topic, retentionMs] of [
    ['short', HOUR_MS],
    ['long', 168 * HOUR_MS],
  ] as const) {
    await log.declareTopic({ environment: 'default', topic, retentionMs });
    await directory.put('topic', 'default', topic, { retentionMs } as never);
  }
  await directory.put('subscription', 'default', 's', { uid: UID, pass: 0, beginsMs: START_MS } as unknown as Subscription);
  const positions: string[] = [''];
  const records = [undefined];
  for (let n = 1; n <= 10; n++) {
    nowMs += 1_000;
    const [appended] = await log.append([entry(`${n}`, n % 2 === 1 ? 'short' : 'long')]);
    assert.equal(appended?.status, 'appended');
    if (appended?.status === 'appended') positions.push(appended.position);
    records.push((await log.fetch(SHARD, positions[n]!)) as never);
  }
  const place = (n: number) => ({ lane: LANE, shard: SHARD, position: positions[n]! });
  const kept = (n: number) => {
    const { environment, app, bytes } = entry(`${n}`, 'short');
    return { environment, app, bytes };
  };
  const attempt = (n: number, outcome: AttemptRow['outcome']): AttemptRow => ({
    ...place(n),
    n: 1,
    startedMs: nowMs,
    durationMs: 1,
    outcome,
    cause: outcome === 'delivered' ? '' : 'status',
    status: 200,
    snippet: '',
    eventId: `${n}`,
    topic: 'x',
  });
  const parked = (n: number, more: Partial<ParkedRow>): ParkedRow => ({
    ...place(n),
    state: 'parked',
    dueMs: nowMs + 1_000,
    attempts: 1,
    attemptsBefore: 0,
    key: 'k',
    cause: 'status',
    size: 100,
    timeMs: START_MS + n * 1_000,
    idHash: idHashOf(entry(`${n}`, '')),
    ...more,
  });
  await ledger.commit({
    lanes: [
      { lane: LANE, shard: SHARD, cursor: cursorAt(records[4]!, log.identity) },
      { lane: LANE, shard: '', cursor: { log: '', position: '', timeMs: 0, idHash: '' } },
    ],
    slots: [{ slot: 128, shard: SHARD, cursor: cursorAt(records[10]!, log.identity) }],
    attempts: [attempt(1, 'delivered'), attempt(6, 'delivered'), attempt(7, 'dead')],
    park: [parked(3, { kept: kept(3) }), parked(5, { state: 'held', dueMs: 0 }), parked(8, {})],
    bury: [
      {
        ...place(7),
        id: deadLetterId(place(7)),
        cause: 'status',
        detail: '',
        attempts: 1,
        eventId: '7',
        topic: 'short',
        timeMs: START_MS + 7_000,
        diedMs: nowMs,
        holdsKey: 'k',
        kept: kept(7),
      },
    ],
  });
  nowMs += 2 * HOUR_MS;
  await log.trim();
  assert.deepEqual(await idsIn(log), ['2', '4', '6', '8', '10']);
  await store.close();
  return nowMs;
}

async function move(t: TestContext) {
  const data = temporary(t);
  const there = temporary(t);
  const nowMs = await lived(data);
  const now = (): number => nowMs;
  const log = await openEmbedded({ directory: there, now });
  const result = await migrateLog({
    data,
    log: 'embedded://there',
    now,
    open: {
      former: ({ data: directory, nowMs: atMs }) => openEmbedded({ directory, now: () => atMs }),
      // Closed with its store in the end.
      log: async () => ({ ...log.log, close: async () => undefined }),
      store: ({ directory }) => openEmbedded({ directory, now }),
    },
  });
  const store = await openEmbedded({ directory: join(data, 'ledger'), now: () => nowMs });
  t.after(async () => {
    await store.close();
    await log.close();
  });
  return { result, log: log.log, ledger: store.ledger, directory: store.directory };
}

test('kept events stand where they stood, and rows at their places', async (t) => {
  const { result, log, ledger, directory } = await move(t);
  assert.deepEqual(await idsIn(log), ['2', '3', '4', '6', '7', '8', '10']);
  assert.deepEqual([result.kept, result.parked, result.held, result.deadLetters, result.expired], [2, 2, 0, 1, 1]);
  const at = async (id: string): Promise<string> => {
    const { records } = await log.read({ shard: SHARD, after: '', limit: 100, maxBytes: 1e7 });
    return records.find(({ event }) => event.id === id)!.position;
  };
  const [row] = (await ledger.lanes()).filter(({ shard }) => shard !== '');
  const four = (await log.fetch(SHARD, await at('4')))!;
  assert.deepEqual(row?.cursor, cursorAt(four, log.identity));
  assert.deepEqual((await ledger.slots())[0]?.cursor.position, await at('10'));
  assert.deepEqual(await ledger.handledAfter(LANE, SHARD, four.position), [await at('6'), await at('7'), await at('8')]);
  assert.deepEqual(await ledger.keyed(LANE, SHARD), [
    { position: await at('3'), key: 'k', state: 'parked' },
    { position: await at('7'), key: 'k', state: 'dead' },
    { position: await at('8'), key: 'k', state: 'parked' },
  ]);
  const eight = (await ledger.parked(LANE, SHARD, await at('8')))!;
  assert.equal(eight.timeMs, (await log.fetch(SHARD, eight.position))?.timeMs);
  const letters = await ledger.deadLetters({ subscription: UID, limit: 10 });
  assert.deepEqual(
    letters
      .map(({ cause, eventId, shard, id, ...rest }) => [cause, eventId, shard, id === deadLetterId({ ...rest, shard })])
      .sort(([a], [b]) => String(a).localeCompare(String(b))),
    [
      ['expired', '', 'former-0', true],
      ['status', '7', '0', true],
    ],
  );
  const attempts = await ledger.attempts({ subscription: UID, limit: 10 });
  const places = Object.fromEntries(attempts.map(({ eventId, shard, position }) => [eventId, [shard, position]]));
  assert.deepEqual(places, {
    1: ['former-0', '0000000000000001'],
    6: ['0', await at('6')],
    7: ['0', await at('7')],
  });
  // Owed from the beginning on: on the clock of the new log that is now.
  const { value } = (await directory.get('subscription', 'default', 's'))!;
  assert.equal(await log.positionAt(SHARD, value.beginsMs), '');
});
