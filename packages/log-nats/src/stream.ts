/**
 * The stream that is the log: found or made, and told of topics. A stream that Millrace made says so in its metadata and is
 * kept in step with the topics; one that was there before is read and written, and changed only where that was allowed.
 */
import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { Problem } from '@millrace/core/problem';
import { coversPattern } from '@millrace/core/topic';
import { createHash } from 'node:crypto';
import { isStreamGone, unavailable } from './problems.ts';

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

export interface Stream {
  readonly name: string;
  readonly identity: string;
  /** As it was when it was looked at last. */
  readonly config: StreamConfig;
  readonly dedupeWindowMs: number;
  info(): Promise<StreamInfo>;
  /** Reads the configuration again. */
  refresh(): Promise<StreamInfo>;
  covers(subject: string): boolean;
  /** Resolves when the subject is captured and, with a retention, known to be kept that long. */
  declare(subject: string, retentionMs?: number): Promise<void>;
  /** What was declared, also by other nodes. */
  retentionOf(subject: string): number | undefined;
}

/** Room for an event of 512 KiB, and for its attributes, whose bytes may take three characters each in a header. */
const MESSAGE_BYTES_MIN = 524_288 + 65_536;
/** The server takes 128 KiB of metadata; what does not fit is told again at the next start. */
const METADATA_BYTES_MAX = 100_000;
const OURS = 'millrace';
const KEEP = 'millrace.keep.';
const NANOS_PER_MS = 1_000_000;
/** Nodes that start together write over each other a few times. */
const UPDATES_TRIED = 20;
const UPDATE_AGAIN_MS = 50;
/** What the port keeps of topics that were never declared: it needs no word. */
export const RETENTION_MS = 7 * 86_400_000;

export async function openStream(jsm: JetStreamManager, options: StreamOptions): Promise<Stream> {
  let current = await findOrMake(jsm, options);
  const identity = identityOf(current);
  const mayChange = options.manage || current.config.metadata?.[OURS] !== undefined;
  mustSuit(current, options.name);
  const retentions = new Map<string, number>();
  let waiting: { readonly subject: string; readonly retentionMs: number | undefined }[] = [];
  let changing: Promise<void> | undefined;

  function take(info: StreamInfo): StreamInfo {
    current = info;
    for (const [key, value] of Object.entries(info.config.metadata ?? {}))
      if (key.startsWith(KEEP)) retentions.set(key.slice(KEEP.length), Number(value));
    return info;
  }

  function covers(subject: string): boolean {
    return current.config.subjects.some((pattern) => pattern === subject || coversPattern(pattern, subject));
  }

  function needsChange(subject: string, retentionMs: number | undefined): boolean {
    if (!covers(subject)) return true;
    if (retentionMs === undefined || !mayChange) return false;
    return current.config.metadata?.[KEEP + subject] !== wordOf(retentionMs) || outlives(current.config, retentionMs);
  }

  /** What is declared in one turn, or while a change is under way, becomes one change. */
  async function change(): Promise<void> {
    await Promise.resolve();
    const declared = waiting;
    waiting = [];
    changing = undefined;
    await update(declared);
  }

  let last: Promise<void> = Promise.resolve();
  /** What this process had captured: not what a person takes out of a stream that is theirs. */
  const captured = new Set<string>();

  function update(declared: typeof waiting): Promise<void> {
    const next = last.then(() => updateUntilThere(declared));
    last = next.catch(() => {});
    return next;
  }

  /** The server has no compare-and-set: another node may have written between our reading and our writing, so we look again. */
  async function updateUntilThere(declared: typeof waiting): Promise<void> {
    for (let tried = 0; tried < UPDATES_TRIED; tried++) {
      if (tried > 1) await new Promise<void>((resolve) => setTimeout(resolve, Math.random() * UPDATE_AGAIN_MS));
      take(await jsm.streams.info(options.name));
      const wanted = withDeclared(current.config, declared);
      if (wanted === undefined) return;
      await jsm.streams.update(options.name, wanted);
    }
    throw new Problem('log_unavailable', `the stream ${options.name} is being changed by others all the time`);
  }

  /** Another node that had not seen ours may have written over it since. */
  function repair(): void {
    const gone = [...captured].filter((subject) => !covers(subject));
    if (gone.length > 0) void update(gone.map((subject) => ({ subject, retentionMs: undefined }))).catch(() => {});
  }

  take(current);
  const adopted = options.adopt.filter((pattern) => !covers(pattern));
  if (adopted.length > 0) {
    if (!mayChange) throw notCaptured(options.name, adopted[0]!);
    await update(adopted.map((subject) => ({ subject, retentionMs: undefined })));
  }

  return {
    name: options.name,
    identity,
    get config() {
      return current.config;
    },
    dedupeWindowMs: current.config.duplicate_window / NANOS_PER_MS,
    info: () => jsm.streams.info(options.name),
    async refresh() {
      take(await jsm.streams.info(options.name));
      repair();
      return current;
    },
    covers,
    async declare(subject, retentionMs) {
      if (!covers(subject) && !mayChange) throw notCaptured(options.name, subject);
      if (retentionMs !== undefined) retentions.set(subject, retentionMs);
      if (!needsChange(subject, retentionMs)) return;
      captured.add(subject);
      waiting.push({ subject, retentionMs });
      changing ??= change();
      await changing.catch((error: unknown) => {
        throw unavailable(error, `the stream ${options.name} can not be told of ${subject}`);
      });
    },
    retentionOf: (subject) => retentions.get(subject),
  };
}

async function findOrMake(jsm: JetStreamManager, options: StreamOptions): Promise<StreamInfo> {
  try {
    return await jsm.streams.info(options.name);
  } catch (error) {
    if (!isStreamGone(error)) throw unavailable(error, `the stream ${options.name} can not be looked at`);
  }
  try {
    const wanted = newConfig(options);
    const made = await jsm.streams.add(wanted);
    mustBeAsAsked(made.config, wanted);
    return made;
  } catch (error) {
    if (error instanceof Problem) throw error;
    // Another node may have made it between our two calls.
    return jsm.streams.info(options.name).catch(() => {
      throw unavailable(error, `the stream ${options.name} can not be made`);
    });
  }
}

type NewConfig = Partial<StreamConfig> & { name: string };

function newConfig(options: StreamOptions): NewConfig {
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
function mustBeAsAsked(made: StreamConfig, wanted: NewConfig): void {
  for (const [key, value] of Object.entries(wanted)) {
    const echoed = (made as unknown as Record<string, unknown>)[key];
    const same = typeof value === 'object' ? contains(echoed, value) : echoed === value;
    if (!same)
      throw new Problem('conflict', `NATS made the stream with ${key} ${JSON.stringify(echoed)}, not ${JSON.stringify(value)}`, {
        advice: 'Use a newer server, or make the stream yourself.',
      });
  }
}

function contains(echoed: unknown, wanted: object): boolean {
  return Object.entries(wanted).every(([key, value]) => (echoed as Record<string, unknown> | undefined)?.[key] === value);
}

function mustSuit({ config }: StreamInfo, name: string): void {
  const refused = (why: string, advice: string) =>
    new Problem('conflict', `the stream ${name} can not be a log: ${why}`, { advice });
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
  throw new Problem('conflict', `the NATS server takes messages of ${maxPayload} bytes`, {
    advice: `Raise its max_payload to ${MESSAGE_BYTES_MIN} or more; 1 MiB is the default.`,
  });
}

function wordOf(retentionMs: number): string | undefined {
  return retentionMs === RETENTION_MS ? undefined : `${retentionMs}`;
}

function outlives({ max_age: maxAge }: StreamConfig, retentionMs: number): boolean {
  return maxAge > 0 && retentionMs * NANOS_PER_MS > maxAge;
}

/** The configuration with what was declared; undefined where it has it all. Retention only ever grows: what is kept shorter is hidden. */
function withDeclared(
  config: StreamConfig,
  declared: readonly { readonly subject: string; readonly retentionMs: number | undefined }[],
): Partial<StreamConfig> | undefined {
  const subjects = new Set(config.subjects);
  const metadata = { ...config.metadata };
  let maxAge = config.max_age;
  let changed = false;
  for (const { subject, retentionMs } of declared) {
    if (![...subjects].some((pattern) => pattern === subject || coversPattern(pattern, subject))) {
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

function notCaptured(stream: string, subject: string): Problem {
  return new Problem('conflict', `the stream ${stream} does not capture ${subject}`, {
    advice: `Add ${subject} to its subjects, or let Millrace manage the stream.`,
  });
}

/** A stream that is made anew begins at 1 again under the same name: when it was made tells it apart. */
export function identityOf({ config, created }: StreamInfo): string {
  const digest = createHash('sha256').update(`${config.name}\n${created}`).digest('hex').slice(0, 20);
  return `nats:${config.name.replace(/[^\x21-\x7e]/g, '_').slice(0, 30)}:${digest}`;
}
