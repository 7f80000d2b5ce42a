/** What `millrace subscription` says to people where the gateway's answer is one that a test must choose. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { serverFor } from '../test/server.ts';
import { type Ended, millrace } from '../test/world.ts';

const SUBSCRIPTION = {
  id: 'crm',
  app: 'default',
  topics: ['orders.*'],
  deliver: { webhook: { url: 'https://crm.example/', signature: 'standard', timeoutMs: 15_000, body: 'data', headers: {} } },
  retry: { schedule: ['5s', '5m'], jitter: 0.2 },
  ordering: 'none',
  onDead: 'release',
  concurrency: 16,
  breaker: { failures: 3, events: 10 },
  state: 'active',
  bounds: { parked: 1, parkedBytes: 2, held: 3, deadLetters: 4 },
  disableAfter: '5d',
  createdAt: '2026-11-23T17:20:00.000Z',
};

async function answered(t: TestContext, json: unknown, ...args: readonly string[]): Promise<Ended> {
  const { address } = await serverFor(t, () => ({ json }));
  return millrace(['subscription', ...args, '--url', address, '--key', 'mr_aaaaaaaa_b']);
}

describe('millrace subscription create', () => {
  const args = ['create', 'crm', '--topics', 'orders.*', '--to', 'https://crm.example/'];

  test('shows the secret near the top, with that it is shown once, and little more', async (t) => {
    const made = { ...SUBSCRIPTION, secret: 'whsec_x', warnings: ['mind the gap'] };
    const { exit, stdout, stderr } = await answered(t, made, ...args);
    const lines = stdout.trimEnd().split('\n');
    assert.deepEqual([exit, lines[0], lines[2]], [0, 'created crm', 'secret  whsec_x']);
    assert.match(lines[3] ?? '', /shown this once/);
    assert.ok(lines.length <= 10, stdout);
    assert.match(stdout, /^endpoint +https:\/\/crm\.example\/$/m);
    assert.match(stderr, /^warning: mind the gap\n.*millrace subscription test crm/);
  });

  test('says how a simple signature is verified', async (t) => {
    const deliver = { webhook: { ...SUBSCRIPTION.deliver.webhook, signature: 'simple' } };
    const { stdout } = await answered(
      t,
      { ...SUBSCRIPTION, deliver, secret: 'a secret of ours' },
      ...args,
      '--signature',
      'simple',
    );
    assert.match(stdout, /x-signature is the HMAC-SHA256 of the body with this secret, in hex/);
  });

  test('does not show a secret that was brought', async (t) => {
    const { stdout } = await answered(t, { ...SUBSCRIPTION, secret: 'whsec_mine' }, ...args, '--secret', 'whsec_mine');
    assert.match(stdout, /^secret {2}the one you brought$/m);
    assert.ok(!/whsec_mine|shown this once/.test(stdout), stdout);
  });

  test('with --json shows all of it', async (t) => {
    const made = { ...SUBSCRIPTION, secret: 'whsec_x', warnings: [] };
    assert.deepEqual(JSON.parse((await answered(t, made, ...args, '--json')).stdout), made);
  });
});

const STREAM = { ...SUBSCRIPTION, deliver: { stream: { ackWait: '30s' } } };

describe('millrace subscription create --stream', () => {
  const args = ['create', 'mailer', '--topics', 'orders.*', '--stream'];

  test('makes a consumer group, with what belongs to one', async (t) => {
    const { address, asked } = await serverFor(t, () => ({ json: STREAM }));
    const more = ['--ack-wait', '1m', '--retry', '1s,5s', '--ordering', 'key'];
    await millrace(['subscription', ...args, ...more, '--url', address, '--key', 'mr_aaaaaaaa_b']);
    const [{ route, body } = { route: '', body: '' }] = await asked(1);
    assert.equal(route, 'POST /v1/subscriptions');
    assert.deepEqual(JSON.parse(body), {
      id: 'mailer',
      topics: ['orders.*'],
      ordering: 'key',
      deliver: { stream: { ackWait: 60_000 } },
      retry: { schedule: ['1s', '5s'] },
    });
  });

  test('speaks of consumers, and neither of a secret nor of an endpoint', async (t) => {
    const { exit, stdout, stderr } = await answered(t, { ...STREAM, id: 'mailer', warnings: [] }, ...args);
    assert.deepEqual([exit, stdout.split('\n')[0]], [0, 'created mailer']);
    assert.match(stdout, /^stream +its consumers connect, or pull\nackWait +30s$/m);
    assert.match(
      stderr,
      /^Consume it under the group 'mailer': .*POST \/v1\/pull; all settings: millrace subscription get mailer$/m,
    );
    assert.ok(!/secret|endpoint|undefined/i.test(stdout + stderr), stdout + stderr);
  });

  test('with --json shows all of it', async (t) => {
    assert.deepEqual(JSON.parse((await answered(t, STREAM, ...args, '--json')).stdout), STREAM);
  });

  test("refuses what is a webhook's, by name", async () => {
    for (const more of [
      ['--to', 'https://crm.example/'],
      ['--secret', 'whsec_x'],
      ['--signature', 'simple'],
      ['--timeout', '5s'],
      ['--body', 'event'],
      ['--body-json', 'as-sent'],
      ['--header', 'a: b'],
      ['--breaker', 'off'],
    ]) {
      const { exit, stderr } = await millrace(['subscription', ...args, ...more]);
      assert.equal(exit, 2);
      assert.match(stderr, new RegExp(`--stream is of a stream and ${more[0]} of a webhook`));
    }
    const { exit, stderr } = await millrace([
      'subscription',
      'update',
      'crm',
      '--ack-wait',
      '5s',
      '--to',
      'https://crm.example/',
    ]);
    assert.deepEqual([exit, /--ack-wait is of a stream and --to of a webhook/.test(stderr)], [2, true]);
  });

  test('does not mix with a file that says otherwise', async () => {
    const file = (deliver: object): string => JSON.stringify({ topics: ['orders.*'], deliver });
    const webhook = await millrace(['subscription', 'create', 'x', '--stream', '--file', '-'], {
      stdin: file({ webhook: { url: 'https://crm.example/' } }),
    });
    assert.deepEqual([webhook.exit, /the file has deliver\.webhook/.test(webhook.stderr)], [2, true]);
    const stream = await millrace(['subscription', 'create', 'x', '--to', 'https://crm.example/', '--file', '-'], {
      stdin: file({ stream: {} }),
    });
    assert.deepEqual([stream.exit, /the file has deliver\.stream/.test(stream.stderr)], [2, true]);
  });

  test('is offered where neither an endpoint nor a stream was named', async () => {
    const { exit, stderr } = await millrace(['subscription', 'create', 'x', '--topics', 'orders.*']);
    assert.equal(exit, 2);
    assert.match(stderr, /--to URL, or --stream/);
  });
});

describe('millrace subscription rotate-secret', () => {
  test('says until when both count', async (t) => {
    const previousUntil = new Date(Date.now() + 86_400_000 + 60_000).toISOString();
    const { stdout } = await answered(t, { ...SUBSCRIPTION, secret: 'whsec_new', previousUntil }, 'rotate-secret', 'crm');
    assert.match(stdout, /^secret {2}whsec_new\nThe secret is shown this once/);
    assert.match(stdout, /^The former one counts, too, until \S+ \(in 1 d\): until then deliveries are signed with both\.$/m);
  });
});

const HEALTH = {
  breaker: 'closed',
  failingMs: 6_800,
  parked: 3,
  parkedBytes: 9,
  held: 1,
  deadLetters: 2,
  inFlight: 1,
  allowed: 8,
};

describe('millrace subscription get', () => {
  test('says first how it fares', async (t) => {
    const health = { ...HEALTH, behindMs: 12_000, cursors: { '0': '0000000000000042' } };
    const { stdout } = await answered(t, { ...SUBSCRIPTION, health }, 'get', 'crm');
    assert.deepEqual(stdout.split('\n').slice(0, 6), [
      'subscription  crm',
      'health        failing for 6.8 s',
      'waiting       3 parked, 1 held, 2 dead letters',
      'behind        12 s',
      'under way     1 of 8 allowed at once',
      '',
    ]);
    assert.match(stdout, /^app .*\ntopics .*\ndeliver\.webhook\.url /m);
    assert.match(stdout, /^bounds\.deadLetters .*\ncreatedAt .*\nread up to\.0 +0000000000000042\n$/m);
  });
});

describe('millrace subscription list', () => {
  for (const [what, state, health, said] of [
    ['well', 'active', { ...HEALTH, failingMs: 0, parked: 0, held: 0, deadLetters: 0 }, 'ok'],
    ['waiting', 'active', HEALTH, 'failing, 3 parked, 1 held, 2 dead letters'],
    ['down', 'active', { ...HEALTH, breaker: 'open' }, 'down'],
    ['at a bound', 'active', { ...HEALTH, stoppedBy: 'held' }, 'at bound held'],
    ['paused', 'paused', HEALTH, 'paused'],
  ] as const) {
    test(`says of one that is ${what}: ${said}`, async (t) => {
      const { stdout } = await answered(t, { data: [{ ...SUBSCRIPTION, state, health }], next: null }, 'list');
      assert.match(stdout, new RegExp(`^SUBSCRIPTION +APP +HEALTH .*\\ncrm +default +${said} +orders`));
    });
  }
});

describe('a stream', () => {
  test('is told of by its consumers, and not by an endpoint', async (t) => {
    const health = { ...HEALTH, behindMs: 12_000, cursors: {} };
    const { stdout } = await answered(t, { ...STREAM, health }, 'get', 'crm');
    assert.deepEqual(stdout.split('\n').slice(0, 5), [
      'subscription   crm',
      'health         nothing acked for 6.8 s',
      'waiting        3 parked, 1 held, 2 dead letters',
      'behind         12 s',
      'not acked yet  1 of 8 allowed at once',
    ]);
    assert.match(stdout, /^deliver\.stream\.ackWait +30s$/m);
    assert.ok(!/breaker|endpoint/.test(stdout), stdout);
    const disabled = { cause: 'failing', at: new Date(Date.now() - 300_000).toISOString() };
    const stopped = await answered(t, { ...STREAM, state: 'disabled', disabled, health }, 'get', 'crm');
    assert.match(stopped.stdout, /^health +disabled 5 min ago \(its consumers acked nothing for too long\)$/m);
  });

  test('has deliveries that were acked', async (t) => {
    const attempt = { n: 1, startedAt: '2026-11-23T17:20:00.000Z', durationMs: 4, outcome: 'delivered', cause: '', status: 0 };
    const event = { id: 'evt_x', type: 'orders.created' };
    const json = { data: [{ id: 'd', subscription: 'mailer', event, outcome: 'delivered', attempts: [attempt] }], next: null };
    const { address } = await serverFor(t, () => ({ json }));
    const { stdout } = await millrace(['delivery', 'list', 'mailer', '--url', address, '--key', 'mr_aaaaaaaa_b']);
    assert.match(stdout, / OUTCOME +ANSWER .*\n.* delivered +acked /);
  });

  test('that is behind waits for its consumers', async (t) => {
    const one = { ...STREAM, id: 'mailer', health: { ...HEALTH, held: 0, behindMs: 12_000 } };
    const { address } = await serverFor(t, ({ route }) => ({
      json: route.includes('/deliveries') ? { data: [], next: null } : one,
    }));
    const { stderr } = await millrace(['delivery', 'list', 'mailer', '--event', 'e', '--url', address, '--key', 'mr_aaaaaaaa_b']);
    assert.match(
      stderr,
      /^No attempt yet\. mailer is 12 s behind and waits for its consumers: millrace subscription get mailer$/m,
    );
  });

  test('stands in a list without an address', async (t) => {
    const { stdout } = await answered(t, { data: [{ ...STREAM, health: HEALTH }], next: null }, 'list');
    assert.match(
      stdout,
      / TO +CREATED\ncrm +default +nothing acked, 3 parked, 1 held, 2 dead letters +orders\.\* +its consumers /,
    );
  });
});

describe('millrace subscription update', () => {
  test('does not offer what can not be changed', async () => {
    const { stdout } = await millrace(['subscription', 'update', '--help']);
    assert.ok(!/--(ordering|from|app)\b/.test(stdout), stdout);
    assert.match((await millrace(['subscription', 'create', '--help'])).stdout, /--ordering[^]*--from/);
  });
});

describe('millrace subscription test', () => {
  const none = { webhookId: 'msg_x', delivered: false, status: 0, durationMs: 1.2 };

  test('says that nothing answered, why, and the next command', async (t) => {
    const refused = { ...none, cause: 'refused', snippet: 'connect ECONNREFUSED 127.0.0.1:9' };
    const { exit, stdout, stderr } = await answered(t, refused, 'test', 'crm');
    assert.deepEqual([exit, stdout], [1, 'not delivered (refused)  no answer  1.2 ms  msg_x\n']);
    assert.match(stderr, /^No answer: connection refused \(connect ECONNREFUSED 127\.0\.0\.1:9\)\. Nothing listens there/);
    assert.match(stderr, /millrace subscription test crm; .*millrace subscription update crm --to URL/);
    assert.ok(!stderr.includes('It answered'));
  });

  test('does so for a key that is not told what the system said, and for a cause it does not know', async (t) => {
    assert.match(
      (await answered(t, { ...none, cause: 'timeout' }, 'test', 'crm')).stderr,
      /^No answer: no whole answer in time\. /,
    );
    assert.match((await answered(t, { ...none, cause: 'new_one' }, 'test', 'crm')).stderr, /^No answer: new_one\. /);
  });

  test('shows what did answer', async (t) => {
    const { exit, stderr } = await answered(t, { ...none, status: 500, cause: 'http_500', snippet: 'oh' }, 'test', 'crm');
    assert.equal(exit, 1);
    assert.match(stderr, /^It answered: oh\n/);
  });
});
