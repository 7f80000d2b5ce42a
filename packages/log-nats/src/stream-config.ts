/** Configurations of streams: of one that is made, what one must be like that was there, and what declared topics change. */
import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { Problem } from '@millrace/core/problem';
import { coversPattern } from '@millrace/core/topic';

export interface StreamOptions {
  readonly name: string;
  /** Subject patterns that are captured beside the declared topics. */
  readonly adopt: readonly string[];
  /** May a stream that Millrace did not make be changed? */
  readonly manage: boolean;
  readonly replicas: number;
  readonly storage: 'file' | 'memory';
  readonly retentionMs: number;
  readonly dedupeWindowMs: number;
  readonly maxBytes: number | undefined;
  readonly maxMessages: number | undefined;
  /** A subject of its own, as a stream without any captures its own name. */
  readonly placeholder: string;
}

export interface Declared {
  readonly subject: string;
  /** Undefined where it only is to be captured. */
  readonly retentionMs: number | undefined;
}

/** Room for an event of 512 KiB, and for its attributes, whose bytes may take three characters each in a header. */
const MESSAGE_BYTES_MIN = 524_288 + 65_536;
/** The server takes 128 KiB of metadata; what does not fit is told again at the next start. */
const METADATA_BYTES_MAX = 100_000;
/** In the metadata of streams that Millrace made. */
export const OURS = 'millrace';
/** Before a subject: how long it is to be kept. */
export const KEEP = 'millrace.keep.';
export const NANOS_PER_MS = 1_000_000;
/** What the port keeps of topics that were never declared: it needs no word. */
export const RETENTION_MS = 7 * 86_400_000;

export type NewConfig = Partial<StreamConfig> & { name: string };

export function newConfig(options: StreamOptions): NewConfig {
  return {
    name: options.name,
    subjects: [options.placeholder],
    retention: 'limits',
    storage: options.storage,
    num_replicas: options.replicas,
    // A full stream refuses events; by default it would drop the oldest without a word.
    discard: 'new',
    max_age: options.retentionMs * NANOS_PER_MS,
    // The server takes no window longer than events are kept.
    duplicate_window: Math.min(options.dedupeWindowMs, options.retentionMs) * NANOS_PER_MS,
    max_bytes: options.maxBytes ?? -1,
    max_msgs: options.maxMessages ?? -1,
    metadata: { [OURS]: '1' },
  } satisfies Record<string, unknown> as NewConfig;
}

/** A server that does not know a setting may take it without a word and do nothing. */
export function mustBeAsAsked(made: StreamConfig, wanted: NewConfig): void {
  for (const [key, value] of Object.entries(wanted)) {
    const echoed = (made as unknown as Record<string, unknown>)[key];
    const same = typeof value === 'object' ? contains(echoed, value) : echoed === value;
    if (!same)
      throw new Problem(
        'log_unsuitable',
        `NATS made the stream with ${key} ${JSON.stringify(echoed)}, not ${JSON.stringify(value)}`,
        {
          advice: 'Use a newer server, or make the stream yourself.',
        },
      );
  }
}

function contains(echoed: unknown, wanted: object): boolean {
  return Object.entries(wanted).every(([key, value]) => (echoed as Record<string, unknown> | undefined)?.[key] === value);
}

export function mustSuit({ config }: StreamInfo, name: string): void {
  const refused = (why: string, advice: string) =>
    new Problem('log_unsuitable', `the stream ${name} can not be a log: ${why}`, { advice });
  const another = 'Name another stream; this one may feed it as a source.';
  if (config.retention !== 'limits')
    throw refused(
      `its retention is ${config.retention}, so that NATS removes what one consumer has read, and nothing could be read again`,
      another,
    );
  if (config.mirror !== undefined) throw refused('it is a mirror, which takes no events', another);
  if (config.sealed) throw refused('it is sealed and takes no events', another);
  if (config.no_ack) throw refused('it does not answer publishers (no_ack), so that nobody knows what was stored', another);
  if (config.subject_transform !== undefined) throw refused('it stores events under other subjects than theirs', another);
  if (config.max_msg_size > 0 && config.max_msg_size < MESSAGE_BYTES_MIN)
    throw refused(`it takes messages of ${config.max_msg_size} bytes`, `Raise its max_msg_size to ${MESSAGE_BYTES_MIN} or more.`);
}

export function mustTakeEvents(maxPayload: number): void {
  if (maxPayload >= MESSAGE_BYTES_MIN) return;
  throw new Problem('log_unsuitable', `the NATS server takes messages of ${maxPayload} bytes`, {
    advice: `Raise its max_payload to ${MESSAGE_BYTES_MIN} or more; 1 MiB is the default.`,
  });
}

export function wordOf(retentionMs: number): string | undefined {
  return retentionMs === RETENTION_MS ? undefined : `${retentionMs}`;
}

export function outlives({ max_age: maxAge }: StreamConfig, retentionMs: number): boolean {
  return maxAge > 0 && retentionMs * NANOS_PER_MS > maxAge;
}

/** The configuration with what was declared; undefined where it has it all. Retention only ever grows: what is kept shorter is hidden. */
export function withDeclared(config: StreamConfig, declared: readonly Declared[]): Partial<StreamConfig> | undefined {
  const subjects = new Set(config.subjects);
  const metadata = { ...config.metadata };
  let maxAge = config.max_age;
  let changed = false;
  for (const { subject, retentionMs } of declared) {
    if (!captures(subjects, subject)) {
      for (const narrow of subjects) if (coversPattern(subject, narrow)) subjects.delete(narrow);
      subjects.add(subject);
      changed = true;
    }
    if (retentionMs === undefined) continue;
    const word = wordOf(retentionMs);
    if (metadata[KEEP + subject] !== word) {
      if (word === undefined) delete metadata[KEEP + subject];
      else metadata[KEEP + subject] = word;
      changed = true;
    }
    if (outlives(config, retentionMs)) {
      maxAge = Math.max(maxAge, retentionMs * NANOS_PER_MS);
      changed = true;
    }
  }
  if (!changed) return undefined;
  return { ...config, subjects: [...subjects], max_age: maxAge, metadata: fitting(metadata, config.metadata) };
}

function fitting(metadata: Record<string, string>, before: Record<string, string> | undefined): Record<string, string> {
  const bytes = Object.entries(metadata).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  return bytes <= METADATA_BYTES_MAX ? metadata : { ...before };
}

export function notCaptured(stream: string, subject: string): Problem {
  return new Problem('log_unsuitable', `the stream ${stream} does not capture ${subject}`, {
    advice: `Add ${subject} to its subjects, or let Millrace manage the stream.`,
  });
}

/** True where one of the patterns means this subject, or all that this pattern means. */
export function captures(patterns: Iterable<string>, subject: string): boolean {
  for (const pattern of patterns) if (pattern === subject || coversPattern(pattern, subject)) return true;
  return false;
}
