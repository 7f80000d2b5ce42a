/**
 * A consumer whose group another node works: this node speaks `millrace.v1` to that one on its behalf, with its own token, over a
 * connection for this sub alone. An ack names subscription and position, so it counts whoever is asked; when the slot moves the connection's
 * sub is over, and the consumer is told that it left.
 */
import { Problem } from '@millrace/core/problem';
import { WebSocket } from 'ws';
import type { Limits } from '../limits.ts';
import type { GroupConsumer, GroupSub, Settled } from './member.ts';
import { STREAM_PATH, SUBPROTOCOL } from './websocket.ts';

/** Set on what one node opens at another: it is not relayed again. */
export const RELAYED = 'millrace-relayed';

interface Needs {
  readonly address: string;
  readonly group: string;
  readonly consumer: GroupConsumer;
  /** The consumer's own, as an Authorization header. */
  readonly credentials: string;
  readonly limits: Limits;
}

interface Answer {
  readonly op: string;
  readonly sub?: number;
  readonly ids?: readonly string[];
  readonly code?: string;
  readonly detail?: string;
}

interface Waiting {
  readonly ids: ReadonlySet<string> | undefined;
  readonly known: string[];
  readonly unknown: string[];
  readonly resolve: (settled: Settled) => void;
}

const SUB = 1;
const MSG = /^\{"op":"msg","sub":\d+/;
const MSG_BYTES = 40;

/** Resolves when it is a consumer there. Rejects with `moving` where the node can't be reached or does not work it. */
export async function joinThere({ address, group, consumer, credentials, limits }: Needs): Promise<GroupSub> {
  const socket = new WebSocket(new URL(STREAM_PATH, address.replace(/^http/, 'ws')), SUBPROTOCOL, {
    headers: { authorization: credentials, [RELAYED]: '1' },
    perMessageDeflate: false,
    handshakeTimeout: limits.helloMs,
    maxPayload: 2 * limits.frameBytes,
  });
  const waiting: Waiting[] = [];
  const joined = Promise.withResolvers<void>();
  let drained: (() => void) | undefined;
  let credit = 0;
  let isOver = false;

  const say = (...frames: readonly object[]): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frames));
  };

  function over(): void {
    if (isOver) return;
    isOver = true;
    joined.reject(moving());
    for (const one of waiting)
      one.resolve({ known: one.known, unknown: [...(one.ids ?? [])].filter((id) => !one.known.includes(id)) });
    drained?.();
    socket.close();
    consumer.left();
  }

  /** Answers to what was asked come in the order of the questions. */
  function answered({ op, ids = [] }: Answer): void {
    const first = waiting[0];
    if (first === undefined) return;
    (op === 'error' ? first.unknown : first.known).push(...ids);
    const isWhole = first.ids === undefined || first.known.length + first.unknown.length >= first.ids.size;
    if (isWhole) waiting.shift()?.resolve(first);
  }

  function heard(frame: Answer): void {
    switch (frame.op) {
      case 'subed':
        return joined.resolve();
      case 'acked':
      case 'nacked':
      case 'extended':
        return answered(frame);
      case 'unsubed':
        return drained?.();
      case 'ping':
        return say({ op: 'pong' });
      case 'error':
        return frame.code === 'unknown_delivery' ? answered(frame) : over();
    }
  }

  socket.on('message', (data: Buffer) => {
    const head = data.subarray(0, MSG_BYTES).toString('latin1');
    const found = MSG.exec(head);
    if (found === null) return heard(JSON.parse(data.toString()) as Answer);
    credit--;
    // The event's bytes pass as they are.
    consumer.take(Buffer.concat([Buffer.from(`{"op":"msg","sub":${consumer.sub}`), data.subarray(found[0].length)]));
  });
  socket.on('error', over);
  socket.on('close', over);
  socket.once('open', () => say({ op: 'hello', v: 1 }, { op: 'sub', sub: SUB, group, credit: 0, create: false }));

  function ask(frame: object, ids: readonly string[] | undefined): Promise<Settled> {
    if (isOver) return Promise.resolve({ known: [], unknown: ids ?? [] });
    return new Promise((resolve) => {
      waiting.push({ ids: ids === undefined ? undefined : new Set(ids), known: [], unknown: [], resolve });
      say(frame);
    });
  }

  await joined.promise;
  return {
    get credit() {
      return credit;
    },
    addCredit(count) {
      credit += count;
      if (count > 0) say({ op: 'credit', sub: SUB, add: count });
    },
    hold: (isHeld) => (isHeld ? socket.pause() : socket.resume()),
    settle(which, { kind, delayMs, reason }) {
      const of = { sub: SUB, ...which };
      if (kind === 'acked') return ask({ op: 'ack', ...of }, which.ids);
      return ask({ op: 'nack', ...of, delayMs, reason, dead: kind === 'dead' }, which.ids);
    },
    extend: (ids, ms) => ask({ op: 'extend', sub: SUB, ids, ms }, ids),
    drain() {
      return new Promise((resolve) => {
        drained = resolve;
        if (isOver) resolve();
        say({ op: 'unsub', sub: SUB, drain: true });
      });
    },
    leave(how) {
      if (isOver) return;
      isOver = true;
      if (how === 'gone') return socket.terminate();
      say({ op: 'bye' });
      socket.close();
    },
  };
}

const moving = (): Problem =>
  new Problem('moving', 'the group is being moved to another node', { retryAfterMs: 1_000, advice: 'Subscribe again.' });
