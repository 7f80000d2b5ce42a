/**
 * The stream that is the log: found or made, and told of topics. A stream that Millrace made says so in its metadata and is
 * kept in step with the topics; one that was there before is read and written, and changed only where that was allowed.
 */
import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { Problem } from '@millrace/core/problem';
import { createHash } from 'node:crypto';
import { takeTurn } from './declaring.ts';
import { isStreamGone, unavailable } from './problems.ts';
import type { Declared, StreamOptions } from './stream-config.ts';
import {
  captures,
  KEEP,
  mustBeAsAsked,
  mustSuit,
  NANOS_PER_MS,
  newConfig,
  notCaptured,
  OURS,
  outlives,
  withDeclared,
  wordOf,
} from './stream-config.ts';

export interface Stream {
  readonly name: string;
  readonly identity: string;
  /** As it was when it was looked at last. */
  readonly config: StreamConfig;
  readonly dedupeWindowMs: number;
  /** Whether it is kept in step with what is declared: made by Millrace, or lent to it. */
  readonly mayChange: boolean;
  info(): Promise<StreamInfo>;
  /** Reads the configuration again. */
  refresh(): Promise<StreamInfo>;
  covers(subject: string): boolean;
  /** Resolves when the subject is captured and, with a retention, known to be kept that long. */
  declare(subject: string, retentionMs?: number): Promise<void>;
  /** What was declared, also by other nodes. */
  retentionOf(subject: string): number | undefined;
}

/** Nodes that had to go without their turn write over each other a few times. */
const UPDATES_TRIED = 20;
const UPDATE_AGAIN_MS = 50;

export async function openStream(jsm: JetStreamManager, options: StreamOptions): Promise<Stream> {
  let current = await findOrMake(jsm, options);
  const identity = identityOf(current);
  const mayChange = options.manage || current.config.metadata?.[OURS] !== undefined;
  mustSuit(current, options.name);
  const retentions = new Map<string, number>();
  let waiting: Declared[] = [];
  let changing: Promise<void> | undefined;

  function take(info: StreamInfo): StreamInfo {
    current = info;
    for (const [key, value] of Object.entries(info.config.metadata ?? {}))
      if (key.startsWith(KEEP)) retentions.set(key.slice(KEEP.length), Number(value));
    return info;
  }

  function covers(subject: string): boolean {
    return captures(current.config.subjects, subject);
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

  function update(declared: readonly Declared[]): Promise<void> {
    const next = last.then(() => updateUntilThere(declared));
    last = next.catch(() => {});
    return next;
  }

  /**
   * One node after the other (declaring.ts). Other programs may change it as well, and nodes that had to go without their turn: so we
   * look again whether it is there.
   */
  async function updateUntilThere(declared: readonly Declared[]): Promise<void> {
    for (let tried = 0; tried < UPDATES_TRIED; tried++) {
      if (tried > 1) await new Promise<void>((resolve) => setTimeout(resolve, Math.random() * UPDATE_AGAIN_MS));
      take(await jsm.streams.info(options.name));
      if (withDeclared(current.config, declared) === undefined) return;
      await updateInTurn(declared);
    }
    throw new Problem('log_unavailable', `the stream ${options.name} is being changed by others all the time`);
  }

  async function updateInTurn(declared: readonly Declared[]): Promise<void> {
    const turn = await takeTurn(jsm, options.name);
    try {
      take(await jsm.streams.info(options.name));
      const wanted = withDeclared(current.config, declared);
      if (wanted !== undefined && turn.holds) await jsm.streams.update(options.name, wanted);
    } finally {
      await turn.end();
    }
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
    mayChange,
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

/** A stream that is made anew begins at 1 again under the same name: when it was made tells it apart. */
export function identityOf({ config, created }: StreamInfo): string {
  const digest = createHash('sha256').update(`${config.name}\n${created}`).digest('hex').slice(0, 20);
  return `nats:${config.name.replace(/[^\x21-\x7e]/g, '_').slice(0, 30)}:${digest}`;
}
