/** Consumers of one group on several nodes, whichever of them works it: killed consumers, killed nodes. */
import assert from 'node:assert/strict';
import { after, describe, test, type TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

const found = await findBrokers();
after(async () => {
  if (found.skip === false) await found.remove();
});

const EVENTS = 300;
const KEYS = 10;
const GROUP = 'mailer';
const CREDIT = 4;
/** How long nobody may take it, past which something hangs: a killed node is followed within its lease of 2 s. */
const LIMIT_MS = 120_000;

/** What all consumers saw together. */
interface Seen {
  /** By key, numbers of events in the order in which they first came. */
  readonly order: Map<string, number[]>;
  readonly confirmed: Set<string>;
  /** Acked over a connection that ended before the answer: it was heard, or it comes again. */
  readonly doubtful: Set<string>;
  readonly again: string[];
  readonly all: PromiseWithResolvers<void>;
}

describe('a group over three nodes', { skip: found.skip, timeout: LIMIT_MS }, () => {
  test('loses nothing, keeps the order of each key and repeats nothing confirmed, with a consumer and a node killed', async (t) => {
    if (found.skip !== false) return;
    const environment = sharedKey();
    const first = await startNode(t, found, { environment });
    const nodes = [first, ...(await Promise.all([1, 2].map(() => startNode(t, found, { environment, key: first.key }))))];
    const seen: Seen = {
      order: new Map(),
      confirmed: new Set(),
      doubtful: new Set(),
      again: [],
      all: Promise.withResolvers(),
    };
    const alive = new Set(nodes);
    const consumers = await Promise.all(nodes.map((node) => consume(t, { node, alive, seen })));

    for (let n = 0; n < EVENTS; n++) {
      if (n === EVENTS / 3) consumers[0]?.kill();
      if (n === (2 * EVENTS) / 3) {
        const killed = nodes[1] as TestNode;
        alive.delete(killed);
        killed.running.child.kill('SIGKILL');
      }
      await publish(alive, n);
    }
    await seen.all.promise;
    assert.deepEqual(seen.again, []);
    for (let key = 0; key < KEYS; key++)
      assert.deepEqual(
        seen.order.get(`k${key}`),
        Array.from({ length: EVENTS / KEYS }, (_, at) => at * KEYS + key),
      );
    // No more than may be out with a consumer that goes, or with the one whose node does, and the two whose group did.
    assert.ok(EVENTS - seen.confirmed.size <= 4 * CREDIT, `${seen.confirmed.size} confirmed`);
  });
});

/** To any node that lives; sent again with the same id where it was not answered. */
async function publish(alive: ReadonlySet<TestNode>, n: number): Promise<void> {
  for (;;) {
    for (const { address, key } of alive) {
      const answer = await fetch(`${address}/v1/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ type: 'mails.sent', id: `m${n}`, source: '/test', partitionkey: `k${n % KEYS}`, data: { n } }),
      }).catch(() => undefined);
      if (answer?.status === 202) return;
    }
    // real time: what it waits for happens in other processes
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

interface Needs {
  readonly node: TestNode;
  readonly alive: ReadonlySet<TestNode>;
  readonly seen: Seen;
}

/** Resolves when it is a consumer. It comes back to a node that lives, until it is killed. */
async function consume(t: Pick<TestContext, 'after'>, { node, alive, seen }: Needs): Promise<{ kill(): void }> {
  let socket: WebSocket | undefined;
  let isKilled = false;
  const kill = (): void => {
    isKilled = true;
    socket?.terminate();
  };
  t.after(kill);

  function connect(to: TestNode): Promise<void> {
    return new Promise((resolve) => {
      const own = new WebSocket(`${to.address.replace('http', 'ws')}/v1/stream`, 'millrace.v1');
      socket = own;
      const say = (...frames: readonly object[]): void => {
        if (own.readyState === WebSocket.OPEN) own.send(JSON.stringify(frames));
      };
      own.on('open', () =>
        say(
          { op: 'hello', v: 1, token: to.key },
          { op: 'sub', sub: 1, group: GROUP, topics: ['mails.*'], from: 'earliest', credit: CREDIT },
        ),
      );
      own.on('error', () => undefined);
      own.on('close', () => {
        for (const event of byDelivery.values()) seen.doubtful.add(event);
        byDelivery.clear();
        look();
        if (isKilled) return;
        const [other] = [...alive].filter((one) => one !== to);
        // real time: the others follow within their lease
        setTimeout(() => void connect(other ?? to).then(resolve), 200);
      });
      own.on('message', (data: Buffer) => {
        const frame = JSON.parse(data.toString());
        if (frame.op === 'subed') resolve();
        if (frame.op === 'ping') say({ op: 'pong' });
        // It is moving: from the beginning.
        if (frame.op === 'error' && frame.code !== 'unknown_delivery') own.close();
        if (frame.op === 'msg') take(frame, say);
        if (frame.op === 'acked') for (const id of frame.ids) confirm(id);
      });
    });
  }

  /** Of the present connection: events that were acked and not confirmed yet. */
  const byDelivery = new Map<string, string>();

  function take(
    { id, event }: { id: string; event: { id: string; partitionkey: string; data: { n: number } } },
    say: (frame: object) => void,
  ): void {
    if (seen.confirmed.has(event.id)) seen.again.push(event.id);
    const order = seen.order.getOrInsertComputed(event.partitionkey, () => []);
    if (!order.includes(event.data.n)) order.push(event.data.n);
    byDelivery.set(id, event.id);
    say({ op: 'ack', sub: 1, ids: [id], credit: 1 });
  }

  function confirm(id: string): void {
    seen.confirmed.add(byDelivery.get(id) ?? '');
    byDelivery.delete(id);
    look();
  }

  /** All is confirmed, but for what nobody can know. */
  function look(): void {
    if (seen.confirmed.union(seen.doubtful).size === EVENTS) seen.all.resolve();
  }

  await connect(node);
  return { kill };
}
