/** Many events: batches, what is sent again, what is told of lines that were refused. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type Asked, serverFor } from '../test/server.ts';
import { type Ended, errorOf, millrace, temporary } from '../test/world.ts';

interface Told {
  readonly line: number;
  readonly id?: string;
  readonly status?: string;
  readonly problem?: { readonly code: string };
}

const stored = (line: number): object => ({ line, id: `evt_${line}`, status: 'appended', shard: '0', position: String(line) });
const refused = (line: number, code: string, status: number): object => ({
  line,
  problem: { status, code, detail: 'it is so' },
});
const ndjson = (lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('');
const eventsOf = ({ body }: Asked): Record<string, unknown>[] =>
  body
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const all = (asked: Asked): { text: string } => ({
  text: ndjson([...eventsOf(asked).map((_, at) => stored(at + 1)), { done: {} }]),
});

async function publish(
  t: TestContext,
  address: string,
  { lines, more = [] }: { readonly lines: readonly string[]; readonly more?: readonly string[] },
): Promise<Ended & { readonly results: readonly Told[]; readonly done: object; readonly directory: string }> {
  const directory = temporary(t);
  writeFileSync(join(directory, 'events.ndjson'), `${lines.join('\n')}\n`);
  const ended = await millrace(['publish', '--file', 'events.ndjson', '--json', '--url', address, ...more], { directory });
  const told = ended.stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
  const done = told.find((one) => 'done' in one)?.done;
  return { ...ended, results: told.filter((one) => 'line' in one), done, directory };
}

const EVENTS = ['{"type":"a","data":1}', '{"type":"a","id":"mine","data":1.0}', '{ "type": "a" }'];

describe('publishing a file', () => {
  test('tells of every line, by its number in the file', async (t) => {
    const { address, asked } = await serverFor(t, all);
    const { exit, results, done } = await publish(t, address, { lines: [EVENTS[0] ?? '', '', EVENTS[1] ?? ''] });
    assert.equal(exit, 0);
    assert.deepEqual(
      results.map(({ line, status }) => [line, status]),
      [
        [1, 'appended'],
        [3, 'appended'],
      ],
    );
    assert.deepEqual(done, { lines: 2, appended: 2, duplicate: 0, refused: 0 });
    assert.equal((await asked(1))[0]?.headers['content-type'], 'application/x-ndjson');
  });

  test('gives each line an id of its own, and leaves its bytes alone', async (t) => {
    const { address, asked } = await serverFor(t, all);
    await publish(t, address, { lines: [...EVENTS, '{}'] });
    const [{ body } = { body: '' }] = await asked(1);
    const [first = '', second, third = '', fourth = ''] = body.split('\n');
    assert.match(first, /^\{"id":"evt_[a-z2-7]{26}","type":"a","data":1\}$/);
    assert.equal(second, EVENTS[1]);
    assert.match(third, /^\{"id":"evt_[a-z2-7]{26}", "type": "a" \}$/);
    assert.match(fourth, /^\{"id":"evt_[a-z2-7]{26}"\}$/);
  });

  test('takes each line as data where a topic is named', async (t) => {
    const { address, asked } = await serverFor(t, all);
    await publish(t, address, { lines: ['{"n":1.0}', '7'], more: ['--type', 'rows.added', '--source', '/import'] });
    const [{ body } = { body: '' }] = await asked(1);
    const [first = '', second = ''] = body.split('\n');
    assert.match(first, /^\{"type":"rows\.added","id":"evt_[a-z2-7]{26}","source":"\/import","data":\{"n":1\.0\}\}$/);
    assert.match(second, /"data":7\}$/);
  });

  test('takes nothing for data that would be more than data', async (t) => {
    const { address, asked } = await serverFor(t, all);
    const { exit, results } = await publish(t, address, { lines: ['1,"type":"other"', '2'], more: ['--type', 'rows.added'] });
    assert.deepEqual([exit, results[0]?.problem?.code, results[1]?.status], [8, 'invalid_json', 'appended']);
    assert.equal(eventsOf((await asked(1))[0] as Asked).length, 1);
  });

  test('goes in batches', async (t) => {
    const { address, asked } = await serverFor(t, all);
    const { done } = await publish(t, address, { lines: Array.from({ length: 1_200 }, (_, n) => `{"type":"a","data":${n}}`) });
    assert.deepEqual(done, { lines: 1_200, appended: 1_200, duplicate: 0, refused: 0 });
    assert.deepEqual(
      (await asked(3)).map((one) => eventsOf(one).length),
      [500, 500, 200],
    );
  });

  test('sends again what an answer that broke off said nothing of, with the same ids', async (t) => {
    const { address, asked } = await serverFor(t, (request, count) =>
      count === 1 ? { text: ndjson([stored(1)]), broken: true } : all(request),
    );
    const { exit, results, stderr } = await publish(t, address, { lines: EVENTS });
    assert.equal(exit, 0);
    assert.deepEqual(
      results.map(({ line }) => line),
      [1, 2, 3],
    );
    const [first, second] = (await asked(2)).map(eventsOf);
    assert.deepEqual(second, first?.slice(1));
    assert.match(stderr, /the answer broke off before its end; sending again in/);
  });

  test('sends again what the gateway could not take at that moment', async (t) => {
    const { address, asked } = await serverFor(t, (request, count) =>
      count === 1 ? { text: ndjson([stored(1), refused(2, 'overloaded', 503), stored(3), { done: {} }]) } : all(request),
    );
    const { exit, results } = await publish(t, address, { lines: EVENTS });
    assert.equal(exit, 0);
    assert.deepEqual(
      results.map(({ line }) => line),
      [1, 3, 2],
    );
    assert.equal(eventsOf((await asked(2))[1] as Asked).length, 1);
  });

  test('names what was refused, keeps it, and ends with 8 where the rest was stored', async (t) => {
    const { address } = await serverFor(t, () => ({
      text: ndjson([stored(1), refused(2, 'unknown_topic', 404), stored(3), { done: {} }]),
    }));
    const { exit, results, done, directory } = await publish(t, address, { lines: EVENTS, more: ['--failed', 'again.ndjson'] });
    assert.equal(exit, 8);
    assert.equal(results[1]?.problem?.code, 'unknown_topic');
    assert.deepEqual(done, { lines: 3, appended: 2, duplicate: 0, refused: 1 });
    assert.equal(readFileSync(join(directory, 'again.ndjson'), 'utf8'), `${EVENTS[1]}\n`);
  });

  test('ends with the code of the first problem where nothing was stored', async (t) => {
    const { address } = await serverFor(t, () => ({ text: ndjson([refused(1, 'unknown_topic', 404), { done: {} }]) }));
    const ended = await publish(t, address, { lines: ['{"type":"a"}'] });
    assert.equal(ended.exit, 4);
    assert.equal(errorOf(ended).message, 'line 1: it is so');
  });

  test('goes on behind the lines that are done', async (t) => {
    const { address, asked } = await serverFor(t, all);
    const { results } = await publish(t, address, { lines: EVENTS, more: ['--skip', '1'] });
    assert.deepEqual(
      results.map(({ line }) => line),
      [2, 3],
    );
    assert.equal(eventsOf((await asked(1))[0] as Asked)[0]?.['id'], 'mine');
  });

  test('that is interrupted says where to go on', async (t) => {
    const interruption = new AbortController();
    const { address } = await serverFor(t, (request, count) => {
      if (count === 2) interruption.abort();
      return all(request);
    });
    const directory = temporary(t);
    writeFileSync(join(directory, 'events.ndjson'), '{"type":"a"}\n'.repeat(1_500));
    const { exit, stderr } = await millrace(['publish', '--file', 'events.ndjson', '--url', address], {
      directory,
      interrupted: interruption.signal,
    });
    assert.equal(exit, 130);
    assert.match(stderr, /Go on with: millrace publish --file events\.ndjson --skip (500|1000)/);
  });

  test('refuses a line that no event can have, and goes on', async (t) => {
    const { address } = await serverFor(t, all);
    const { exit, results } = await publish(t, address, { lines: ['{"type":"a"}', `"${'x'.repeat(1_100_000)}"`] });
    assert.equal(exit, 8);
    assert.deepEqual(
      results.map(({ line, problem }) => [line, problem?.code]).toSorted(([a], [b]) => Number(a) - Number(b)),
      [
        [1, undefined],
        [2, 'payload_too_large'],
      ],
    );
  });

  test('is progress for people: lines of ten percent, then the count', async (t) => {
    const { address } = await serverFor(t, all);
    const directory = temporary(t);
    writeFileSync(join(directory, 'events.ndjson'), '{"type":"a"}\n'.repeat(1_000));
    const { stdout, stderr } = await millrace(['publish', '--file', 'events.ndjson', '--url', address], { directory });
    assert.equal(stdout, '1,000 events  1,000 appended\n');
    assert.equal(stderr, '50 %  500 events\n100 %  1,000 events\n');
  });
});
