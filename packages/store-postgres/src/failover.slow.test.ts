/** A primary that is lost with its machine while a standby of it is promoted: what is still there, and what goes on by itself. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { Fence } from '@millrace/gateway/ports/leases';
import { Client } from 'pg';
import { findBroker, startBroker } from '../../../scripts/brokers/find.ts';
import { openLeases } from './leases.ts';
import { channelOf } from './listening.ts';
import { openPostgres } from './store-postgres.ts';
import { at, attempt, hasCode, listen, START_MS, testProxy, untilItHolds } from './testing.ts';

const directory = newDirectory();
const found = await findBroker('postgres', { directory });
let primary = found.server!;
const skip = found.skip || (existsSync(programOf('pg_basebackup')) ? false : 'there is no pg_basebackup beside the server');
after(async () => {
  if (found.server !== undefined) await primary.remove();
  rmSync(directory, { recursive: true, force: true });
});

const unavailable = hasCode('ledger_unavailable');
const stale = hasCode('stale_epoch');
const app = (name: string) => ({ name, createdMs: 1 });
const numbers = (fences: readonly Fence[]) => fences.map(({ slot }) => slot);

/** The server's user must get to its data. */
function newDirectory(): string {
  const made = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  chmodSync(made, 0o755);
  return made;
}

/** Of the version that runs, whichever are installed. */
function programOf(name: string): string {
  return join(dirname(readlinkSync(`/proc/${primary.pid}/exe`)), name);
}

async function ask<Row>(url: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row & Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

/** There is no signal for it; each round is a question to the server. */
async function untilTrue(url: string, condition: string): Promise<void> {
  while ((await ask(url, `SELECT WHERE ${condition}`)).length === 0);
}

/** A standby of the primary, that is streaming. */
async function startStandby(context: TestContext) {
  await ask(primary.url, 'ALTER SYSTEM RESET synchronous_standby_names');
  await ask(primary.url, 'SELECT pg_reload_conf()');
  const place = newDirectory();
  const data = join(place, 'postgres');
  const [{ source }] = (await ask<{ source: string }>(primary.url, `SELECT current_setting('data_directory') AS source`)) as [
    { source: string },
  ];
  const { uid, gid } = statSync(source);
  mkdirSync(data, { mode: 0o700 });
  chownSync(data, uid, gid);
  const user = process.getuid?.() === 0 ? { uid, gid } : {};
  const backup = ['-d', primary.url, '-D', data, '-R', '-X', 'stream', '-c', 'fast'];
  await promisify(execFile)(programOf('pg_basebackup'), backup, { ...user, cwd: '/' });
  let standby = await startBroker('postgres', { directory: place });
  context.after(() => standby.remove());

  return {
    url: standby.url,
    /** From now on every commit waits for it; not written before the backup, as the standby would then wait for one too. */
    async synchronous() {
      await ask(primary.url, `ALTER SYSTEM SET synchronous_standby_names = '*'`);
      await ask(primary.url, 'SELECT pg_reload_conf()');
      await untilTrue(primary.url, `EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`);
    },
    /** It has all that was committed until now, and nothing after it. */
    async fallBehind() {
      const [now] = await ask<{ lsn: string }>(primary.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
      await untilTrue(standby.url, `pg_last_wal_replay_lsn() >= '${now!.lsn}'`);
      await standby.stop();
    },
    async start() {
      standby = await startBroker('postgres', { directory: place, port: standby.port });
    },
    promote: () => ask(standby.url, 'SELECT pg_promote()'),
  };
}

/** With all its processes at once: left to themselves they would still answer what they have begun. */
async function losePrimary(context: TestContext): Promise<void> {
  const { pid, port } = primary;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  for (const each of [pid, ...children]) process.kill(each, 'SIGKILL');
  await primary.stop();
  // For the next test; and a server that was killed leaves shared memory behind, which it takes away when it starts again.
  context.after(async () => void (primary = await startBroker('postgres', { directory, port })));
}

/** Nodes in one schema, each with a way of its own to whichever server is the primary. */
async function cluster(context: TestContext, schema: string) {
  const failures: Error[] = [];
  const failed = Promise.withResolvers<void>();
  const onFailure = (error: Error) => void (failures.push(error) === 2 && failed.resolve());
  const open = async (node: string) => {
    const proxy = await testProxy(context, primary.url);
    const store = await openPostgres({ url: proxy.url, schema, now: () => START_MS, onFailure });
    context.after(() => store.close());
    const leases = openLeases({ url: proxy.url, schema, node, address: `http://${node}`, leaseMs: 3_600_000 });
    context.after(() => leases.close());
    return { proxy, leases, ...store };
  };
  const [a, b] = [await open('a'), await open('b')];
  /** There is no primary now: each call ends, and says so. */
  const refused = async () => {
    const { ledger, directory, claims, leases } = a;
    const calls = [
      () => ledger.commit({ attempts: [attempt(1, { lane: 'refused.0' })] }),
      () => ledger.lanes(),
      () => directory.put('app', 'default', 'refused', app('x'), 99),
      () => directory.get('app', 'default', 'shop'),
      () => claims.settle([{ id: 'k', token: 't' }]),
      () => leases.renew(0),
      () => leases.take([127]),
      () => leases.commit({}, []),
    ];
    for (const call of calls) await assert.rejects(call(), unavailable);
  };
  const leadTo = (url: string) => [a, b].forEach(({ proxy }) => proxy.leadTo(url));
  return { a, b, failures, bothFailed: failed.promise, refused, leadTo };
}

test(
  'with a synchronous standby a failover loses nothing that was answered, and open stores go on by themselves on the promoted one',
  { skip },
  async (context) => {
    const schema = 'synchronous';
    const standby = await startStandby(context);
    await standby.synchronous();
    const { a, b, failures, refused, leadTo } = await cluster(context, schema);
    const heard = listen(b.directory);
    await a.directory.put('app', 'default', 'before', app('1'));
    await a.leases.renew(0);
    const fences = await a.leases.take([1, 2]);

    const enough = Promise.withResolvers<void>();
    const acknowledged: string[] = [];
    let isBack = false;
    let losses = 0;
    const working = (async () => {
      for (let n = 0; !isBack || n < 60; n++) {
        losses += await untilItHolds(() => a.leases.commit({ attempts: [attempt(n)] }, fences));
        if (acknowledged.push(at(n)) === 40) enough.resolve();
      }
    })();
    await enough.promise;
    await losePrimary(context);
    await refused();
    // First as a standby, as where the address moves faster than the server.
    leadTo(standby.url);
    await assert.rejects(b.ledger.commit({ attempts: [attempt(1, { lane: 'other.0' })] }), unavailable);
    await standby.promote();
    await untilItHolds(() => b.ledger.commit({ attempts: [attempt(1, { lane: 'other.0' })] }));
    isBack = true;
    await working;
    assert.ok(losses > 0);

    assert.deepEqual(await b.ledger.handledAfter('sub.0', 'main', ''), acknowledged);
    assert.equal((await b.ledger.attempts({ subscription: 'sub', limit: 100_000 })).length, acknowledged.length);
    assert.deepEqual(await a.leases.renew(0), fences);
    assert.equal((await a.directory.get('app', 'default', 'before'))?.version, 1);
    await untilItHolds(async () => void (await a.directory.put('app', 'default', 'after', app('1'))));
    await heard.until(({ id }) => id === 'after');
    // It listens: what breaks its connection is the notification itself, and it is heard all the same.
    const notified = b.proxy.breakAt(channelOf(schema));
    await a.directory.put('app', 'default', 'last', app('1'));
    await notified;
    const changes = await heard.until(({ id }) => id === 'last');
    assert.deepEqual([...new Set(changes.map(({ id }) => id))], ['before', 'after', 'last']);
    assert.deepEqual(failures, []);
  },
);

test(
  'what was answered after an asynchronous standby fell behind is MISSING on it when it is promoted; no fence of then holds there, and each node learns what it has',
  { skip },
  async (context) => {
    const standby = await startStandby(context);
    const { a, b, failures, bothFailed, refused, leadTo } = await cluster(context, 'asynchronous');
    await a.directory.put('app', 'default', 'shop', app('1'));
    await Promise.all([a.leases.renew(0), b.leases.renew(0)]);
    const [one, two] = (await a.leases.take([1, 2])) as [Fence, Fence];
    await a.leases.commit({ attempts: [attempt(1)] }, [one, two]);
    await standby.fallBehind();

    const heard = listen(b.directory);
    await a.directory.put('app', 'default', 'shop', app('2'));
    await heard.until(({ now }) => now?.version === 2);
    await a.leases.commit({ attempts: [attempt(2)] }, [one, two]);
    const [three] = (await a.leases.take([3])) as [Fence];
    await a.leases.release([1]);
    const taken = (await b.leases.take([1, 4])) as [Fence, Fence];
    await a.leases.commit({ attempts: [attempt(3)] }, [three]);
    await b.leases.commit({ attempts: [attempt(4)] }, taken);
    await losePrimary(context);
    await refused();
    await standby.start();
    await standby.promote();
    leadTo(standby.url);

    await untilItHolds(async () => {
      await Promise.all(['x', 'y'].map((id) => a.directory.put('app', 'default', id, app('1'))));
    });
    // Neither has renewed: what they hold is as of the old primary.
    for (const fence of taken)
      await assert.rejects(
        untilItHolds(() => b.leases.commit({ attempts: [attempt(5)] }, [fence])),
        stale,
      );
    await assert.rejects(
      untilItHolds(() => a.leases.commit({ attempts: [attempt(5)] }, [two, three])),
      stale,
    );
    assert.deepEqual(await b.ledger.handledAfter('sub.0', 'main', ''), [at(1)]);
    assert.equal((await b.directory.get('app', 'default', 'shop'))?.version, 1);

    // Slot 1 is a's again, as it had not given it back; 3 and 4 are nobody's.
    assert.deepEqual(await a.leases.renew(0), [one, two]);
    assert.deepEqual(await b.leases.renew(0), []);
    assert.deepEqual(await b.leases.take([1, 2]), []);
    const again = await b.leases.take([3, 4]);
    assert.deepEqual(numbers(again), [3, 4]);
    assert.equal(again[0]!.epoch, three.epoch, 'the number comes twice, so it is the token that tells');
    await assert.rejects(a.leases.commit({ attempts: [attempt(6)] }, [three]), stale);
    await a.leases.commit({ attempts: [attempt(2)] }, [one, two]);
    await b.leases.commit({ attempts: [attempt(4)] }, again);
    assert.deepEqual(await a.ledger.handledAfter('sub.0', 'main', ''), [at(1), at(2), at(4)]);

    // Both have told their watchers of a change that is no more; its number is another change's, and there is one after it.
    await bothFailed;
    for (const { message } of failures) assert.match(message, /earlier state.*started again/);
  },
);
