/**
 * What shared frames go out through: those that a socket is given in one turn, as the events of a page are, go in one write. A write
 * costs more than all that comes before it. They wait in the socket itself, so that what others write to it comes after them, its end
 * takes them along, and they count as unsent.
 */
import type { Writable } from 'node:stream';

export interface Outlets {
  send(socket: Writable, frame: Buffer): void;
}

/** Of one socket. Past it the write is little beside its bytes, and what the network takes is no more held against the client. */
const GATHERED_BYTES = 16_384;
/** Of all sockets: each frame has an entry in each of them, and those of a large page for thousands would be millions. */
const GATHERED_FRAMES = 32_768;

export function createOutlets(): Outlets {
  let corked: Writable[] = [];
  let frames = 0;

  function flush(): void {
    const all = corked;
    corked = [];
    frames = 0;
    for (const socket of all) socket.uncork();
  }

  return {
    send(socket, frame) {
      if (socket.writableCorked === 0) {
        socket.cork();
        if (corked.push(socket) === 1) queueMicrotask(flush);
      }
      socket.write(frame);
      if (socket.writableLength >= GATHERED_BYTES) socket.uncork();
      if (++frames >= GATHERED_FRAMES) flush();
    },
  };
}
