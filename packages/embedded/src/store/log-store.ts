/** The log in the store thread: one hot table that takes appends, older ones being sealed, sealed files. */
import type { TopicRetention } from '@millrace/gateway/ports/log';
import { openFileList } from './files.ts';
import { createHot, HOT_RECORDS_MAX, openHot } from './hot.ts';
import type { Hot } from './hot.ts';
import { createHouse } from './house.ts';
import { findUse } from './keys.ts';
import { createLogReader } from './log-reader.ts';
import type { LogReader } from './log-reader.ts';
import type { SetAside, Setup } from '../messages.ts';
import { DEFAULT_RETENTION_MS } from '../messages.ts';
import { loadNames } from './names.ts';
import { createNameRefs } from './name-refs.ts';
import type { NameRefs } from './name-refs.ts';
import { readMemo, unpackBatch } from '../packing.ts';
import type { AppendAnswer, AppendBatch, BatchKey, Settled } from '../packing.ts';
import type { Stretch } from './read.ts';
import { recoverFiles } from './recover.ts';
import { openRemoved } from './removed.ts';
import { openSealed } from './sealed.ts';
import type { Shelf } from './shelf.ts';
import type { State } from './state.ts';

/** After a stop in `relaxed` mode that was no close, events may be gone whose offsets somebody has seen. */
const SKIP_AHEAD = 1_000_000;

export interface LogStore extends Omit<LogReader, 'reload'> {
  /** The last offset that was given out. */
  readonly end: number;
  readonly setAside: readonly SetAside[];
  retentions(): TopicRetention[];
  /** Of whoever sends batches: by these it names topics and apps. */
  openRefs(): NameRefs;
  closeRefs(refs: NameRefs): void;
  /** These two within the thread's transaction. */
  append(batch: AppendBatch, nowMs: number, refs: NameRefs): AppendAnswer;
  declareTopic(topic: TopicRetention): null;
  /** Begins a transaction; what is returned undoes in memory what a rollback undoes on disk. */
  mark(): () => void;
  /** Between transactions: begins a new hot table where the present one is full or old. */
  rotate(nowMs: number): void;
  trim(nowMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface LogStoreOptions extends Pick<Setup, 'segmentBytes' | 'segmentMs' | 'maxBytes' | 'damaged' | 'nowMs' | 'fault'> {
  /** Lets waiting messages be worked. */
  readonly turn: () => Promise<void>;
  readonly took: (through: number) => void;
}

export function openLogStore(state: State, options: LogStoreOptions): LogStore {
  const { segmentBytes, segmentMs, damaged } = options;
  const { db } = state;
  const names = loadNames(db);
  const files = openFileList(state);
  const sealed = openSealed(files);
  const removed = openRemoved(state);
  const numbers = hotNumbers(state);
  const setAside = recoverFiles({ state, files, removed, hots: numbers, damaged });
  const hots = numbers.map((number) => openHot(db, number));
  const allRefs = new Set<NameRefs>();
  let end = Math.max(Number(state.fact('last_offset') ?? 0), ...hots.map(({ last }) => last));
  let lastMs = Math.max(
    Number(state.fact('last_ms') ?? 0),
    ...hots.flatMap((hot) => [...hot.topics()].map(([, extent]) => extent.lastMs)),
  );
  let stretches: readonly Stretch[] = [];

  if (state.left === 'relaxed') end += SKIP_AHEAD;
  state.transaction(() => {
    noteEnd();
    if (hots.length === 0) hots.push(createHot(db, 1));
  });
  changed();
  const reader = createLogReader({ names, removed, stretches: () => stretches, last: () => ({ end, timeMs: lastMs }) });
  const house = createHouse({ ...options, state, names, files, sealed, removed, hots, changed });
  house.keepQuietly(options.nowMs);

  function noteEnd(): void {
    state.setFact('last_offset', end);
    state.setFact('last_ms', lastMs);
  }

  function hot(): Hot {
    return hots.at(-1)!;
  }

  function changed(): void {
    const byHot = Map.groupBy(files.events(), (file) => file.hot);
    const ofFiles = [...byHot.values()].map((group) => sealedStretch(group.map((file) => sealed.shelf(file))));
    stretches = [...ofFiles.sort((a, b) => a.first - b.first), ...hots.map(hotStretch)];
  }

  /** What becomes of an entry whose key was used: null for a conflict, undefined where the key is free. */
  function settledBy({ key, memo }: BatchKey, app: number, timeMs: number): Settled | null | undefined {
    const use = findUse({ hots, files, sealed }, { app, key, timeMs });
    if (use === undefined) return undefined;
    const known = readMemo(use.memo);
    return known.digest === readMemo(memo).digest ? { offset: use.offset, timeMs: use.timeMs, id: known.id } : null;
  }

  return {
    ...reader,
    get end() {
      return end;
    },
    setAside,
    retentions() {
      const declared = [...names.topics()].filter(({ retentionMs }) => retentionMs !== DEFAULT_RETENTION_MS);
      return declared.map(({ environment, topic, retentionMs }) => ({ environment, topic, retentionMs }));
    },
    openRefs() {
      const refs = createNameRefs(names);
      allRefs.add(refs);
      return refs;
    },
    closeRefs: (refs) => void allRefs.delete(refs),
    append(batch, nowMs, refs) {
      // Time never runs backwards along the log, or finding by time would lie.
      const timeMs = Math.max(lastMs, nowMs);
      const first = end + 1;
      const others: [number, Settled | null][] = [];
      let at = 0;
      for (const { topic, app: appRef, audience: audienceRef, bytes, key } of unpackBatch(batch)) {
        const app = refs.app(appRef).id;
        const settled = key && settledBy(key, app, timeMs);
        if (settled === undefined) {
          const audience = audienceRef === undefined ? null : refs.app(audienceRef).id;
          hot().insert({ offset: ++end, timeMs, topic: refs.topic(topic).id, app, audience, bytes, key });
          lastMs = timeMs;
        } else others.push([at, settled]);
        at++;
      }
      return { first, timeMs, others };
    },
    declareTopic({ environment, topic, retentionMs }) {
      names.declare(environment, topic, retentionMs);
      return null;
    },
    mark() {
      const before = { end, lastMs };
      const undoHot = hot().mark();
      return () => {
        ({ end, lastMs } = before);
        undoHot();
        names.reload();
        reader.reload();
        for (const refs of allRefs) refs.reload();
      };
    },
    rotate(nowMs) {
      const { number, records, bytes, firstMs } = hot();
      const isFull = bytes >= segmentBytes || records >= HOT_RECORDS_MAX;
      if (records === 0 || !(isFull || nowMs - firstMs >= segmentMs)) return;
      const next = state.transaction(() => {
        noteEnd();
        return createHot(db, number + 1);
      });
      hots.push(next);
      changed();
      house.keepQuietly(nowMs);
    },
    trim: (nowMs) => house.keep(nowMs),
    async close() {
      await house.close();
      sealed.close();
    },
  };
}

function hotNumbers({ db }: State): number[] {
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'hot_[0-9]*'").all();
  return tables.map((row) => Number(String(row['name']).slice('hot_'.length))).sort((a, b) => a - b);
}

function sealedStretch(shelves: readonly Shelf[]): Stretch {
  return { first: Math.min(...shelves.map(({ first }) => first)), last: Math.max(...shelves.map(({ last }) => last)), shelves };
}

/** A hot table grows: its ends are asked for, not remembered. */
function hotStretch(hot: Hot): Stretch {
  return {
    get first() {
      return hot.first;
    },
    get last() {
      return hot.last;
    },
    shelves: [hot],
  };
}
