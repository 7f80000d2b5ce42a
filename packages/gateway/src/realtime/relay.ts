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
  /** That a node asks, and no client. */
  readonly proof: string;
  readonly limits: Limits;
}

interface Answer {
  readonly op: string;
  readonly ids?: readonly string[];
  readonly ref?: string;
  readonly code?: string;
}

interface Waiting {
  /** Undefined where the owner knows which they are. */
  readonly ids: readonly string[] | undefined;
  readonly known: string[];
  readonly unknown: string[];
  readonly resolve: (settled: Settled) => void;
}

const SUB = 1;
const MSG = /^\{"op":"msg","sub":\d+/;
const MSG_BYTES = 40;

/** Resolves when it is a consumer there. Rejects with `moving` where the node can't be reached or does not work it. */
export async function joinThere({ address, group, consumer, credentials, proof, limits }: Needs): Promise<GroupSub> {
  const socket = new WebSocket(new URL(STREAM_PATH, address.replace(/^http/, 'ws')), SUBPROTOCOL, {
    headers: { authorization: credentials, [RELAYED]: proof },
    perMessageDeflate: false,
    handshakeTimeout: limits.helloMs,
    maxPayload: 2 * limits.frameBytes,
  });
  /** By the ref of the question. */
  const waiting = new Map<string, Waiting>();
  let questions = 0;
  let isIn = false;
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
    for (const { ids, known, resolve } of waiting.values())
      resolve({ known, unknown: (ids ?? []).filter((id) => !known.includes(id)) });
    waiting.clear();
    drained?.();
    socket.close();
    if (isIn) consumer.left();
  }

  /** What counts comes first, then what does not; either may be missing. */
  function answered({ op, ref = '', ids = [] }: Answer): void {
    const asked = waiting.get(ref);
    if (asked === undefined) return;
    (op === 'error' ? asked.unknown : asked.known).push(...ids);
    if (op !== 'error' && asked.ids !== undefined && asked.known.length < asked.ids.length) return;
    waiting.delete(ref);
    asked.resolve(asked);
  }

  function heard(frame: Answer): void {
    switch (frame.op) {
      case 'subed':
        isIn = true;
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
        return frame.ref === undefined || frame.code !== 'unknown_delivery' ? over() : answered(frame);
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
  socket.once('open', () =>
    say({ op: 'hello', v: 1, token: tokenIn(credentials) }, { op: 'sub', sub: SUB, group, credit: 0, create: false }),
  );

  function ask(frame: object, ids: readonly string[] | undefined): Promise<Settled> {
    if (isOver) return Promise.resolve({ known: [], unknown: ids ?? [] });
    const ref = String(++questions);
    return new Promise((resolve) => {
      waiting.set(ref, { ids, known: [], unknown: [], resolve });
      say({ ...frame, sub: SUB, ref });
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
    settle({ ids, through }, { kind, delayMs, reason }) {
      const which = ids === undefined ? { through } : { ids };
      if (kind === 'acked') return ask({ op: 'ack', ...which }, ids);
      return ask({ op: 'nack', ...which, delayMs, reason, dead: kind === 'dead' }, ids);
    },
    extend: (ids, ms) => ask({ op: 'extend', ids, ms }, ids),
    renew: (authorization) => say({ op: 'auth', token: tokenIn(authorization) }),
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

/** Without the scheme. */
const tokenIn = (authorization: string): string => authorization.replace(/^Bearer +/i, '');

const moving = (): Problem =>
  new Problem('moving', 'the group is being moved to another node', { retryAfterMs: 1_000, advice: 'Subscribe again.' });
