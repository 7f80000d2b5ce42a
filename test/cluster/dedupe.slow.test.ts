/**
 * Publishing with idempotency keys through two gateways, on every log and store: once appended within the window, also where one of
 * them dies in the middle. Time is real: brokers and databases have their own.
 */
import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { Problem } from '../../packages/core/src/problem.ts';
import { openEmbedded } from '../../packages/embedded/src/embedded.ts';
import { createScriptedSender, START_MS, TOPIC } from '../../packages/gateway/test/clock.ts';
import { temporary } from '../../packages/gateway/test/process.ts';
import type { Draft, Gateway, Published } from '../../packages/gateway/src/api.ts';
import { createGateway } from '../../packages/gateway/src/gateway.ts';
import type { Limits } from '../../packages/gateway/src/limits.ts';
import type { Log } from '../../packages/gateway/src/ports/log.ts';
import type { Store } from '../../packages/gateway/src/start.ts';
import { systemClock } from '../../packages/gateway/src/system-clock.ts';
import { createVault } from '../../packages/gateway/src/vault.ts';
import { openNats } from '../../packages/log-nats/src/log-nats.ts';
import { createMemoryClaims } from '../../packages/memory/src/claims.ts';
import { createMemoryDirectory } from '../../packages/memory/src/directory.ts';
import { createMemoryLedger } from '../../packages/memory/src/ledger.ts';
import { createMemoryLog } from '../../packages/memory/src/log.ts';
import { openPostgres } from '../../packages/store-postgres/src/store-postgres.ts';
import { testServer } from '../../packages/store-postgres/src/testing.ts';
import { findBroker } from '../../scripts/brokers/find.ts';
import { sharedKey, startNode } from './nodes.ts';

const nats = await findBroker('nats');
const postgres = await testServer();
after(() => nats.server?.remove());

type Suite = Pick<TestContext, 'after'>;
type Opened = Omit<Store, 'close'>;

interface Kind {
  readonly name: string;
  readonly skip: string | false;
  /** Opens a log and a store that nobody else has; what is returned opens them as a further node does. */
  readonly open: (t: Suite, windowMs: number) => Promise<() => Promise<Opened>>;
}

let streams = 0;

async function natsOf(t: Suite, dedupeWindowMs: number): Promise<() => Promise<Log>> {
  const stream = `DEDUPE-${process.pid}-${++streams}`;
  return async () => {
    const log = await openNats({ servers: nats.server!.url, stream, subjectPrefix: stream, dedupeWindowMs });
    t.after(() => log.close());
    return log;
  };
}

async function embeddedIn(t: Suite): Promise<Opened> {
  const store = await openEmbedded({ directory: temporary(t) });
  t.after(() => store.close());
  return store;
}

const KINDS: readonly Kind[] = [
  {
    name: 'memory',
    skip: false,
    async open() {
      const stores = {
        log: createMemoryLog({ dedupe: false }),
        directory: createMemoryDirectory(),
        ledger: createMemoryLedger(),
        claims: createMemoryClaims(),
      };
      return async () => stores;
    },
  },
  {
    name: 'embedded',
    skip: false,
    async open(t) {
      const store = await embeddedIn(t);
      return async () => store;
    },
  },
  {
    name: 'NATS with the embedded store',
    skip: nats.skip,
    async open(t, windowMs) {
      const [log, store] = [await natsOf(t, windowMs), await embeddedIn(t)];
      return async () => ({ ...store, log: await log() });
    },
  },
  {
    name: 'NATS with Postgres',
    skip: nats.skip || postgres.skip,
    async open(t, windowMs) {
      const [log, schema] = [await natsOf(t, windowMs), postgres.schema()];
      return async () => {
        const store = await openPostgres({ url: postgres.url, schema });
        t.after(() => store.close());
        return { ...store, log: await log() };
      };
    },
  },
];

interface Node {
  readonly gateway: Gateway;
  readonly log: Log;
  /** The log hears of no append of it any more, or tells it of none, and it ends as a crash would. */
  die(when: 'before' | 'after'): { readonly begun: Promise<void> };
  publish(draft: Partial<Draft>, idempotencyKey?: string): Promise<Published>;
}

/** Real time passes in these tests: as little as tells one from the other. */
const FAST = { claimMs: 2_000 };
const STREAM_MS = 100;

async function nodeOn(t: Suite, open: () => Promise<Opened>, limits: Partial<Limits>): Promise<Node> {
  const { log, directory, ledger, claims } = await open();
  let death: 'before' | 'after' | undefined;
  const begun = Promise.withResolvers<void>();
  const never = new Promise<never>(() => undefined);
  const mortal: Log = {
    ...log,
    async append(entries) {
      if (death === 'before') begun.resolve();
      if (death === 'before') return never;
      const appended = await log.append(entries);
      if (death === 'after') begun.resolve();
      return death === 'after' ? never : appended;
    },
  };
  if ((await directory.get('topic', 'default', 'orders.created')) === undefined)
    await directory.put('topic', 'default', 'orders.created', { ...TOPIC, createdMs: START_MS });
  const vault = createVault(new Uint8Array(32).fill(7));
  const ports = { log: mortal, directory, ledger, claims, sender: createScriptedSender(systemClock), clock: systemClock, vault };
  const gateway = createGateway({ ports, limits });
  await gateway.start();
  t.after(() => gateway.abandon());
  return {
    gateway,
    log,
    die(when) {
      death = when;
      void begun.promise.then(() => gateway.abandon());
      return { begun: begun.promise };
    },
    async publish(draft, idempotencyKey) {
      const event = { type: 'orders.created', data: Buffer.from('1'), ...draft };
      const key = idempotencyKey === undefined ? {} : { idempotencyKey };
      return (await gateway.publish({ environment: 'default', app: 'shop', events: [event], ...key }))[0]!;
    },
  };
}

/** As a good client does. */
async function untilAnswered(work: () => Promise<Published>): Promise<Published> {
  for (;;) {
    const answer = await work().catch(ifLate);
    if (answer.status !== 'refused' || !['in_flight', 'ledger_unavailable'].includes(answer.problem.code)) return answer;
    assert.equal(answer.problem.retryAfterMs, 1_000);
    // real time: what it waits for happens elsewhere
    await passed(20);
  }
}

/** With claims that are old so soon, a store on a busy machine is too late now and then: the client is told to send it again. */
function ifLate(problem: unknown): Published {
  if (problem instanceof Problem && problem.code === 'ledger_unavailable') return { status: 'refused', problem };
  throw problem;
}

async function idsIn(log: Log): Promise<readonly string[]> {
  const [shard] = log.shards();
  const ids: string[] = [];
  for (let page, after = ''; page?.atEnd !== true; after = page.through) {
    page = await log.read({ shard: shard!, after, limit: 1_000, maxBytes: 2 ** 24 });
    ids.push(...page.records.map(({ event }) => event.id));
  }
  return ids;
}

const codeOf = (one: Published): string => (one.status === 'refused' ? one.problem.code : one.status);

function placeOf(one: Published): unknown {
  assert.ok(one.status !== 'refused', codeOf(one));
  return [one.id, one.shard, one.position];
}

for (const kind of KINDS) {
  describe(`idempotency keys on ${kind.name}`, { skip: kind.skip, timeout: 120_000 }, () => {
    async function two(t: Suite, limits: Partial<Limits> = FAST, windowMs = STREAM_MS): Promise<readonly [Node, Node]> {
      const open = await kind.open(t, windowMs);
      return [await nodeOn(t, open, limits), await nodeOn(t, open, limits)];
    }

    test('many at once through both append one event, and all are told of it', async (t) => {
      const nodes = await two(t);
      const calls = Array.from({ length: 40 }, (_, i) => untilAnswered(() => nodes[i % 2]!.publish({}, 'k')));
      const answers = await Promise.all(calls);
      assert.equal(answers.filter(({ status }) => status === 'appended').length, 1);
      for (const answer of answers) assert.deepEqual(placeOf(answer), placeOf(answers[0]!));
      assert.equal((await idsIn(nodes[0].log)).length, 1);
    });

    test('a key is remembered though the log has forgotten it, and refused for other content', async (t) => {
      const [a, b] = await two(t);
      const first = await a.publish({}, 'k');
      const own = await a.publish({ id: '7', source: '/shop' });
      // real time: the stream forgets by its own clock
      await passed(3 * STREAM_MS);
      for (const node of [a, b]) {
        assert.deepEqual(placeOf(await node.publish({}, 'k')), placeOf(first));
        assert.deepEqual(placeOf(await node.publish({ id: '7', source: '/shop' })), placeOf(own));
        const other = await node.publish({ data: Buffer.from('2') }, 'k');
        assert.ok(other.status === 'refused' && other.problem.code === 'idempotency_key_reused' && other.problem.status === 422);
      }
      assert.equal((await idsIn(a.log)).length, 2);
    });

    test('in a batch each event has its own, and one that is there twice is stored once', async (t) => {
      const [a, b] = await two(t);
      const events = Array.from({ length: 100 }, (_, i) => ({ type: 'orders.created', id: `${i % 50}`, source: '/shop' }));
      const request = { environment: 'default', app: 'shop', events };
      const first = await a.gateway.publish(request);
      assert.deepEqual(
        first.map(({ status }) => status),
        events.map((_, i) => (i < 50 ? 'appended' : 'duplicate')),
      );
      await passed(3 * STREAM_MS); // real time: as above
      assert.deepEqual((await b.gateway.publish(request)).map(placeOf), first.map(placeOf));
      assert.equal((await idsIn(a.log)).length, 50);
      assert.equal(codeOf((await b.gateway.publish({ ...request, app: 'crm' }))[0]!), 'appended');
    });

    test('a key may be used anew when its window is over', async (t) => {
      const [a, b] = await two(t, { claimMs: 2_000, dedupeWindowMs: 2_200 });
      await untilAnswered(() => a.publish({ data: Buffer.from('1') }, 'k'));
      // real time: the window is the subject
      await passed(2_300);
      assert.equal(codeOf(await untilAnswered(() => b.publish({ data: Buffer.from('2') }, 'k'))), 'appended');
      assert.equal((await idsIn(b.log)).length, 2);
    });

    test('a gateway that dies before its append leaves the key to one of those who ask for it', async (t) => {
      const [a, b] = await two(t);
      const open = a.die('before');
      void a.publish({ id: '1', source: '/shop' });
      await open.begun;
      const again = () => untilAnswered(() => b.publish({ id: '1', source: '/shop' }));
      const answers = await Promise.all([again(), again(), again()]);
      assert.deepEqual(answers.map(codeOf).toSorted(), ['appended', 'duplicate', 'duplicate']);
      assert.deepEqual(await idsIn(b.log), ['1']);
    });

    test('a gateway that dies after its append has published: the event is found', async (t) => {
      const [a, b] = await two(t);
      const open = a.die('after');
      void a.publish({ id: '1', source: '/shop' });
      await open.begun;
      await passed(2 * STREAM_MS); // real time: the stream forgets by its own clock
      const found = await untilAnswered(() => b.publish({ id: '1', source: '/shop' }));
      assert.equal(codeOf(found), 'duplicate');
      assert.equal(codeOf(await b.publish({ id: '1', source: '/shop', data: Buffer.from('2') })), 'idempotency_key_reused');
      assert.deepEqual(await idsIn(b.log), ['1']);
    });

    test('where the log still knows the key nobody waits for a gateway that died', async (t) => {
      for (const when of ['before', 'after'] as const) {
        const [a, b] = await two(t, { claimMs: 30_000 }, 120_000);
        if (kind.name === 'memory') return t.skip('gap: this log knows no keys');
        const open = a.die(when);
        void a.publish({ id: '1', source: '/shop' });
        await open.begun;
        const answer = await b.publish({ id: '1', source: '/shop' });
        assert.equal(codeOf(answer), when === 'before' ? 'appended' : 'duplicate');
        assert.deepEqual(await idsIn(b.log), ['1']);
      }
    });

    test('what was published before a stop is known to who starts after it', async (t) => {
      const open = await kind.open(t, STREAM_MS);
      const first = await nodeOn(t, open, FAST);
      const answer = await first.publish({}, 'k');
      await first.gateway.stop();
      await passed(3 * STREAM_MS); // real time: as above
      assert.deepEqual(placeOf(await (await nodeOn(t, open, FAST)).publish({}, 'k')), placeOf(answer));
    });
  });
}

const both = nats.skip || postgres.skip;

test('the stream of these tests does forget: without claims the same key is appended twice', { skip: nats.skip }, async (t) => {
  const open = await natsOf(t, STREAM_MS);
  const store = await embeddedIn(t);
  const node = await nodeOn(t, async () => ({ log: await open(), directory: store.directory, ledger: store.ledger }), {});
  await node.publish({}, 'k');
  await passed(3 * STREAM_MS); // real time: as above
  await node.publish({}, 'k');
  assert.equal((await idsIn(node.log)).length, 2);
});

test('without Postgres a publish with a key is refused for now, and one without goes on', { skip: both }, async (t) => {
  const open = await KINDS.at(-1)!.open(t, STREAM_MS);
  const [first, second] = [await nodeOn(t, open, { claimMs: 30_000 }), await nodeOn(t, open, { claimMs: 30_000 })];
  const answer = await first.publish({}, 'k');
  await postgres.stop();
  try {
    for (const key of ['k', 'other'])
      await assert.rejects(second.publish({}, key), { code: 'ledger_unavailable', status: 503, retryAfterMs: 1_000 });
    assert.equal(codeOf(await second.publish({})), 'appended');
  } finally {
    await postgres.start();
  }
  const back = (key: string) => untilAnswered(() => second.publish({}, key));
  let again: Published | undefined;
  while (again === undefined) {
    again = await back('k').catch(() => undefined);
    await passed(20); // real time: a server that starts again takes some
  }
  assert.deepEqual(placeOf(again), placeOf(answer));
  assert.equal(codeOf(await back('other')), 'appended');
  assert.equal((await idsIn(second.log)).length, 3);
});

test('nodes as they are started know one another’s keys, also those of one that was killed', { skip: both }, async (t) => {
  const stream = `DEDUPE-${process.pid}-${++streams}`;
  const log = `${nats.server!.url}?stream=${stream}&prefix=${stream}&dedupe=100ms`;
  const brokers = { log, store: postgres.url };
  const environment = sharedKey();
  const first = await startNode(t, brokers, { environment });
  const second = await startNode(t, brokers, { environment, key: first.key });
  const publish = (node: typeof first) => node.ask('POST /v1/events', { type: 'orders.created', id: '1', source: '/t', data: 1 });
  const answer = await publish(first);
  assert.deepEqual([answer.status, answer.json.status], [202, 'appended']);
  first.running.child.kill('SIGKILL');
  await first.running.ended;
  await passed(3 * STREAM_MS); // real time: as above
  let again = await publish(second);
  while (again.status === 409) {
    await passed(1_000); // real time: as Retry-After says
    again = await publish(second);
  }
  assert.deepEqual(again.json, { ...answer.json, status: 'duplicate' });
});
