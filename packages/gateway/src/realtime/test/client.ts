/** A client of `millrace.v1` in the test's hands: it sends what it is told, and what comes is read frame by frame. */
import type { Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { WebSocket } from 'ws';
import { type Door, type DoorOptions, openDoor } from '../../http/test/door.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- frames of every shape
export type Frame = any;

export interface Client {
  readonly socket: WebSocket;
  say(...frames: readonly object[]): void;
  /** As it is, frame or not. */
  raw(text: string | Buffer): void;
  /** The next frame with this op; what came before it and has another is left for others to ask for. */
  next(op: string): Promise<Frame>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** hello and welcome. */
  hello(token?: string): Promise<Frame>;
}

export interface RealtimeDoor extends Door {
  client(headers?: Readonly<Record<string, string>>): Promise<Client>;
  publish(type: string, data: unknown, more?: object): Promise<string>;
  /** Of clients that answer no goodbye: they are cut before the gateway stops, which would wait for them. */
  readonly silent: Set<Socket>;
}

export async function realtime(
  t: TestContext,
  limits: Readonly<Record<string, number>> = {},
  options: DoorOptions = {},
): Promise<RealtimeDoor> {
  const silent = new Set<Socket>();
  t.after(() => silent.forEach((socket) => socket.destroy()));
  const door = await openDoor(t, limits, options);
  return {
    ...door,
    silent,
    client: (headers = {}) => clientAt(t, door.app.listeningOrigin, door.admin, headers),
    async publish(type, data, more = {}) {
      const { json } = await door.ask('POST /v1/events', { json: { type, data, ...more } });
      return json.id;
    },
  };
}

/** A client of the node at `origin`; `key` is what it says hello with. */
export async function clientAt(
  t: Pick<TestContext, 'after'>,
  origin: string,
  key: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Client> {
  const socket = await connect(`${origin.replace('http', 'ws')}/v1/stream`, headers);
  t.after(() => socket.terminate());
  return clientOf(socket, key);
}

function connect(url: string, headers: Readonly<Record<string, string>>): Promise<WebSocket> {
  const socket = new WebSocket(url, 'millrace.v1', { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

function clientOf(socket: WebSocket, admin: string): Client {
  const frames: Frame[] = [];
  let wake = (): void => undefined;
  let over: { readonly code: number; readonly reason: string } | undefined;
  socket.on('message', (data: Buffer) => {
    const message: Frame = JSON.parse(data.toString());
    frames.push(...(Array.isArray(message) ? message : [message]));
    wake();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.once('close', (code, reason) => {
      over = { code, reason: reason.toString() };
      resolve(over);
      wake();
    });
  });
  const client: Client = {
    socket,
    closed,
    say: (...all) => socket.send(JSON.stringify(all.length === 1 ? all[0] : all)),
    raw: (text) => socket.send(text),
    async next(op) {
      for (;;) {
        const at = frames.findIndex((frame) => frame.op === op);
        if (at >= 0) return frames.splice(at, 1)[0];
        if (over !== undefined)
          throw new Error(`closed with ${over.code} ${over.reason} before ${op}: ${JSON.stringify(frames)}`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
    hello(token = admin) {
      client.say({ op: 'hello', v: 1, token });
      return client.next('welcome');
    },
  };
  return client;
}
