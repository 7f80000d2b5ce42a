/**
 * One keep-alive connection that posts one request after the other: a socket, and as much HTTP/1.1 as answers with a
 * content-length need. An HTTP client would take as much of the machine as what it is to measure.
 */
import { connect } from 'node:net';

export interface Posting {
  readonly isOpen: boolean;
  /** One at a time. The bytes, head and body, must stay as they are until `answered`: false where it was not a success. */
  post(request: Buffer, answered: (good: boolean) => void): void;
  close(): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: (\d+)/i;
/** `HTTP/1.1 2…`: where the first digit of the status stands. */
const STATUS_AT = 9;
const TWO = 0x32;
/** In the answer to a batch: an event of it was refused. */
const REFUSED = Buffer.from('"problem"');

export function openPosting(url: string): Promise<Posting> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  let waiting: ((good: boolean) => void) | undefined;
  let held: Buffer | undefined;
  let isOpen = true;

  function end(good: boolean): void {
    const answered = waiting;
    waiting = undefined;
    held = undefined;
    answered?.(good);
  }

  socket.on('data', (chunk: Buffer) => {
    held = held === undefined ? chunk : Buffer.concat([held, chunk]);
    const size = sizeOf(held);
    if (size === undefined || held.length < size) return;
    end(held[STATUS_AT] === TWO && !held.includes(REFUSED));
  });
  socket.on('close', () => {
    isOpen = false;
    end(false);
  });

  const posting: Posting = {
    get isOpen() {
      return isOpen;
    },
    post(request, answered) {
      waiting = answered;
      if (isOpen) socket.write(request);
      else process.nextTick(end, false);
    },
    close: () => socket.destroy(),
  };
  return new Promise((resolve, reject) => {
    socket.once('connect', () => {
      // What happens to it later is told by 'close'.
      socket.off('error', reject).on('error', () => undefined);
      resolve(posting);
    });
    socket.once('error', reject);
  });
}

/** Of the answer, head and body; undefined while its head is not there. */
function sizeOf(held: Buffer): number | undefined {
  const headEnd = held.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  return headEnd + HEAD_END.length + Number(LENGTH.exec(held.toString('latin1', 0, headEnd))?.[1] ?? 0);
}
