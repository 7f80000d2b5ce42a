/** What a listener makes of the bytes that come: no more than it must, as its process shares the machine with the server. */

/** Takes what comes over one connection. The chunk is another one's afterwards: nothing of it may be kept. */
export interface Incoming {
  (chunk: Buffer): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
const STAMP_BEGIN = Buffer.from('{"sent":"');
/** Of a stamp, from its beginning to the end of its number (stamp.ts). */
const STAMP_BYTES = 40;

/** `answered` once the head of the answer is there; what comes after it is for `rest`. */
export function afterHead(answered: (head: string) => void, rest: Incoming): Incoming {
  let held: Buffer | undefined = Buffer.alloc(0);
  return (chunk) => {
    if (held === undefined) return rest(chunk);
    held = Buffer.concat([held, chunk]);
    const end = held.indexOf(HEAD_END);
    if (end < 0) return;
    const body = held.subarray(end + HEAD_END.length);
    answered(held.toString('latin1', 0, end));
    held = undefined;
    if (body.length > 0) rest(body);
  };
}

/** Tells of each frame of a server's WebSocket (RFC 6455, section 5.2) how many bytes its payload has, once all of it is there. */
export function framesOf(onFrame: (bytes: number) => void): Incoming {
  let size = 0;
  let missing = 0;
  let held: Buffer | undefined;
  return (chunk) => {
    const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
    held = undefined;
    for (let at = 0; at < bytes.length;) {
      if (missing === 0) {
        const head = headBytes(bytes, at);
        if (bytes.length - at < head) {
          held = Buffer.from(bytes.subarray(at));
          return;
        }
        size = missing = payloadBytes(bytes, at);
        at += head;
      }
      const step = Math.min(missing, bytes.length - at);
      at += step;
      missing -= step;
      if (missing === 0) onFrame(size);
    }
  };
}

/** How long a head is that begins there, as far as one can tell: at least two bytes. */
function headBytes(bytes: Buffer, at: number): number {
  const short = (bytes[at + 1] ?? 0) & 0x7f;
  return short < 126 ? 2 : short === 126 ? 4 : 10;
}

function payloadBytes(bytes: Buffer, at: number): number {
  const short = (bytes[at + 1] as number) & 0x7f;
  if (short < 126) return short;
  return short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
}

/** Finds the stamped payloads in what comes, whatever is around them: frames, event streams, chunks of HTTP. */
export function stampsOf(onStamp: (bytes: Buffer, at: number) => void): Incoming {
  let held: Buffer | undefined;
  return (chunk) => {
    const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
    let from = 0;
    for (let at = bytes.indexOf(STAMP_BEGIN); at >= 0; at = bytes.indexOf(STAMP_BEGIN, from)) {
      if (bytes.length - at < STAMP_BYTES) break;
      onStamp(bytes, at);
      from = at + STAMP_BYTES;
    }
    // The rest may be the beginning of one.
    held = Buffer.from(bytes.subarray(Math.max(from, bytes.length - STAMP_BYTES + 1)));
  };
}
