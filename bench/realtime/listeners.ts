/** The process that listens. */
import { execFileSync } from 'node:child_process';
import type { Latencies } from '../arrivals.ts';
import { nextMessage, startProcess } from '../processes.ts';
import { ask, type Way } from './servers.ts';

export interface Opening {
  readonly way: Way;
  /** So many at once. */
  readonly count: number;
  /** `counts`: how many events came, of all together. `stamps`: how long each took. `nothing`: it does not even read. */
  readonly reads: 'counts' | 'stamps' | 'nothing';
}

export type Asked = { readonly open: Opening } | { readonly every: number } | { readonly stamps: number } | 'close';

export interface Listeners {
  /** Resolves when all of them listen. */
  open(opening: Opening): Promise<void>;
  /** Counts from now on; a round is over when so many events have come. */
  countBy(events: number): Promise<{ round(): Promise<{ readonly messageBytes: number }> }>;
  /** From now on until so many stamped ones have come. */
  expectStamps(events: number): Promise<{ readonly came: Promise<Latencies> }>;
  /** Resolves when no connection is left. */
  closeAll(): Promise<void>;
  stop(): void;
}

export function startListeners(): Listeners {
  const child = startProcess('realtime/listeners-process.ts');
  const told = <T>(asked: Asked): Promise<T> => ask<T>(child, asked);
  return {
    open: (opening) => told({ open: opening }),
    async countBy(events) {
      await told({ every: events });
      return { round: () => nextMessage(child) };
    },
    async expectStamps(events) {
      await told({ stamps: events });
      return { came: nextMessage<Latencies>(child) };
    },
    closeAll: () => told('close'),
    stop: () => child.disconnect(),
  };
}

/** A process's own files, sockets to ask it, and what Node keeps open. */
const OTHER_FILES = 100;

export function checkOpenFiles(sockets: number): void {
  const needed = sockets + OTHER_FILES;
  const limit = execFileSync('/bin/sh', ['-c', 'ulimit -n']).toString().trim();
  if (limit !== 'unlimited' && Number(limit) < needed)
    throw new Error(`${sockets} listeners need ${needed} open files per process, \`ulimit -n\` is ${limit}: raise it`);
}
