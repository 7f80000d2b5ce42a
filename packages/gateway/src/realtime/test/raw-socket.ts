/** A WebSocket by hand (RFC 6455): bytes as a test wants them, however wrong, and what the gateway says to them. */
import { once } from 'node:events';
import net from 'node:net';
import type { TestContext } from 'node:test';
import type { Frame, RealtimeDoor } from './client.ts';

export interface RawSocket {
  readonly socket: net.Socket;
  /** The gateway's end. */
  readonly inside: net.Socket;
  write(...parts: readonly Uint8Array[]): void;
  /** The next text message with this op. */
  next(op: string): Promise<Frame>;
  /** Resolves with the code of the close frame that came, or undefined where the connection is over without one. */
  readonly closed: Promise<number | undefined>;
}

export const OP = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

interface Framed {
  readonly opcode?: number;
  readonly fin?: boolean;
  /** Of the three reserved bits. */
  readonly reserved?: number;
  readonly masked?: boolean;
  /** What it says, whatever follows. */
  readonly length?: bigint;
}

const MASK = Buffer.from([0x5a, 0xa5, 0x0f, 0xf0]);

/** A frame of a client. */
export function framed(payload: string | Uint8Array, given: Framed = {}): Buffer {
  const { opcode = OP.text, fin = true, reserved = 0, masked = true, length } = given;
  const bytes = Buffer.from(payload as string);
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  const head = Buffer.concat([Buffer.from([first]), lengthOf(BigInt(bytes.length), length, masked)]);
  if (!masked) return Buffer.concat([head, bytes]);
  return Buffer.concat([head, MASK, bytes.map((byte, at) => byte ^ (MASK[at % 4] as number))]);
}

function lengthOf(real: bigint, said: bigint | undefined, masked: boolean): Buffer {
  const bit = masked ? 0x80 : 0;
  const length = said ?? real;
  if (said === undefined && length <= 125n) return Buffer.from([bit | Number(length)]);
  if (said === undefined && length <= 65_535n) return Buffer.from([bit | 126, Number(length) >> 8, Number(length) & 0xff]);
  const bytes = Buffer.alloc(9);
  bytes[0] = bit | 127;
  bytes.writeBigUInt64BE(length, 1);
  return bytes;
}

export function closeFrame(code: number, reason: string | Uint8Array = ''): Buffer {
  return framed(Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason as string)]), { opcode: OP.close });
}

/** With the upgrade behind it. */
export async function rawSocket(t: TestContext, door: RealtimeDoor): Promise<RawSocket> {
  const { port } = door.app.server.address() as net.AddressInfo;
  const accepted = once(door.app.server, 'connection');
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  t.after(() => socket.destroy());
  door.silent.add(socket);
  const [inside] = (await accepted) as [net.Socket];
  const reader = createReader();
  const closed = new Promise<number | undefined>((resolve) => {
    reader.onClose(resolve);
    socket.once('close', () => resolve(reader.end()));
  });
  socket.on('error', () => undefined);
  const upgraded = new Promise<void>((resolve) => reader.onHead(resolve));
  socket.on('data', reader.read);
  socket.write(
    'GET /v1/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: millrace.v1\r\n\r\n',
  );
  await upgraded;
  return {
    socket,
    inside,
    closed,
    next: reader.next,
    write: (...parts) => {
      for (const part of parts) socket.write(part);
    },
  };
}

/** A server's frames are whole here, and not masked. */
function createReader() {
  let rest = Buffer.alloc(0);
  let isOpen = false;
  let isOver = false;
  let code: number | undefined;
  const frames: Frame[] = [];
  let wake = (): void => undefined;
  let opened = (): void => undefined;
  let closed = (_code: number): void => undefined;

  function readHead(): boolean {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return false;
    rest = rest.subarray(end + 4);
    isOpen = true;
    opened();
    return true;
  }

  function readFrame(): boolean {
    if (rest.length < 2) return false;
    const short = (rest[1] as number) & 0x7f;
    const [length, head] =
      short < 126
        ? [short, 2]
        : short === 126
          ? [rest.length < 4 ? Infinity : rest.readUInt16BE(2), 4]
          : [rest.length < 10 ? Infinity : Number(rest.readBigUInt64BE(2)), 10];
    if (rest.length < head + length) return false;
    const opcode = (rest[0] as number) & 0x0f;
    const payload = rest.subarray(head, head + length);
    rest = rest.subarray(head + length);
    if (opcode === OP.text) frames.push(...[JSON.parse(payload.toString())].flat());
    if (opcode === OP.close) closed((code = payload.length >= 2 ? payload.readUInt16BE(0) : 1_005));
    wake();
    return true;
  }

  return {
    onHead: (work: () => void) => void (opened = work),
    onClose: (work: (code: number) => void) => void (closed = work),
    read(chunk: Buffer): void {
      rest = Buffer.concat([rest, chunk]);
      while (isOpen ? readFrame() : readHead());
    },
    end(): number | undefined {
      isOver = true;
      wake();
      return code;
    },
    async next(op: string): Promise<Frame> {
      for (;;) {
        const at = frames.findIndex((frame) => frame.op === op);
        if (at >= 0) return frames.splice(at, 1)[0];
        if (isOver) throw new Error(`the connection was over (${code}) before ${op}: ${JSON.stringify(frames)}`);
        await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}
