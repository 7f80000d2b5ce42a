/**
 * The Log: where events are kept, in order. A driver is named log-{technology} and passes logConformance().
 *
 * A log is made of shards, each one total order. The broker keeps the log, the gateway keeps the cursors: acks, delays,
 * redelivery, dead letters and order under failure are not asked of a driver.
 */
import type { Event } from '@millrace/core/event';
import type { ProblemCode } from '@millrace/core/problem';
import type { Finding, Demands } from './finding.ts';

/**
 * A place in one shard: opaque, at most 64 characters of printable ASCII. Of one shard, code-unit order of the strings
 * is log order (drivers pad their numbers), so positions compare with `<`. The empty string is before everything.
 */
export type Position = string;

export const BEFORE_ALL: Position = '';

/** A position with the append time of the event that stands there. */
export interface Mark {
  readonly position: Position;
  readonly timeMs: number;
}

/** What is appended: the event with whose it is. */
export interface Entry {
  readonly environment: string;
  /** The publishing app's id. */
  readonly app: string;
  readonly event: Event;
  /** `encodeEvent(event)` of core, made once at the door and reused by whoever stores or counts the event. */
  readonly bytes: Uint8Array;
  readonly dedupe?: Dedupe;
}

/** Publishing twice with one key appends once within the window. Keys are scoped by environment and app. */
export interface Dedupe {
  /** At most 512 bytes of UTF-8. */
  readonly key: string;
  /** Digest of what was sent: the same key with another digest is a conflict. */
  readonly digest: string;
  readonly windowMs: number;
}

export type Appended =
  | { readonly status: 'appended'; readonly shard: string; readonly position: Position; readonly timeMs: number }
  /** The key was used before, for the same content: the first append's place and event id. */
  | {
      readonly status: 'duplicate';
      readonly shard: string;
      readonly position: Position;
      readonly timeMs: number;
      readonly id: string;
    }
  /** The key was used before, for other content. Nothing was appended. */
  | { readonly status: 'conflict' };

export interface LogRecord {
  readonly shard: string;
  readonly position: Position;
  /** Append time, ms since 1970; never runs backwards along a shard, whatever the wall clock did. */
  readonly timeMs: number;
  readonly environment: string;
  readonly app: string;
  readonly event: Event;
  /** Length of `bytes` of the entry: what the record costs in windows and bounds. */
  readonly size: number;
  /**
   * Of an entry with a dedupe key: SHA-256 (base64url) of `JSON.stringify([environment, app, key])`, and its digest. Asked of logs
   * that do not remember keys, or for a while only (`dedupeWindowMs`): by it an append is found whose answer nobody heard.
   */
  readonly keyed?: { readonly key: string; readonly digest: string };
  /**
   * Present where it can not be an event: a client of the broker wrote it, past the door. `event` is then an envelope around its
   * bytes. Nobody gets it and no lane waits for it, but it is there to be looked at.
   */
  readonly rejected?: Rejected;
}

/** Why, as the door would have said it. */
export interface Rejected {
  readonly code: ProblemCode;
  /** At most 500 characters. */
  readonly detail: string;
}

export interface ReadRequest {
  readonly shard: string;
  /** Exclusive. */
  readonly after: Position;
  /** Only records of these topic patterns in this environment; without it, all. */
  readonly only?: { readonly environment: string; readonly topics: readonly string[] };
  /** At most this many records. */
  readonly limit: number;
  /** At most this many bytes (sum of `size`), but always at least one record where there is one. */
  readonly maxBytes: number;
}

export interface Page {
  readonly records: readonly LogRecord[];
  /** Everything up to here was looked at: where the next read goes on. Equals `after` when nothing is newer. */
  readonly through: Position;
  /** True when `through` was the end of the shard at the time of reading. */
  readonly atEnd: boolean;
  /**
   * Set when retention took (or now hides) records in (after, through] that this read would have returned: the last of
   * them, and how many if the driver knows. Nothing that was lost to retention is ever left out here.
   */
  readonly expired?: { readonly last: Mark; readonly firstTimeMs?: number; readonly count?: number };
}

/** What a log must know of a declared topic. */
export interface TopicRetention {
  readonly environment: string;
  readonly topic: string;
  /** Events older than this are hidden at once and their space is returned by whole files or segments. */
  readonly retentionMs: number;
}

export interface Log {
  /** Names this very log: another after it was recreated, restored elsewhere or emptied. At most 64 characters. */
  readonly identity: string;
  /** Optional powers, as data; the suite, the docs and the flow read them. */
  readonly supports: Readonly<{
    /** True: `dedupe` of an entry is settled in the append's own transaction. */
    dedupe: boolean;
    /** How long the log remembers a key at most, where that is shorter than it may be asked to: the gateway then claims keys (claims.ts). */
    dedupeWindowMs?: number;
    /** Survives a kill of the process. */
    durable: boolean;
    shards: 'one' | 'many';
    /** True: clients of a broker may write to it past the door, so that records may be rejected. */
    natives?: boolean;
  }>;

  /** The shards there are now. */
  shards(): readonly string[];
  /**
   * Appends in order and resolves, one result per entry, when all is as durable as this log gets. Entries of one call
   * may go to several shards. Rejects as a whole (nothing appended) with a Problem: `log_full` (no space),
   * `log_unavailable` (try again), `log_unsuitable` (as it is set up it does not take this topic). The caller bounds a call
   * to 4,096 entries and 16 MB. Several calls may be under way at once: in one shard they stand in the order in which they
   * were made.
   */
  append(entries: readonly Entry[]): Promise<readonly Appended[]>;
  /** Reads forward. Rejects with `log_unavailable` when it can't be read now. */
  read(request: ReadRequest): Promise<Page>;
  /** Calls `listener` after anything was appended to `shard` (spurious calls are fine, missing ones are not), until the returned function is called. */
  onAppend(shard: string, listener: () => void): () => void;
  /** The record at exactly this position, or undefined when retention took it or it never was. */
  fetch(shard: string, position: Position): Promise<LogRecord | undefined>;
  /** The position such that reading after it yields the first record with `timeMs >= timeMs`: for a time in the future, the end. */
  positionAt(shard: string, timeMs: number): Promise<Position>;
  /** First record that is still there and the last one; both undefined in an empty shard. `end` is where a read after everything starts, also when retention emptied the shard. */
  bounds(shard: string): Promise<{ readonly first?: Mark; readonly last?: Mark; readonly end: Position }>;
  /** Makes a topic's retention known. Idempotent; the latest word counts. Topics never declared keep 7 days. */
  declareTopic(topic: TopicRetention): Promise<void>;
  /** What an operator should know of it. Absent where a log has nothing to say. Rejects with `log_unavailable`. */
  findings?(wanted: Demands): Promise<readonly Finding[]>;
  /** Gives back the space of what has expired by now. Called about once a minute by the gateway; safe to call any time. */
  trim(): Promise<void>;
  /** Resolves when everything in flight is settled and all resources are free. Later calls reject. Closing twice is safe. */
  close(): Promise<void>;
}
