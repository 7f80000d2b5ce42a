/** An answer that is a stream of server-sent events (WHATWG HTML, section 9.2): how it begins, what is written to it, and its end. */
import type { FastifyReply } from 'fastify';
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';

export interface Stream {
  readonly raw: ServerResponse;
  write(text: string, id: string | undefined, event?: string): void;
  /** As it is, made by `eventBytes`. */
  send(bytes: Buffer): void;
  /** What was written is still sent, for as long as a connection stays for its client to read the end. */
  end(): void;
}

const HEAD = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Proxies that hold an answer back until it ends would hold it for ever (nginx).
  'x-accel-buffering': 'no',
} as const;
/** The answer is ours from here on: no hook of the door touches it. */
export function streamOf(reply: FastifyReply, { clock, limits }: { readonly clock: Clock; readonly limits: Limits }): Stream {
  // What lets a page of another origin read it.
  const headers = reply.getHeaders() as OutgoingHttpHeaders;
  const { raw } = reply.hijack();
  raw.writeHead(200, { ...headers, ...HEAD });
  raw.flushHeaders();
  function send(bytes: Buffer): void {
    // After the end it would be an error that nobody hears.
    if (!raw.writableEnded) raw.write(bytes);
  }
  return {
    raw,
    write: (text, id, event) => send(eventBytes(text, id, event)),
    send,
    end() {
      if (raw.writableEnded || raw.destroyed) return;
      const timer = clock.after(limits.closeMs, () => raw.destroy());
      raw.once('close', timer.cancel);
      raw.end();
    },
  };
}

/** JSON may be written over several lines: each is a line of data. */
export function eventBytes(text: string, id: string | undefined, event?: string): Buffer {
  const lines = text.replace(/\r\n?|\n/g, '\ndata: ');
  return Buffer.from(
    `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${lines}\n\n`,
  );
}
