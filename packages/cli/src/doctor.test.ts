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
