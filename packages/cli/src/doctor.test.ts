/** What the doctor finds in answers that a healthy gateway never gives. What it says of real ones: test/doctor.slow.test.ts. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { type Answer, serverFor } from '../test/server.ts';
import { type Ended, millrace } from '../test/world.ts';
import { VERSION } from './program.ts';

const KEY = 'mr_aaaaaaaa_b';

async function examined(
  t: TestContext,
  answers: Readonly<Record<string, () => Answer>>,
  more: readonly string[] = [],
): Promise<Ended> {
  const healthy: Record<string, () => Answer> = {
    'GET /v1/health': () => ({ json: { version: VERSION, now: new Date().toISOString() } }),
    'GET /readyz': () => ({ json: {} }),
    'GET /v1/keys/self': () => ({ json: { scopes: ['admin'] } }),
    'GET /v1/subscriptions': () => ({ json: { data: [], next: null } }),
    'GET /v1/topics': () => ({ json: { data: [], next: null } }),
    'GET /v1/health/checks': () => ({ json: { data: [] } }),
  };
  const { address } = await serverFor(t, ({ route }) => {
    const [asked = ''] = route.split('?');
    return (
      answers[asked] ??
      healthy[asked] ??
      (() => ({ status: 404, json: { code: 'not_found', detail: route, status: 404 } }))
    )();
  });
  return millrace(['doctor', '--url', address, '--key', KEY, ...more]);
}

describe('the doctor', () => {
  test('says nothing of a healthy gateway', async (t) => {
    const { exit, stdout } = await examined(t, {});
    assert.deepEqual([exit, stdout], [0, '']);
  });

  for (const [what, answers, said] of [
    [
      'another version',
      { 'GET /v1/health': () => ({ json: { version: '9.9.9', now: new Date().toISOString() } }) },
      /version 9\.9\.9, this command/,
    ],
    [
      'a clock that is off',
      { 'GET /v1/health': () => ({ json: { version: VERSION, now: new Date(Date.now() - 600_000).toISOString() } }) },
      /clock and this one differ by 10 min\. Let both follow NTP/,
    ],
    [
      'a gateway that stops',
      { 'GET /readyz': () => ({ status: 503, json: { status: 503, code: 'shutting_down', detail: 'no' } }) },
      /takes no events: no/,
    ],
    [
      'a key that is none',
      { 'GET /v1/keys/self': () => ({ status: 401, json: { status: 401, code: 'unauthorized', detail: 'no' } }) },
      /^no\. The key that was sent/,
    ],
    [
      'a key that ends soon',
      { 'GET /v1/keys/self': () => ({ json: { expiresAt: new Date(Date.now() + 86_400_000 * 2.2).toISOString() } }) },
      /^the key ends in 2 d\. .*millrace key create/,
    ],
  ] as const) {
    test(`finds ${what}, exit code 1`, async (t) => {
      const { exit, stdout } = await examined(t, answers);
      assert.equal(exit, 1);
      assert.match(stdout, said);
      assert.equal(stdout.trim().split('\n').length, 1, 'a line per problem');
    });
  }

  for (const [cause, said] of [
    ['ack_timeout', 'They took too long: let them ack earlier or extend, .*: millrace subscription update mailer --ack-wait 2m'],
    ['nack', 'Its consumers refuse them; their reasons: millrace delivery list mailer'],
    ['consumer_gone', 'They went before they acked: .*'],
    ['new_one', 'What became of each: millrace delivery list mailer'],
  ] as const) {
    test(`tells of a stream whose deliveries end in ${cause} by what its consumers are to do`, async (t) => {
      const { stdout } = await examined(t, {
        ...streamOf({ state: 'active' }),
        'GET /v1/deliveries': () => ({ json: { data: [{ attempts: [{ cause }] }] } }),
      });
      assert.match(
        stdout,
        new RegExp(`^mailer: its consumers acked nothing for 6.8 s \\(last: ${cause}\\), 3 deliveries wait .*\\. ${said}$`, 'm'),
      );
      assert.ok(!stdout.includes('endpoint'), stdout);
    });
  }

  test('tells of a stream that was disabled what its consumers are to do', async (t) => {
    const disabled = { cause: 'failing', at: new Date().toISOString() };
    const { stdout } = await examined(t, streamOf({ state: 'disabled', disabled }));
    assert.match(
      stdout,
      /^mailer is disabled \(its consumers acked nothing for too long\)\. When its consumers are well again: millrace subscription resume mailer$/m,
    );
  });

  test('shows what log and store say of themselves: what needs somebody, and what is worth knowing', async (t) => {
    const data = [
      { name: 'log', findings: [{ level: 'note', code: 'log_sync_unknown', problem: 'the log says so', advice: 'Look at it.' }] },
      { name: 'store', findings: [{ level: 'problem', code: 'store_clock', problem: 'the clock is off', advice: 'Set it.' }] },
    ];
    const answers = { 'GET /v1/health/checks': () => ({ json: { data } }) };
    const { exit, stdout } = await examined(t, answers);
    assert.deepEqual([exit, stdout], [1, 'the clock is off. Set it.\nworth knowing: the log says so. Look at it.\n']);
    const { checks } = JSON.parse((await examined(t, answers, ['--json'])).stdout);
    assert.deepEqual(checks.slice(-2), data, 'for programs as they came');
  });

  test('of a key that may not ask log and store says so, and looks at the disk itself', async (t) => {
    const forbidden = (): Answer => ({ status: 403, json: { status: 403, code: 'forbidden', detail: 'no' } });
    const { exit, stderr } = await examined(t, { 'GET /v1/health/checks': forbidden });
    assert.equal(exit, 0);
    assert.match(stderr, /not checked: log and store \(it needs a key with the scope admin\)/);
    assert.match(stderr, /not checked: disk/);
  });

  test('names what it could not look at', async (t) => {
    const forbidden = (): Answer => ({ status: 403, json: { status: 403, code: 'forbidden', detail: 'no' } });
    const { exit, stderr } = await examined(t, { 'GET /v1/subscriptions': forbidden });
    assert.equal(exit, 0);
    assert.match(stderr, /not checked: subscriptions \(it needs a key with the scope/);
  });
});

/** A subscription that nothing was acked of lately, in the list and by itself. */
function streamOf(members: object): Readonly<Record<string, () => Answer>> {
  const health = { breaker: 'closed', failingMs: 6_800, parked: 3, held: 0, deadLetters: 0, inFlight: 0, allowed: 8 };
  const one = { id: 'mailer', topics: ['orders.*'], onDead: 'release', deliver: { stream: {} }, health, ...members };
  return {
    'GET /v1/subscriptions': () => ({ json: { data: [one], next: null } }),
    'GET /v1/subscriptions/mailer': () => ({ json: one }),
    'GET /v1/topics': () => ({ json: { data: [{ topic: 'orders.created' }], next: null } }),
  };
}
