/** Every verb against one real gateway: with `--json`, for people, and with something wrong. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { Webhook } from 'standardwebhooks';
import type { CommandTree } from '../src/tree.ts';
import { type Endpoint, endpoint, gatewayIn } from './gateway.ts';
import { type Around, type Ended, errorOf, millrace, start, temporary } from './world.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

const cleanups: (() => void | Promise<void>)[] = [];
const suite = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => void) };
let directory: string;
let good: Endpoint;
let bad: Endpoint;

before(async () => {
  directory = temporary(suite);
  await gatewayIn(suite, directory, ['--no-sample', '--strict-topics']);
  good = await endpoint(suite);
  bad = await endpoint(suite, () => 410);
});
after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

const run = (args: readonly string[], around: Around = {}): Promise<Ended> => millrace(args, { directory, ...around });

/** Must go well; its one document, or its lines. */
async function json(...args: readonly string[]): Promise<Json> {
  const { exit, stdout, stderr } = await run([...args, '--json']);
  assert.equal(exit, 0, `${args.join(' ')}\n${stderr}`);
  const lines = stdout
    .trim()
    .split('\n')
    .map((line): Json => JSON.parse(line));
  return lines.length === 1 ? lines[0] : lines;
}

/** Must go wrong: the exit code, nothing on stdout, JSON on stderr. */
async function wrong(exit: number, said: RegExp, ...args: readonly string[]): Promise<void> {
  const ended = await run([...args, '--json']);
  assert.deepEqual([ended.exit, ended.stdout], [exit, ''], `${args.join(' ')}\n${ended.stdout}${ended.stderr}`);
  const { message, exit: told } = errorOf(ended);
  assert.equal(told, exit);
  assert.match(message, said);
  const people = await run(args);
  assert.equal(people.exit, exit);
  assert.ok(!people.stderr.includes('    at '), people.stderr);
}

async function people(...args: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await run(args);
  assert.equal(exit, 0, `${args.join(' ')}\n${stderr}`);
  return stdout;
}

describe('millrace', { timeout: 300_000 }, () => {
  test('app', async () => {
    assert.equal((await json('app', 'create', 'crm', '--name', 'Customers')).name, 'Customers');
    await wrong(6, /already/, 'app', 'create', 'crm');
    await wrong(5, /app id/, 'app', 'create', 'a b');
    assert.equal((await json('app', 'update', 'crm', '--name', 'CRM')).name, 'CRM');
    await wrong(4, /no app 'nope'/, 'app', 'update', 'nope', '--name', 'x');
    await wrong(2, /--name/, 'app', 'update', 'crm');
    const changed = await json('app', 'update', 'crm', '--quota', 'publishesPerSecond=100', '--quota', 'eventsPerDay=9000');
    assert.deepEqual(changed.quotas, { publishesPerSecond: 100, eventsPerDay: 9_000 });
    assert.deepEqual((await json('app', 'update', 'crm', '--quota', 'publishesPerSecond=none')).quotas, { eventsPerDay: 9_000 });
    await wrong(2, /publishesPerSecond=100/, 'app', 'update', 'crm', '--quota', 'publishesPerSecond');
    await wrong(5, /publishes/, 'app', 'update', 'crm', '--quota', 'publishes=1');
    const origins = ['https://crm.example', 'http://localhost:5173'];
    assert.deepEqual((await json('app', 'update', 'crm', '--origin', origins.join(','))).origins, origins);
    await wrong(5, /no origin/, 'app', 'update', 'crm', '--origin', 'crm.example');
    assert.deepEqual((await json('app', 'update', 'crm', '--origin', 'none')).origins, []);
    const address = readFileSync(join(directory, '.millrace', 'address'), 'utf8').trim();
    const { latest: version } = (await (await fetch(`${address}/sdk/manifest.json`)).json()) as { readonly latest: string };
    assert.deepEqual((await json('app', 'update', 'crm', '--sdk', `pin=${version}`, '--sdk-rollout', `${version}=12.5`)).sdk, {
      pin: version,
      rollout: { version, percent: 12.5 },
    });
    assert.match(await people('app', 'get', 'crm'), /12\.5/);
    assert.deepEqual((await json('app', 'update', 'crm', '--sdk', `patch=${version}`, '--sdk-rollout', 'none')).sdk, {
      follow: 'patch',
      from: version,
    });
    assert.equal((await json('app', 'update', 'crm', '--sdk', 'latest')).sdk, undefined);
    await wrong(5, /no version '9\.9\.9'/, 'app', 'update', 'crm', '--sdk', 'pin=9.9.9');
    for (const none of ['pin', 'pin=', 'newest', 'latest=1'])
      await wrong(2, /pin=0\.1\.0/, 'app', 'update', 'crm', '--sdk', none);
    await wrong(2, /0\.2\.0=10/, 'app', 'update', 'crm', '--sdk-rollout', '10');
    assert.deepEqual((await json('app', 'update', 'crm', '--telemetry', '0.25')).telemetry, { sample: 0.25 });
    assert.equal((await json('app', 'update', 'crm', '--telemetry', 'none')).telemetry, undefined);
    for (const none of ['2', '1.1', 'all', '-1']) await wrong(2, /from 0 to 1/, 'app', 'update', 'crm', `--telemetry=${none}`);
    assert.equal((await json('app', 'usage', 'crm')).quotas.eventsPerDay, 9_000);
    assert.match(await people('app', 'usage', 'crm'), /eventsToday +0/);
    await wrong(4, /no app 'nope'/, 'app', 'usage', 'nope');
    assert.equal((await json('app', 'get', 'crm')).id, 'crm');
    await wrong(4, /no app/, 'app', 'get', 'nope');
    assert.match(await people('app', 'list'), /^APP +NAME +CREATED\ncrm +CRM /);
    assert.equal((await json('app', 'list', '--limit', '1')).data.length, 1);
    await wrong(2, /whole number/, 'app', 'list', '--limit', '0');
    await wrong(5, /cursor/, 'app', 'list', '--cursor', 'x');
    assert.deepEqual((await json('app', 'create', 'gone')).id, 'gone');
    assert.deepEqual(await json('app', 'delete', 'gone', '--yes'), { deleted: 'gone' });
    await wrong(4, /no app/, 'app', 'delete', 'gone', '--yes');
  });

  test('key', async () => {
    const made = await json('key', 'create', 'crm', '--scopes', 'subscribe,publish', '--topics', 'orders.*', '--expires', '1d');
    assert.deepEqual([made.scopes, made.topics], [['subscribe', 'publish'], ['orders.*']]);
    const shown = await people('key', 'create', 'crm', '--scopes', 'publish');
    assert.match(shown, /^key +mr_[a-z2-7]{8}_[a-z2-7]{40}$/m);
    await wrong(2, /required option '--scopes/, 'key', 'create', 'crm');
    await wrong(5, /scopes/, 'key', 'create', 'crm', '--scopes', 'everything');
    await wrong(2, /--expires/, 'key', 'create', 'crm', '--scopes', 'publish', '--expires', 'soon');
    await wrong(4, /no app/, 'key', 'create', 'nope', '--scopes', 'publish');
    const { stdout } = await run(['key', 'list', 'crm', '--json']);
    assert.ok(!stdout.includes(made.key), 'a key is shown once');
    assert.equal(JSON.parse(stdout).data.length, 2);
    await wrong(4, /no app/, 'key', 'list', 'nope');
    assert.equal((await json('key', 'get', 'crm', made.id)).prefix, made.prefix);
    await wrong(4, /no key/, 'key', 'get', 'crm', 'nope');
    assert.equal((await json('key', 'list', '--app', 'crm', '--limit', '1')).data.length, 1);
    assert.equal((await json('key', 'get', made.id, '--app', 'crm')).prefix, made.prefix);
    assert.equal((await json('key', 'get', 'crm', made.prefix)).id, made.id);
    assert.equal((await json('key', 'get', '--key', made.key)).id, made.id);
    assert.deepEqual((await json('key', 'get')).scopes, ['admin']);
    const signing = await json('key', 'create', 'crm', '--signs');
    assert.match(signing.key, /^mrs_[a-z2-7]{8}_[a-z2-7]{40}$/);
    assert.deepEqual([signing.signs, signing.scopes], [true, ['publish']]);
    assert.equal((await json('key', 'get', 'crm', signing.prefix)).id, signing.id);
    assert.match(await people('key', 'list', 'crm'), /mrs_[a-z2-7]{8} +publish \(signs\)/);
    await wrong(5, /scope publish and no other/, 'key', 'create', 'crm', '--signs', '--scopes', 'manage');
    await wrong(4, /no key/, 'key', 'get', 'mr_aaaaaaaa', '--app', 'crm');
    await wrong(2, /say whose: --app/, 'key', 'list');
    await wrong(2, /say whose: --app/, 'key', 'get', made.id);
    await wrong(2, /the app is there twice/, 'key', 'list', 'crm', '--app', 'crm');
    await wrong(2, /say which key/, 'key', 'delete', '--app', 'crm', '--yes');

    const limited = await run(['topic', 'create', 'x', '--key', made.key, '--json']);
    assert.equal(limited.exit, 3, 'a key that may not');
    assert.deepEqual(await json('key', 'delete', 'crm', made.id, '--yes'), { deleted: made.id });
    await wrong(4, /no key/, 'key', 'delete', 'crm', made.id, '--yes');
    const locked = await run(['topic', 'list', '--key', made.key]);
    assert.equal(locked.exit, 3);
    assert.match(locked.stderr, /is no key of this gateway/);
    assert.ok(!locked.stderr.includes(made.key));
  });

  test('topic', async () => {
    const made = await json('topic', 'create', 'orders.created', '--owner', 'crm', '--retention', '2d', '--latency', 'bulk');
    assert.deepEqual([made.owner, made.retention, made.latency], ['crm', '2d', 'bulk']);
    await wrong(6, /already/, 'topic', 'create', 'orders.created');
    await wrong(5, /token/, 'topic', 'create', 'orders..created');
    await wrong(2, /Allowed choices/, 'topic', 'create', 'x', '--latency', 'fast');
    const changed = await json('topic', 'update', 'orders.created', '--key-path', '$.customer');
    assert.deepEqual([changed.keyPath, changed.retention, changed.latency, changed.owner], ['$.customer', '2d', 'bulk', 'crm']);
    await wrong(2, /say what to change/, 'topic', 'update', 'orders.created');
    await wrong(5, /duration/, 'topic', 'update', 'orders.created', '--retention', 'long');
    await wrong(4, /not declared/, 'topic', 'update', 'nope', '--owner', 'crm');
    assert.equal((await json('topic', 'get', 'orders.created')).topic, 'orders.created');
    await wrong(4, /not declared/, 'topic', 'get', 'nope');
    assert.match(await people('topic', 'list'), /orders\.created +crm +2d +bulk +\$\.customer/);
    assert.match((await run(['topic', 'rejects', 'orders.created'])).stderr, /No rejects of orders\.created/);
    await wrong(2, /span|duration|since/i, 'topic', 'rejects', 'orders.created', '--since', 'long');
    await json('topic', 'create', 'orders.gone');
    assert.deepEqual(await json('topic', 'delete', 'orders.gone', '--yes'), { deleted: 'orders.gone' });
    await wrong(4, /not declared/, 'topic', 'delete', 'orders.gone', '--yes');
    await wrong(2, /no terminal to ask at/, 'topic', 'delete', 'orders.created');
    await wrong(2, /missing required argument/, 'topic', 'delete');
  });

  test('subscription', async () => {
    const made = await json('subscription', 'create', 'crm-orders', '--app', 'crm', '--topics', 'orders.*', '--to', good.url);
    assert.match(made.secret, /^whsec_/);
    await wrong(6, /crm-orders/, 'subscription', 'create', 'crm-orders', '--topics', 'orders.*', '--to', good.url);
    await wrong(2, /say which topics/, 'subscription', 'create', 'x', '--to', good.url);
    await wrong(2, /say where to/, 'subscription', 'create', 'x', '--topics', 'a');
    await wrong(5, /./, 'subscription', 'create', 'x', '--topics', 'a', '--to', 'nowhere');
    await wrong(5, /./, 'subscription', 'create', 'x', '--topics', 'a', '--to', good.url, '--filter', '{"data":{"a":1}}');
    await wrong(
      2,
      /--filter is not valid JSON/,
      'subscription',
      'create',
      'x',
      '--topics',
      'a',
      '--to',
      good.url,
      '--filter',
      '{',
    );

    const group = ['subscription', 'create', 'mailer', '--app', 'crm', '--topics', 'orders.*', '--stream', '--ack-wait', '1m'];
    assert.deepEqual((await json(...group)).deliver, { stream: { ackWait: '1m' } });
    assert.deepEqual((await json('subscription', 'update', 'mailer', '--ack-wait', '5s')).deliver, { stream: { ackWait: '5s' } });
    await wrong(5, /from a webhook to a stream/, 'subscription', 'update', 'crm-orders', '--ack-wait', '5s');
    await wrong(6, /stream/, 'subscription', 'test', 'mailer');
    await json('subscription', 'delete', 'mailer', '--yes');

    const { exit } = await run(['subscription', 'create', 'from-file', '--file', '-', '--retry', '1s,2s', '--json'], {
      stdin: JSON.stringify({ topics: ['nothing.*'], deliver: { webhook: { url: bad.url, timeoutMs: 1_000 } }, concurrency: 2 }),
    });
    assert.equal(exit, 0);
    const changed = await json('subscription', 'update', 'from-file', '--timeout', '2s', '--rate', '5');
    assert.deepEqual(
      [
        changed.deliver.webhook.url,
        changed.deliver.webhook.timeoutMs,
        changed.ratePerSecond,
        changed.retry.schedule,
        changed.concurrency,
      ],
      [bad.url, 2_000, 5, ['1s', '2s'], 2],
    );
    await wrong(2, /say what to change/, 'subscription', 'update', 'from-file');
    await wrong(4, /no subscription/, 'subscription', 'update', 'nope', '--rate', '1');
    assert.match(
      await people('subscription', 'list'),
      /^SUBSCRIPTION +APP +HEALTH +TOPICS.*\n(.*\n)*crm-orders +crm +ok +orders\.\* +http:/,
    );
    assert.equal((await json('subscription', 'get', 'crm-orders')).health.breaker, 'closed');
    assert.match(
      await people('subscription', 'get', 'crm-orders'),
      /^subscription +crm-orders\nhealth +ok\nunder way +\d+ of \d+ allowed at once\n\napp +crm\n[^]*^deliver\.webhook\.url +http/m,
    );
    await wrong(4, /no subscription/, 'subscription', 'get', 'nope');

    assert.equal(await people('subscription', 'pause', 'crm-orders'), 'crm-orders is paused\n');
    await wrong(4, /no subscription/, 'subscription', 'pause', 'nope');
    assert.equal((await json('subscription', 'resume', 'crm-orders')).state, 'active');
    await wrong(4, /no subscription/, 'subscription', 'resume', 'nope');

    const tested = await json('subscription', 'test', 'crm-orders', '--data', '{"a":1}');
    assert.deepEqual([tested.delivered, tested.status], [true, 204]);
    new Webhook(made.secret).verify((await good.request(1)).body, (await good.request(1)).headers);
    const failed = await run(['subscription', 'test', 'from-file']);
    assert.equal(failed.exit, 1);
    assert.match(failed.stdout, /^not delivered \(.*410/);
    assert.match(failed.stderr, /^It answered: said the endpoint$/m);
    await wrong(2, /--data is not valid JSON/, 'subscription', 'test', 'crm-orders', '--data', '{');
    await wrong(4, /no subscription/, 'subscription', 'test', 'nope');

    const rotated = await json('subscription', 'rotate-secret', 'crm-orders', '--overlap', '1h');
    assert.match(rotated.secret, /^whsec_/);
    assert.notEqual(rotated.secret, made.secret);
    assert.ok(rotated.previousUntil > new Date().toISOString());
    await wrong(5, /longer than 7d/, 'subscription', 'rotate-secret', 'crm-orders', '--overlap', '90d');
    await wrong(4, /no subscription/, 'subscription', 'rotate-secret', 'nope');
  });

  test('publish', async () => {
    const one = await json(
      'publish',
      'orders.created',
      '{"customer":"c7","n":1.0}',
      '--partition-key',
      'k',
      '--id',
      'mine',
      '--source',
      '/here',
    );
    assert.deepEqual([one.id, one.status], ['mine', 'appended']);
    const again = await run([
      'publish',
      'orders.created',
      '{"customer":"c7","n":1.0}',
      '--partition-key',
      'k',
      '--id',
      'mine',
      '--source',
      '/here',
    ]);
    assert.equal(again.stdout, 'mine  duplicate  orders.created\n');
    assert.equal((await good.request(2)).body, '{"customer":"c7","n":1.0}', 'byte for byte');
    const piped = await run(['publish', '--type', 'orders.created', '--data', '-', '--content-type', 'text/plain'], {
      stdin: 'hello',
    });
    assert.equal(piped.exit, 0, piped.stderr);
    assert.equal((await good.request(3)).body, 'hello');
    writeFileSync(join(directory, 'data.json'), '[1]');
    const tagged = await json('publish', 'orders.created', '@data.json', '--attribute', 'region=eu', '--subject', 's');
    const { headers, body } = await good.request(4);
    assert.deepEqual([headers['ce-id'], headers['ce-region'], headers['ce-subject'], body], [tagged.id, 'eu', 's', '[1]']);
    const keyed = await run(['publish', 'orders.created', '--header', 'Idempotency-Key: once', '--json']);
    assert.equal(keyed.exit, 0, keyed.stderr);

    await wrong(4, /not declared/, 'publish', 'orders.unknown', '1');
    assert.equal(
      (await run(['publish', 'orders.unknown', '1'])).stderr,
      "the topic 'orders.unknown' is not declared (at /type; unknown_topic)\nDeclare it first: millrace topic create orders.unknown\n",
    );
    await wrong(2, /not JSON/, 'publish', 'orders.created', 'hello');
    await wrong(2, /say which topic/, 'publish');
    await wrong(2, /topic is there twice/, 'publish', 'a', '--type', 'b');
    await wrong(2, /data are there twice/, 'publish', 'a', '1', '--data', '2');
    await wrong(2, /can not be read/, 'publish', 'a', '@nothing.json');
    await wrong(2, /begins with mr_/, 'publish', 'a', '1', '--key', 'c7');
    await wrong(2, /--skip and --failed go with --file/, 'publish', 'a', '1', '--skip', '1');
    await wrong(2, /--id is for one event/, 'publish', '--file', '-', '--id', 'x');
    await wrong(2, /can not be read/, 'publish', '--file', 'nothing.ndjson');
  });

  test('publish --file', async () => {
    const lines = [
      '{"type":"orders.created","data":{"customer":1}}',
      '{"type":"orders.unknown"}',
      'no json',
      '{"type":"orders.created"}',
    ];
    writeFileSync(join(directory, 'events.ndjson'), `${lines.join('\n')}\n`);
    const ended = await run(['publish', '--file', 'events.ndjson', '--failed', 'failed.ndjson', '--json']);
    assert.equal(ended.exit, 8, ended.stderr);
    const results = ended.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      results.map(({ line, status, problem }) => [line, status ?? problem?.code]),
      [
        [1, 'appended'],
        [2, 'unknown_topic'],
        [3, 'invalid_json'],
        [4, 'appended'],
        [undefined, undefined],
      ],
    );
    assert.deepEqual(results.at(-1).done, { lines: 4, appended: 2, duplicate: 0, refused: 2 });
    await json('topic', 'create', 'orders.unknown');
    const second = await run(['publish', '--file', 'failed.ndjson']);
    assert.equal(second.exit, 8, second.stderr);
    assert.match(second.stdout, /^2 events {2}1 appended {2}1 refused\n$/);
    assert.match(second.stderr, /^line 2: .*\(invalid_json\)$/m);
    const rows = await run(['publish', 'orders.created', '--file', '-'], { stdin: '{"customer":1}\n{"customer":2}\n' });
    assert.deepEqual([rows.exit, rows.stdout], [0, '2 events  2 appended\n']);
    writeFileSync(join(directory, 'undeclared.ndjson'), '{"type":"undeclared"}\n');
    const none = await run(['publish', '--file', 'undeclared.ndjson', '--json']);
    assert.deepEqual([none.exit, errorOf(none).code], [4, 'unknown_topic'], 'nothing was stored: the first problem says why');
    const said = await run(['publish', '--file', 'undeclared.ndjson']);
    assert.equal(said.exit, 4);
    assert.match(
      said.stderr,
      /^line 1: .*\n(100 %.*\n)?nothing was stored\nDeclare it first: millrace topic create undeclared\n$/,
    );
  });

  test('tail', async () => {
    const events = await json('tail', 'orders.*', '--from', 'earliest', '--count', '2');
    assert.deepEqual(
      events.map(({ event }: Json) => event.type),
      ['orders.created', 'orders.created'],
    );
    assert.match(
      (await run(['tail', '--from', 'earliest', '--count', '1', '--json'])).stdout,
      /"data":\{"customer":"c7","n":1\.0\}/,
    );
    assert.match(
      await people('tail', '--from', 'earliest', '--count', '1'),
      /orders\.created {2}mine {2}key k {2}\{"customer":"c7","n":1\.0\}\n$/,
    );
    await wrong(2, /--from/, 'tail', '--from', 'yesterday');
    await wrong(5, /token/, 'tail', 'a..b');
    await wrong(5, /cursor/, 'tail', '--cursor', 'x');
    await wrong(2, /cannot be used with/, 'tail', '--cursor', 'x', '--from', '1h');

    const interruption = new AbortController();
    const running = start(['tail', 'orders.*'], { directory, interrupted: interruption.signal });
    await running.until('Ctrl-C ends');
    const { id } = await json('publish', 'orders.created', '{"customer":9}');
    await running.until(id);
    interruption.abort();
    const { exit, stderr } = await running.ended;
    assert.equal(exit, 130);
    const [, cursor = ''] = /Go on from here: --cursor (\S+)/.exec(stderr) ?? [];
    const next = await json('publish', 'orders.created', '{"customer":10}');
    assert.equal((await json('tail', 'orders.*', '--cursor', cursor, '--count', '1')).event.id, next.id);
  });

  test('delivery', async () => {
    const { data } = await json('delivery', 'list', '--subscription', 'crm-orders', '--limit', '3');
    assert.equal(data.length, 3);
    assert.match(await people('delivery', 'list', '--subscription', 'crm-orders'), /^WHEN +TOPIC +EVENT +OUTCOME +ANSWER/);
    assert.equal((await json('delivery', 'list', '--limit', '3')).data.length, 3);
    assert.equal((await json('delivery', 'list', 'crm-orders', '--limit', '3')).data.length, 3);
    await wrong(2, /twice/, 'delivery', 'list', 'crm-orders', '--subscription', 'other');
    await wrong(4, /no subscription/, 'delivery', 'list', '--subscription', 'nope');
    const [{ id, webhookId, event }] = data;
    const found = await json('delivery', 'list', '--subscription', 'crm-orders', '--webhook-id', webhookId, '--event', event.id);
    assert.deepEqual(
      found.data.map((one: Json) => one.id),
      [id],
    );
    assert.match(await people('delivery', 'list', '--subscription', 'crm-orders'), new RegExp(webhookId));
    assert.equal((await json('delivery', 'get', webhookId, '--subscription', 'crm-orders')).id, id);
    await wrong(4, /no delivery is known by 'msg_none'/, 'delivery', 'get', 'msg_none');
    assert.equal((await json('delivery', 'get', id)).id, id);
    assert.match(await people('delivery', 'get', id), /ATTEMPT +WHEN +OUTCOME/);
    await wrong(4, /no such delivery/, 'delivery', 'get', 'nope');
    assert.equal((await json('delivery', 'retry', id)).id, id);
    await wrong(4, /no such delivery/, 'delivery', 'retry', 'nope');
  });

  test('replay and operation', async () => {
    const { count } = await json('replay', 'crm-orders', '--from', 'earliest', '--dry-run');
    assert.ok(count > 3);
    const drill = await endpoint(suite);
    const replayed = await json('replay', 'crm-orders', '--from', '1h', '--to', drill.url, '--as-new');
    assert.equal(replayed.state, 'done');
    assert.equal(drill.requests.length, count);
    await wrong(2, /--from/, 'replay', 'crm-orders');
    await wrong(2, /--from "soon"/, 'replay', 'crm-orders', '--from', 'soon');
    await wrong(2, /--rewind/, 'replay', 'crm-orders', '--from', '1h', '--rewind', '--as-new');
    await wrong(4, /no subscription/, 'replay', 'nope', '--from', '1h');
    assert.equal((await json('replay', 'crm-orders', '--from', 'latest', '--rewind', '--yes')).id, 'crm-orders');
    assert.equal(
      await people('replay', 'crm-orders', '--from', '1ms', '--rewind', '--yes'),
      'crm-orders goes on from 1 ms ago\n',
    );

    const going = await json('replay', 'crm-orders', '--from', '1h', '--no-wait');
    assert.equal((await json('operation', 'get', going.id)).kind, 'replay');
    await wrong(4, /no operation/, 'operation', 'get', 'nope');
    assert.match(await people('operation', 'list'), /OPERATION +KIND +SUBSCRIPTION +STATE/);
    await wrong(5, /cursor/, 'operation', 'list', '--cursor', 'x');
    assert.ok(['done', 'cancelled'].includes((await json('operation', 'cancel', going.id)).state));
    await wrong(4, /no operation/, 'operation', 'cancel', 'nope');
  });

  test('dead-letter', async () => {
    await json('subscription', 'create', 'dies', '--topics', 'orders.dies', '--to', bad.url, '--disable-after', 'never');
    await json('topic', 'create', 'orders.dies');
    const dying = await endpoint(suite, () => 422);
    await json('subscription', 'update', 'dies', '--to', dying.url, '--retry', '0ms', '--breaker', 'off');
    await run(['publish', 'orders.dies', '--file', '-'], { stdin: '1\n2\n3\n' });
    for (let made = 0; made < 6; made++) await dying.request(made + 1);
    const { data } = await deadLetters(3);
    assert.match(await people('dead-letter', 'list'), /^DIED +SUBSCRIPTION +CAUSE +ATTEMPTS +TOPIC +EVENT +WHY +DEAD LETTER\n/);
    await wrong(4, /no subscription/, 'dead-letter', 'list', '--subscription', 'nope');
    const [{ id, cause }] = data;
    assert.equal((await json('dead-letter', 'list', 'dies')).data.length, 3);
    assert.equal((await json('dead-letter', 'get', id)).id, id);
    await wrong(4, /no dead letter/, 'dead-letter', 'get', 'nope');

    for (const verb of ['redrive', 'discard']) {
      await wrong(2, /say which/, 'dead-letter', verb);
      await wrong(2, /not both/, 'dead-letter', verb, id, '--all');
      await wrong(2, /cannot be used with/, 'dead-letter', verb, '--all', '--subscription', 'dies');
      await wrong(4, /no dead letter/, 'dead-letter', verb, 'nope', ...(verb === 'discard' ? ['--yes'] : []));
      await wrong(4, /no subscription/, 'dead-letter', verb, '--subscription', 'nope');
      await wrong(2, /--since/, 'dead-letter', verb, '--all', '--since', 'soon');
      assert.equal((await json('dead-letter', verb, '--all', '--cause', 'http_599', '--dry-run')).count, 0);
      assert.equal((await json('dead-letter', verb, '--all', '--cause', cause, '--since', '1h', '--dry-run')).count, 3);
    }
    await json('subscription', 'update', 'dies', '--to', good.url);
    const { redriven, delivery } = await json('dead-letter', 'redrive', id);
    assert.equal(redriven, id);
    assert.equal((await json('delivery', 'get', delivery)).subscription, 'dies');
    const { operations } = await json('dead-letter', 'redrive', '--subscription', 'dies', '--topic', 'orders.dies');
    assert.deepEqual(
      operations.map(({ kind, state }: Json) => [kind, state]),
      [['redrive', 'done']],
    );
    assert.deepEqual((await json('dead-letter', 'redrive', '--all')).operations, []);
  });

  test('dead-letter discard asks a person, and without one it wants to be told', async () => {
    const dying = await endpoint(suite, () => 422);
    await json('subscription', 'update', 'dies', '--to', dying.url);
    await run(['publish', 'orders.dies', '--file', '-'], { stdin: '4\n5\n' });
    for (let made = 0; made < 4; made++) await dying.request(made + 1);
    const [{ id }] = (await deadLetters(2)).data;
    const declined = await run(['dead-letter', 'discard', '--all'], { answers: ['n'] });
    assert.equal(declined.exit, 130);
    assert.match(declined.stderr, /nothing was changed/);
    await wrong(2, /no terminal to ask at/, 'dead-letter', 'discard', '--all');
    assert.equal((await deadLetters(2)).data.length, 2);
    assert.equal((await run(['dead-letter', 'discard', id], { answers: ['y'] })).exit, 0);
    const { operations } = await json('dead-letter', 'discard', '--all', '--yes');
    assert.equal(operations[0].kind, 'discard');
    assert.deepEqual((await json('dead-letter', 'list')).data, []);
  });

  test('doctor', async () => {
    const healthy = await run(['doctor', '--quiet']);
    assert.deepEqual([healthy.exit, healthy.stderr], [0, '']);
    assert.match(healthy.stdout, /^worth knowing: from-file: no declared topic matches nothing\.\*\. [^\n]*\n$/);
    assert.equal((await json('doctor')).ok, true);
    const locked = await run(['doctor', '--key', 'mr_aaaaaaaa_wrong']);
    assert.equal(locked.exit, 1);
    assert.match(locked.stdout, /^the key is not known.* Name another one/);
    await wrong(2, /too many arguments/, 'doctor', 'now');

    await json('topic', 'create', 'orders.gone');
    await json('subscription', 'create', 'gone', '--topics', 'orders.gone', '--to', bad.url);
    const { length } = bad.requests;
    await json('publish', 'orders.gone', '1');
    await bad.request(length + 1);
    const found = await untilFound(['doctor'], 'gone is disabled');
    assert.match(found, /^gone is disabled \(gone\)\. .*millrace subscription resume gone\n/);
    await json('subscription', 'delete', 'gone', '--yes');
  });

  test('doctor of nothing', async () => {
    const { exit, stdout } = await run(['doctor', '--url', '127.0.0.1:1', '--json']);
    const { ok, checks } = JSON.parse(stdout);
    assert.deepEqual([exit, ok, checks.length], [1, false, 1]);
  });

  test('limits', async () => {
    const { data } = await json('limits');
    const drain = data.find(({ name }: Json) => name === 'drainMs');
    assert.deepEqual([drain.value, typeof drain.why], [20_000, 'string']);
    assert.match(
      await people('limits'),
      /^LIMIT +DEFAULT +FROM +TO +WHAT AND WHY\n[^]*^drainMs +20000 +0 +600000 +How long a stop/m,
    );
    for (const columns of [60, 100]) {
      const lines = (await run(['limits'], { columns, answers: [] })).stdout.trimEnd().split('\n');
      assert.ok(
        lines.every((line) => stripVTControlCharacters(line).length <= columns),
        `within ${columns}`,
      );
      assert.match(lines.join(' ').replaceAll(/ +/g, ' '), /drainMs 20000 0 600000 How long a stop/);
    }
    await wrong(2, /too many arguments/, 'limits', 'drainMs');
  });

  test('token and token-key', async () => {
    await json('topic', 'create', 'tokens.tried');
    const made = await json('token', 'create', '--scopes', 'publish', '--topics', 'tokens.*', '--ttl', '5m', '--app', 'crm');
    assert.deepEqual([made.app, made.topics, made.token.split('.').length], ['crm', ['tokens.*'], 3]);
    const as = (token: string): Promise<Ended> => run(['publish', 'tokens.tried', '1', '--key', token, '--json']);
    const published = await as(made.token);
    assert.equal(published.exit, 0, published.stderr);
    await wrong(2, /--topics/, 'token', 'create', '--scopes', 'publish');
    await wrong(2, /--scopes/, 'token', 'create', '--topics', 'tokens.*');
    await wrong(2, /Write it like/, 'token', 'create', '--scopes', 'publish', '--topics', 'tokens.*', '--ttl', 'soon');
    await wrong(5, /30s to 15m/, 'token', 'create', '--scopes', 'publish', '--topics', 'tokens.*', '--ttl', '1h');
    await wrong(5, /scopes/, 'token', 'create', '--scopes', 'manage', '--topics', 'tokens.*');
    await wrong(4, /no app 'nope'/, 'token', 'create', '--scopes', 'publish', '--topics', 'tokens.*', '--app', 'nope');
    await wrong(
      5,
      /origins of the app/,
      'token',
      'create',
      '--scopes',
      'publish',
      '--topics',
      'tokens.*',
      '--origin',
      'https://a.example',
    );
    await wrong(3, /needs a key/, 'app', 'list', '--key', made.token);

    assert.deepEqual(await json('token', 'revoke', made.jti, '--app', 'crm'), { revoked: made.jti });
    const revoked = await as(made.token);
    assert.deepEqual([revoked.exit, errorOf(revoked).code], [3, 'token_revoked']);
    assert.deepEqual(await json('token', 'revoke', '--app', 'crm', '--before', '1m'), { revoked: { app: 'crm' } });
    assert.equal(
      await people('token', 'revoke', '--app', 'crm'),
      'all tokens of crm: refused from now on, whether or not there are any\n',
    );
    await wrong(2, /say which/, 'token', 'revoke');
    await wrong(2, /--before/, 'token', 'revoke', 'tok_x', '--before', '1h');
    await wrong(2, /--before "soon"/, 'token', 'revoke', '--app', 'crm', '--before', 'soon');
    await wrong(4, /no app 'nope'/, 'token', 'revoke', '--app', 'nope');

    const { data } = await json('token-key', 'list');
    assert.equal(data.length, 1);
    assert.equal((await json('token-key', 'rotate')).data.length, 2);
    await wrong(6, /already/, 'token-key', 'rotate');
    assert.equal((await run(['token-key', 'rotate', '--now'], { answers: [''] })).exit, 130);
    assert.equal((await json('token-key', 'rotate', '--now', '--yes')).data.length, 1);
    assert.match(await people('token-key', 'list'), /^KEY +SIGNS FROM +VERIFIES UNTIL\n/);
    await wrong(2, /too many arguments/, 'token-key', 'list', 'x');
  });

  test('secret-key', async () => {
    const { keyId, formerKeyId } = await json('secret-key', 'rotate');
    assert.notEqual(keyId, formerKeyId);
    const lines = readFileSync(join(directory, '.millrace', 'secret.key'), 'utf8')
      .trim()
      .split('\n');
    assert.equal(lines.length, 2, 'until the next start both are there');
    await wrong(4, /there is no .*secret\.key/, 'secret-key', 'rotate', '--data', 'elsewhere');
  });

  test('migrate-log', async () => {
    const to = ['--from', 'embedded', '--to', 'nats://127.0.0.1:1'];
    await wrong(6, /in use by another process/, 'migrate-log', ...to, '--yes');
    await wrong(6, /in use by another process/, 'migrate-log', ...to, '--dry-run');
    await wrong(4, /no embedded log in/, 'migrate-log', ...to, '--data', 'elsewhere', '--dry-run');
    await wrong(2, /required option '--from/, 'migrate-log', '--to', 'nats://127.0.0.1:1');
    await wrong(2, /required option '--to/, 'migrate-log', '--from', 'embedded');
    await wrong(2, /Allowed choices are embedded/, 'migrate-log', '--from', 'nats', '--to', 'nats://127.0.0.1:1');
    await wrong(2, /log is none that is known/, 'migrate-log', '--from', 'embedded', '--to', 'nats', '--dry-run');
    await wrong(2, /no member 'strem'/, 'migrate-log', '--from', 'embedded', '--to', 'nats://h?strem=x', '--dry-run');
    await wrong(2, /store is none that is known/, 'migrate-log', ...to, '--store', 'mysql://db', '--dry-run');
    // Before anybody is asked.
    await wrong(6, /in use by another process/, 'migrate-log', ...to);
  });

  test('subscription delete', async () => {
    assert.equal((await run(['subscription', 'delete', 'from-file'], { answers: [''] })).exit, 130);
    assert.deepEqual(await json('subscription', 'delete', 'from-file', '--yes'), { deleted: 'from-file' });
    await wrong(4, /no subscription/, 'subscription', 'delete', 'from-file', '--yes');
  });

  test('has no verb that is not tried here', async () => {
    const leaves = (one: CommandTree): string[] => (one.commands.length === 0 ? [one.path] : one.commands.flatMap(leaves));
    assert.deepEqual(leaves(await json('commands')), [
      'dev',
      'start',
      'publish',
      'listen',
      'tail',
      ...['list', 'get', 'create', 'update', 'rejects', 'delete'].map((verb) => `topic ${verb}`),
      ...['list', 'get', 'create', 'update', 'delete', 'pause', 'resume', 'test', 'rotate-secret'].map(
        (verb) => `subscription ${verb}`,
      ),
      ...['list', 'get', 'create', 'update', 'usage', 'delete'].map((verb) => `app ${verb}`),
      ...['list', 'get', 'create', 'delete'].map((verb) => `key ${verb}`),
      ...['create', 'revoke'].map((verb) => `token ${verb}`),
      ...['list', 'get', 'retry'].map((verb) => `delivery ${verb}`),
      ...['list', 'get', 'redrive', 'discard'].map((verb) => `dead-letter ${verb}`),
      'replay',
      ...['list', 'get', 'cancel'].map((verb) => `operation ${verb}`),
      'doctor',
      'limits',
      'secret-key rotate',
      ...['list', 'rotate'].map((verb) => `token-key ${verb}`),
      'migrate-log',
      'commands',
      'completion',
    ]);
  });
});

/** An outcome is recorded a moment after the endpoint answered: the gateway is asked until it shows. */
async function deadLetters(count: number): Promise<{ readonly data: Json[] }> {
  for (;;) {
    const list = await json('dead-letter', 'list', '--subscription', 'dies');
    if (list.data.length === count) return list;
  }
}

async function untilFound(args: readonly string[], part: string): Promise<string> {
  for (;;) {
    const { stdout } = await run(args);
    if (stdout.includes(part)) return stdout;
  }
}
