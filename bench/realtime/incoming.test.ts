/** The listeners of the benchmark count what comes, in whatever pieces it comes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readStamp, stampedPayload, writeStamp } from '../stamp.ts';
import { afterHead, framesOf, type Incoming, stampsOf } from './incoming.ts';

/** In pieces of this size, in one buffer that is used again and again as that of the sockets is. */
function feed(take: Incoming, bytes: Buffer, pieceBytes: number): void {
  const shared = Buffer.alloc(pieceBytes);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const copied = bytes.copy(shared, 0, at);
    take(shared.subarray(0, copied));
  }
}

function frame(payloadBytes: number): Buffer {
  const head = Buffer.alloc(payloadBytes < 126 ? 2 : payloadBytes < 65_536 ? 4 : 10);
  head[0] = 0x81;
  head[1] = payloadBytes < 126 ? payloadBytes : payloadBytes < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(payloadBytes, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(payloadBytes), 2);
  return Buffer.concat([head, Buffer.alloc(payloadBytes, 0x81)]);
}

function payload(n: number): Buffer {
  const bytes = stampedPayload(100);
  writeStamp(bytes, 0, { sentMs: n + 0.5, n, to: 0 });
  return bytes;
}

describe('what a listener of the benchmark counts', () => {
  test('is each frame once, with the size of its payload, however it is split', () => {
    const sizes = [0, 5, 125, 126, 300, 65_535, 65_536, 0, 7];
    const bytes = Buffer.concat(sizes.map(frame));
    for (const pieceBytes of [1, 3, 1_000, bytes.length]) {
      const seen: number[] = [];
      feed(
        framesOf((size) => seen.push(size)),
        bytes,
        pieceBytes,
      );
      assert.deepEqual(seen, sizes);
    }
  });

  test('is each stamp once, whatever stands around it', () => {
    const bytes = Buffer.concat(
      [0, 1, 2].flatMap((n) => [Buffer.from(`6f\r\ndata: {"data":`), payload(n), Buffer.from('}\n\n')]),
    );
    for (const pieceBytes of [1, 39, 40, 41, bytes.length]) {
      const seen: object[] = [];
      feed(
        stampsOf((all, at) => seen.push(readStamp(all, at))),
        bytes,
        pieceBytes,
      );
      assert.deepEqual(
        seen,
        [0, 1, 2].map((n) => ({ sentMs: n + 0.5, n })),
      );
    }
  });

  test('begins after the head of the answer, which may come with it', () => {
    for (const pieceBytes of [1, 20, 100]) {
      const heads: string[] = [];
      const sizes: number[] = [];
      const take = afterHead(
        (head) => heads.push(head),
        framesOf((size) => sizes.push(size)),
      );
      feed(take, Buffer.concat([Buffer.from('HTTP/1.1 101 Switching\r\na: b\r\n\r\n'), frame(9)]), pieceBytes);
      assert.deepEqual([heads, sizes], [['HTTP/1.1 101 Switching\r\na: b'], [9]]);
    }
  });
});
