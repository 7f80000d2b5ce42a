/**
 * The embedded store: log, directory and ledger on node:sqlite, in one worker thread, in one directory.
 *
 *   lock.db, lock.pid   held by the process that has the directory open
 *   state.db            configuration, ledger, and the events that arrived last
 *   segments/           sealed files with older events and idempotency keys
 *   set-aside/          files that could not be used (see `damaged`)
 */
import type { Claims } from '@millrace/gateway/ports/claims';
import type { MessagePort } from 'node:worker_threads';
import type { Directory } from '@millrace/gateway/ports/directory';
import type { Leases } from '@millrace/gateway/ports/leases';
import type { Ledger } from '@millrace/gateway/ports/ledger';
import type { Log } from '@millrace/gateway/ports/log';
import { createClaims } from './claims.ts';
import { createDirectory } from './directory.ts';
import { createFindings } from './findings.ts';
import { joinThread } from './joined.ts';
import { createLeases, type LeasesOptions } from './leases.ts';
import { createLedger } from './ledger.ts';
import { createLog } from './log.ts';
import type { Fault, SetAside } from './messages.ts';
import { type StartedThread, startThread } from './thread.ts';

export type { SetAside } from './messages.ts';

export interface EmbeddedOptions {
  /** Made where it is missing. One process at a time. Must be on a local disk: network file systems lock and sync as they like. */
  readonly directory: string;
  /** `fsync` (default): what was answered survives a power loss. `relaxed`: it survives a kill of the process; a power loss may take the last moments, but nothing of the directory. */
  readonly durability?: 'fsync' | 'relaxed';
  /** Wall time, ms since 1970. Default Date.now. */
  readonly now?: () => number;
  /** A hot table with this many bytes of events is sealed. Default 64 MB. */
  readonly segmentBytes?: number;
  /** So is one whose first event is this old: then short retentions give their space back on quiet logs too. Default 6 hours. */
  readonly segmentMs?: number;
  /** The oldest files are dropped, expired or not, while all events take more bytes than this. Default Infinity: to lose what has not expired is a choice. */
  readonly maxBytes?: number;
  /** What of the newest events is kept in memory, so that reading them costs the thread nothing. Default 16 MB. */
  readonly tailBytes?: number;
  /** A sealed file that is missing or can't be read: `refuse` to open (default), or move it to `set-aside/` and report its events as expired. */
  readonly damaged?: 'refuse' | 'set-aside';
  /** The store thread ended by an error: everything rejects from now on. Default: a process warning. */
  readonly onFailure?: (error: Error) => void;
  /** For tests of a full disk: pages of 16 KiB that state.db may have. */
  readonly maxPageCount?: number;
  /** For tests of crashes. */
  readonly fault?: Fault;
}

export interface Embedded {
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  /** For another log than ours, which settles keys in its own transaction. */
  readonly claims: Claims;
  /** Files that were set aside while opening. To be shown to a person. */
  readonly setAside: readonly SetAside[];
  /** Settles what is in flight, stops the thread, lets the directory go. Closing twice is safe. */
  close(): Promise<void>;
}

/** Whoever has the directory open for the threads of its process. It works with none of it but what is configured. */
export interface EmbeddedHost {
  readonly directory: Directory;
  readonly setAside: readonly SetAside[];
  /** What one other thread opens the store with, by `joinEmbedded`. To be transferred to it. */
  share(): MessagePort;
  /** Ends the store for all. Closing twice is safe. */
  close(): Promise<void>;
}

/** The store as one of several threads sees it, which hear of each other's changes. */
export interface JoinedEmbedded extends Omit<Embedded, 'setAside'> {
  openLeases(node: LeasesOptions): Leases;
  /** Takes in what has been told by now, however much else waits in this thread's loop. */
  hear(): void;
  /** Settles what is in flight; the store goes on for the others. */
  close(): Promise<void>;
}

export interface JoinOptions extends Pick<EmbeddedOptions, 'now' | 'tailBytes' | 'onFailure'> {
  readonly port: MessagePort;
  /** How the store was opened: what `findings` speak of. */
  readonly opened?: Pick<EmbeddedOptions, 'directory' | 'durability'>;
}

const SEGMENT_BYTES = 64 * 1024 * 1024;
const SEGMENT_MS = 6 * 3_600_000;
const TAIL_BYTES = 16 * 1024 * 1024;

/** Rejects with `data_directory_locked`, `data_directory_damaged`, `data_directory_newer`, `log_full` or `log_unavailable`. */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { directory, durability = 'fsync', now = Date.now, tailBytes = TAIL_BYTES } = options;
  const thread = await openThread(options);
  const log = createLog({ thread, now, tailBytes });
  return {
    log,
    directory: createDirectory(thread),
    ledger: { ...createLedger(thread), findings: createFindings({ directory, durability }) },
    claims: createClaims(thread),
    setAside: thread.ready.setAside,
    async close() {
      await log.close();
      await thread.close();
    },
  };
}

/** Rejects as openEmbedded does. */
export async function openEmbeddedHost(options: Omit<EmbeddedOptions, 'tailBytes'>): Promise<EmbeddedHost> {
  const thread = await openThread(options);
  const { ready, share, close } = thread;
  return { directory: createDirectory(thread), setAside: ready.setAside, share, close };
}

/** Rejects where the store has ended. */
export async function joinEmbedded({
  port,
  opened,
  now = Date.now,
  tailBytes = TAIL_BYTES,
  onFailure = warn,
}: JoinOptions): Promise<JoinedEmbedded> {
  const thread = await joinThread({ port, now, onFailure });
  const log = createLog({ thread, now, tailBytes });
  const directory = createDirectory(thread);
  thread.begin();
  return {
    log,
    directory,
    ledger: { ...createLedger(thread), ...(opened && { findings: createFindings({ durability: 'fsync', ...opened }) }) },
    claims: createClaims(thread),
    openLeases: (node) => createLeases(thread, node),
    hear: thread.hear,
    async close() {
      await log.close();
      await thread.close();
    },
  };
}

function openThread(options: EmbeddedOptions): Promise<StartedThread> {
  const { directory, durability = 'fsync', now = Date.now, segmentBytes = SEGMENT_BYTES, segmentMs = SEGMENT_MS } = options;
  const { maxBytes = Infinity, damaged = 'refuse', maxPageCount, fault, onFailure = warn } = options;
  const relaxed = durability === 'relaxed';
  const setup = { directory, relaxed, segmentBytes, segmentMs, maxBytes, maxPageCount, damaged, nowMs: now(), fault };
  return startThread({ setup, now, onFailure });
}

function warn(error: Error): void {
  process.emitWarning(`The embedded store has failed and must be started again: ${error.stack ?? error.message}`);
}
