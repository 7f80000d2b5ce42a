/** `millrace topic rejects` goes on until it has looked as far back as was asked. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { serverFor } from '../test/server.ts';
import { type Ended, millrace } from '../test/world.ts';

const ago = (hours: number): string => new Date(Date.now() - hours * 3_600_000).toISOString();

function reject(hours: number): object {
  return {
    shard: 'MILLRACE',
    position: `${hours}`,
    appendedAt: ago(hours),
    code: 'invalid_json',
    detail: 'it is no JSON',
    bytes: 3,
    begins: '{"\u0007',
  };
}

async function rejects(t: TestContext, ...more: readonly string[]): Promise<Ended & { readonly asked: readonly string[] }> {
  const asked: string[] = [];
  const pages: Record<string, object> = {
    '': { data: [reject(1)], next: 'b', through: ago(2) },
    b: { data: [], next: 'c', through: ago(5) },
    c: { data: [reject(20), reject(30)], next: 'd', through: ago(30) },
    d: { data: [reject(40)], next: null, through: ago(50) },
  };
  const { address } = await serverFor(t, ({ route }) => {
    const { searchParams } = new URL(route.slice(route.indexOf('/')), 'http://x');
    asked.push(searchParams.get('cursor') ?? '');
    return { json: pages[asked.at(-1) ?? ''] };
  });
  const ended = await millrace(['topic', 'rejects', 'orders.created', '--url', address, '--key', 'mr_a_b', ...more]);
  return { ...ended, asked };
}

test('rejects of the last day are shown, through answers that are empty, and control characters as text', async (t) => {
  const { exit, stdout, asked } = await rejects(t);
  assert.deepEqual([exit, asked], [0, ['', 'b', 'c']]);
  const [head, ...lines] = stdout.trim().split('\n');
  assert.match(head ?? '', /^WHEN +CODE +WHY +BYTES +BEGINS +POSITION$/);
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /invalid_json +it is no JSON +3 +"{\\"\\u0007" +1$/);
});

test('further back, or fewer of them, is a matter of options', async (t) => {
  const all = await rejects(t, '--since', '90d', '--json');
  assert.deepEqual(
    JSON.parse(all.stdout).data.map(({ position }: { readonly position: string }) => position),
    ['1', '20', '30', '40'],
  );
  const one = JSON.parse((await rejects(t, '--limit', '1', '--json')).stdout);
  assert.deepEqual([one.data.length, one.next], [1, 'b']);
  const { exit, stderr } = await rejects(t, '--since', '30m');
  assert.equal(exit, 0);
  assert.match(stderr, /No rejects of orders\.created since 30m/);
});
