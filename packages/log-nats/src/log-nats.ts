/**
 * The Log on NATS JetStream: a topic is the subject of that name, the log is one stream, a position is a stream sequence.
 * Plain clients publish and subscribe to the same subjects. The broker stamps events with its own time.
 */
import { jetstreamManager } from '@nats-io/jetstream';
import type { Problem } from '@millrace/core/problem';
import type { ConnectOptions } from './connect.ts';
import { connectNats } from './connect.ts';
import type { LogNeeds, NatsLog } from './log.ts';
import { createLog } from './log.ts';
import { unavailable } from './problems.ts';
import { openStream } from './stream.ts';
import { mustTakeEvents, RETENTION_MS } from './stream-config.ts';
import { createSubjects } from './subjects.ts';

export type { NatsAuth, NatsTls } from './connect.ts';
export type { NatsLog } from './log.ts';

export interface NatsOptions extends ConnectOptions {
  /** Default MILLRACE. */
  readonly stream?: string;
  /** Tokens before every subject, for an account that others use too. Default none. */
  readonly subjectPrefix?: string;
  /** Subject patterns the stream captures beside the declared topics: what native clients publish there are events. */
  readonly adopt?: readonly string[];
  /** Lets Millrace change a stream that was there before it: capture declared topics, keep events longer. Default false. */
  readonly manage?: boolean;
  /** Of a stream that is made. Default 1. */
  readonly replicas?: number;
  /** Of a stream that is made. Default file. */
  readonly storage?: 'file' | 'memory';
  /** How long a stream that is made keeps events at first; a topic that is kept longer raises it. Default 7 days. */
  readonly retentionMs?: number;
  /** How long a stream that is made remembers dedupe keys, in the broker's memory: about 220 bytes each. Default 2 minutes. */
  readonly dedupeWindowMs?: number;
  /** Of a stream that is made: appends beyond are refused (`log_full`), nothing is dropped. Default unbounded. */
  readonly maxBytes?: number;
  readonly maxMessages?: number;
  /** Wall time, ms since 1970, for hiding what is too old. Default Date.now. */
  readonly now?: () => number;
  /** Encoded bytes of the newest events kept in memory. Default 32 MiB. */
  readonly tailBytes?: number;
  /**
   * The stream is gone, was made anew, or has lost its newest events. Every call from now on rejects with this problem: the
   * process must open the log again, which then has another identity.
   */
  readonly onLost?: (problem: Problem) => void;
}

const TAIL_BYTES = 32 * 1024 * 1024;
const DEDUPE_WINDOW_MS = 120_000;
const API_MS = 5_000;

export function openNats(options: NatsOptions): Promise<NatsLog> {
  return openStamped(options, (_, brokerMs) => brokerMs);
}

/** For the conformance suite, which has a clock of its own. */
export async function openStamped(options: NatsOptions, stamp: LogNeeds['stamp']): Promise<NatsLog> {
  const { stream: name = 'MILLRACE', subjectPrefix = '', now = Date.now, onLost = () => {}, tailBytes = TAIL_BYTES } = options;
  const nc = await connectNats(options);
  try {
    mustTakeEvents(nc.info?.max_payload ?? 0);
    const jsm = await jetstreamManager(nc, { timeout: API_MS }).catch((error: unknown) => {
      throw unavailable(error, 'JetStream is not there: start the server with it (-js), and allow it to this account');
    });
    const stream = await openStream(jsm, {
      name,
      adopt: options.adopt ?? [],
      manage: options.manage ?? false,
      replicas: options.replicas ?? 1,
      storage: options.storage ?? 'file',
      retentionMs: options.retentionMs ?? RETENTION_MS,
      dedupeWindowMs: options.dedupeWindowMs ?? DEDUPE_WINDOW_MS,
      maxBytes: options.maxBytes,
      maxMessages: options.maxMessages,
      placeholder: `${subjectPrefix === '' ? '' : `${subjectPrefix}.`}_millrace.${name}`,
    });
    return await createLog({ nc, jsm, stream, subjects: createSubjects(subjectPrefix), now, onLost, tailBytes, stamp });
  } catch (error) {
    await nc.close();
    throw error;
  }
}
