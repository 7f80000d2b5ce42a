/** A group that is pulled at one node and acked at the other, whichever of them works it. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

const found = await findBrokers();
after(async () => {
  if (found.skip === false) await found.remove();
});

const EVENTS = 24;
/** How long nobody may take it, past which something hangs. */
const LIMIT_MS = 120_000;

interface Frame {
  readonly op: string;
  readonly id: string;
  readonly ids: readonly string[];
  readonly event: { readonly id: string; readonly data: { readonly n: number } };
}

describe('pulls over two nodes', { skip: found.skip, timeout: LIMIT_MS }, () => {
  test('lose nothing and repeat nothing confirmed where each is acked at the other node, nor with a client that hangs up', async (t) => {
    if (found.skip !== false) return;
    const environment = sharedKey();
    const one = await startNode(t, found, { environment });
    const other = await startNode(t, found, { environment, key: one.key });
    assert.equal(new Set(await Promise.all([one, other].map(nodeOf))).size, 2);
    await pullGroups(one, other);
    await hungUp(one, other);
  });
});

async function pullGroups(one: TestNode, other: TestNode): Promise<void> {
  // Of several groups each node works some.
  const groups = ['a', 'b', 'c', 'd', 'e', 'f'];
  for (const id of groups)
    assert.equal((await one.ask(`PUT /v1/subscriptions/${id}`, { topics: ['mails.*'], deliver: { stream: {} } })).status, 201);
  for (let n = 0; n < EVENTS; n++)
    assert.equal(
      (await one.ask('POST /v1/events', { type: 'mails.sent', id: `m${n}`, source: '/test', data: { n } })).status,
      202,
    );

  for (const group of groups) await pullAll(group, [one, other]);
}

/** Asks the nodes in turn, and acks at the one what the other handed over. Nothing that was confirmed comes again. */
async function pullAll(group: string, nodes: readonly [TestNode, TestNode]): Promise<void> {
  const confirmed = new Set<string>();
  let out = new Map<string, string>();
  for (let turn = 0; confirmed.size < EVENTS; turn++) {
    const acks = out.size === 0 ? [] : [{ op: 'ack', group, ids: [...out.keys()] }];
    const waitMs = confirmed.size + out.size < EVENTS ? 10_000 : 0;
    const frames = await pull(nodes[turn % 2] as TestNode, [...acks, { op: 'sub', group, credit: 5, waitMs }]);
    // Of a group that moved in between some may come again: these were not confirmed.
    for (const id of frames.find(({ op }) => op === 'acked')?.ids ?? []) confirmed.add(out.get(id) ?? '');
    out = new Map(frames.flatMap(({ op, id, event }) => (op === 'msg' ? [[id, event.id] as const] : [])));
    for (const id of out.values()) assert.ok(!confirmed.has(id), `${id} came again`);
  }
  assert.ok(!confirmed.has(''));
}

async function hungUp(one: TestNode, other: TestNode): Promise<void> {
  // Longer than the test may take: what came before it was given back.
  const json = { topics: ['calls.*'], deliver: { stream: { ackWait: '10m' } } };
  assert.equal((await one.ask('PUT /v1/subscriptions/phone', json)).status, 201);
  for (const node of [one, other]) {
    const gone = new AbortController();
    const waiting = pull(node, [{ op: 'sub', group: 'phone', credit: 1, waitMs: 60_000 }], gone.signal);
    // What is answered tells that those before it have come in.
    await pull(node, []);
    gone.abort();
    await assert.rejects(waiting);
    // Else it may be answered before it is known that nobody listens: then it would be out for as long as an ack may take.
    await untilLeft(node);
    await one.ask('POST /v1/events', { type: 'calls.made', data: { n: 1 } });
    const [, msg] = await pull(other, [{ op: 'sub', group: 'phone', credit: 1, waitMs: 60_000 }]);
    assert.equal(msg?.event.data.n, 1);
    assert.equal((await pull(one, [{ op: 'ack', group: 'phone', ids: [msg?.id] }]))[0]?.op, 'acked');
  }
}

/** Nothing tells of it: it is asked for until it is so. */
async function untilLeft(node: TestNode): Promise<void> {
  for (;;) {
    const { json } = await node.ask('GET /v1/apps/default/usage');
    if (json.open.connections === 0) return;
  }
}

/** What a client is told it speaks to. */
async function nodeOf({ address, key }: TestNode): Promise<string> {
  const stream = await fetch(`${address}/v1/sse`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify([{ op: 'hello', v: 1 }, { op: 'bye' }]),
  });
  const node = /"node":"([^"]+)"/.exec(await stream.text())?.[1] ?? '';
  assert.match(node, /^#[0-9a-f]{6}$/);
  return node;
}

/** As a good client does: what is being moved is asked for again. */
async function pull({ address, key }: TestNode, json: readonly object[], signal?: AbortSignal): Promise<Frame[]> {
  for (;;) {
    const answer = await fetch(`${address}/v1/pull`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(json),
      ...(signal === undefined ? {} : { signal }),
    });
    assert.equal(answer.status, 200);
    const frames = (await answer.json()) as (Frame & { readonly code?: string })[];
    if (!frames.some(({ code }) => code === 'moving')) return frames;
    // real time: what it waits for happens in other processes
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
