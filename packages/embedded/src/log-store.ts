/** The log in the store thread: one hot table that takes appends, older ones being sealed, sealed files. */
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import type { TopicRetention } from '@millrace/gateway/ports/log';
import { openFileList } from './files.ts';
import { createHot, HOT_RECORDS_MAX, openHot } from './hot.ts';
import type { Hot, HotKey } from './hot.ts';
import { findUse } from './keys.ts';
import type { Calls, Fault, PackedPage, SetAside, Setup } from './messages.ts';
import { DEFAULT_RETENTION_MS, loadNames } from './names.ts';
import type { App, Topic } from './names.ts';
import { packRecords, readMemo, unpackBatch } from './packing.ts';
import type { AppendAnswer, AppendBatch, BatchKey, NamePair, PackableRecord, Settled } from './packing.ts';
import { positionOf } from './position.ts';
import { isHidden, readPage } from './read.ts';
import type { PageRows, Stretch } from './read.ts';
import { recoverFiles } from './recover.ts';
import { openRemoved } from './removed.ts';
import { dropExpired } from './retention.ts';
import { seal } from './seal.ts';
import type { SealStep } from './seal.ts';
import { openSealed } from './sealed.ts';
import type { Row, Shelf } from './shelf.ts';
import type { State } from './state.ts';

/** After a stop in `relaxed` mode that was no close, events may be gone whose offsets somebody has seen. */
const SKIP_AHEAD = 1_000_000;
/** Copied between two turns while sealing keeps up. */
const PIECE_BYTES = 1024 * 1024;

type In<Name extends keyof Calls> = Calls[Name][0];
type Out<Name extends keyof Calls> = Calls[Name][1];

export interface LogStore {
  readonly end: number;
  readonly setAside: readonly SetAside[];
  retentions(): TopicRetention[];
  /** Once per batch, when it arrives: the names it brings. */
  learn(batch: AppendBatch): void;
  /** The three below run inside the thread's transaction. */
  append(batch: AppendBatch, nowMs: number): AppendAnswer;
  declareTopic(topic: TopicRetention): null;
  /** Begins a transaction; what is returned undoes in memory what a rollback undoes on disk. */
  mark(): () => void;
  read(query: In<'read'>, nowMs: number): PackedPage;
  fetch(offset: number, nowMs: number): Out<'fetch'>;
  positionAt(timeMs: number): number;
  bounds(nowMs: number): Out<'bounds'>;
  /** Between transactions: begins a new hot table where the present one is full or old. */
  rotate(nowMs: number): void;
  trim(nowMs: number): Promise<null>;
  close(): Promise<void>;
}

export interface LogStoreOptions extends Pick<Setup, 'segmentBytes' | 'segmentMs' | 'maxBytes' | 'damaged' | 'nowMs'> {
  readonly fault: Fault | undefined;
  /** Lets waiting messages be worked. */
  readonly turn: () => Promise<void>;
  readonly took: (through: number) => void;
}

export function openLogStore(state: State, { segmentBytes, segmentMs, maxBytes, damaged, nowMs: startMs, fault, turn, took }: LogStoreOptions): LogStore {
  const { db } = state;
  const names = loadNames(db);
  const files = openFileList(state);
  const sealed = openSealed(files);
  const removed = openRemoved(state);
  const hotNumbers = hotTables();
  const setAside = recoverFiles({ state, files, removed, hots: hotNumbers, damaged });
  const hots = hotNumbers.map((number) => openHot(db, number));
  const topicRefs: NamePair[] = [];
  const appRefs: NamePair[] = [];
  let topicsByRef: Topic[] = [];
  let appsByRef: App[] = [];
  let end = Math.max(Number(state.fact('last_offset') ?? 0), ...hots.map(({ last }) => last));
  let lastMs = Math.max(Number(state.fact('last_ms') ?? 0), ...hots.flatMap((hot) => [...hot.topics()].map(([, extent]) => extent.lastMs)));
  let sealing: Promise<void> | undefined;
  let closing = false;
  let pendingFault = fault;
  let stretches = stretchesNow();
  const selections = new Map<string, { readonly topicCount: number; readonly wanted: ReadonlySet<number> }>();

  if (state.left === 'relaxed') end += SKIP_AHEAD;
  state.transaction(() => {
    noteEnd();
    if (hots.length === 0) hots.push(createHot(db, 1));
  });
  stretches = stretchesNow();
  void sealOlder(startMs);

  function hotTables(): number[] {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'hot_[0-9]*'").all();
    return tables.map((row) => Number(String(row['name']).slice('hot_'.length))).sort((a, b) => a - b);
  }

  function noteEnd(): void {
    state.setFact('last_offset', end);
    state.setFact('last_ms', lastMs);
  }

  function hot(): Hot {
    return hots.at(-1)!;
  }

  function stretchesNow(): Stretch[] {
    const byHot = new Map<number, Shelf[]>();
    for (const file of files.events()) byHot.set(file.hot, [...(byHot.get(file.hot) ?? []), sealed.shelf(file)]);
    const ofFiles = [...byHot.values()].map((shelves) => ({
      first: Math.min(...shelves.map(({ first }) => first)),
      last: Math.max(...shelves.map(({ last }) => last)),
      shelves,
    }));
    // A hot table grows: its ends are asked for, not remembered.
    const ofHots = hots.map((table) => ({ get first() { return table.first; }, get last() { return table.last; }, shelves: [table] })); // prettier-ignore
    return [...ofFiles.sort((a, b) => a.first - b.first), ...ofHots];
  }

  // --- appending

  function topicByRef(ref: number): Topic {
    return (topicsByRef[ref] ??= names.topicOf(...topicRefs[ref]!));
  }

  function appByRef(ref: number): App {
    return (appsByRef[ref] ??= names.appOf(...appRefs[ref]!));
  }

  function append(batch: AppendBatch, nowMs: number): AppendAnswer {
    const timeMs = Math.max(lastMs, nowMs);
    const first = end + 1;
    const others: [number, Settled | null][] = [];
    const keys = batch.keys[Symbol.iterator]();
    let key = keys.next().value;
    let at = 0;
    for (const { topic, app, audience, bytes } of unpackBatch(batch)) {
      const mine: BatchKey | undefined = key?.at === at ? key : undefined;
      if (mine !== undefined) key = keys.next().value;
      const by = appByRef(app).id;
      const settled = mine && settledBy(mine, by, timeMs);
      if (settled !== undefined) others.push([at, settled]);
      else {
        const dedupe: HotKey | undefined = mine && { key: mine.key, memo: mine.memo, untilMs: timeMs + mine.windowMs };
        hot().insert({ offset: ++end, timeMs, topic: topicByRef(topic).id, app: by, audience: audience === undefined ? null : appByRef(audience).id, bytes, key: dedupe });
        lastMs = timeMs;
      }
      at++;
    }
    return { first, timeMs, others };
  }

  /** What becomes of an entry whose key was used: null for a conflict. */
  function settledBy({ key, memo }: BatchKey, app: number, timeMs: number): Settled | null | undefined {
    const use = findUse({ hots, files, sealed }, { app, key, timeMs });
    if (use === undefined) return undefined;
    const known = readMemo(use.memo);
    return known.digest === readMemo(memo).digest ? { offset: use.offset, timeMs: use.timeMs, id: known.id } : null;
  }

  // --- reading

  function wantedBy(only: In<'read'>['only']): ReadonlySet<number> | undefined {
    if (only === undefined) return undefined;
    const key = JSON.stringify([only.environment, ...only.topics]);
    const known = selections.get(key);
    if (known?.topicCount === names.topicCount) return known.wanted;
    const matches = compileTopics(only.topics);
    const wanted = new Set([...names.topics()].filter((topic) => topic.environment === only.environment && matches(topic.topic)).map(({ id }) => id));
    // Subscriptions come and go; what is not asked for again is not worth keeping.
    if (selections.size > 10_000) selections.clear();
    selections.set(key, { topicCount: names.topicCount, wanted });
    return wanted;
  }

  function page(query: Pick<In<'read'>, 'after' | 'limit' | 'maxBytes'>, wanted: ReadonlySet<number> | undefined, nowMs: number): PageRows {
    return readPage({ stretches, names, removed }, { ...query, wanted, nowMs, end });
  }

  function packable([offset, timeMs, topic, app, bytes]: Row): PackableRecord {
    return { offset, timeMs, environment: names.topic(topic).environment, app: names.app(app).app, bytes };
  }

  function rowAt(offset: number): Row | undefined {
    const stretch = stretches.find(({ first, last }) => offset >= first && offset <= last);
    for (const shelf of stretch?.shelves ?? []) {
      const row = shelf.at(offset);
      if (row !== undefined) return row;
    }
    return undefined;
  }

  function lastVisible(nowMs: number): { offset: number; timeMs: number } | undefined {
    for (const { shelves } of stretches.toReversed()) {
      const visible = shelves.flatMap((shelf) => [...shelf.topics()]).filter(([topic, { lastMs: ms }]) => !isHidden(names, topic, ms, nowMs));
      const newest = visible.map(([, extent]) => extent).sort((a, b) => b.last - a.last)[0];
      if (newest !== undefined) return { offset: newest.last, timeMs: newest.lastMs };
    }
    return undefined;
  }

  // --- sealing and retention

  /** Seals every hot table but the one that takes appends. One at a time; who calls while it goes on waits for the same. */
  function sealOlder(nowMs: number): Promise<void> {
    sealing ??= sealAll(nowMs).finally(() => (sealing = undefined));
    // Nobody may be waiting. What went wrong comes up again at the next trim, which tells.
    sealing.catch(() => {});
    return sealing;
  }

  async function sealAll(nowMs: number): Promise<void> {
    while (hots.length > 1 && !closing) {
      await turnOrStop();
      await seal(hots[0]!, nowMs, { state, names, files, turn: turnOrStop, pieceBytes: () => PIECE_BYTES * (hots.length - 1), reached });
      hots.shift();
      stretches = stretchesNow();
    }
  }

  async function turnOrStop(): Promise<void> {
    await turn();
    if (closing) throw new Problem('log_unavailable', 'The log is closed');
  }

  function reached(step: SealStep): void {
    if (pendingFault?.at !== step) return;
    const { what } = pendingFault;
    pendingFault = undefined;
    if (what === 'kill') process.kill(process.pid, 'SIGKILL');
    else throw Object.assign(new Error('no space left on device (made by a test)'), { code: 'ENOSPC' });
  }

  function startHot(nowMs: number): void {
    const next = state.transaction(() => {
      noteEnd();
      return createHot(db, hot().number + 1);
    });
    hots.push(next);
    stretches = stretchesNow();
    void sealOlder(nowMs);
  }

  return {
    get end() {
      return end;
    },
    setAside,
    retentions: () =>
      [...names.topics()].filter(({ retentionMs }) => retentionMs !== DEFAULT_RETENTION_MS).map(({ environment, topic, retentionMs }) => ({ environment, topic, retentionMs })),
    learn({ topics, apps }) {
      topicRefs.push(...topics);
      appRefs.push(...apps);
    },
    append,
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
        topicsByRef = [];
        appsByRef = [];
        selections.clear();
      };
    },
    read({ after, only, limit, maxBytes: pageBytes }, nowMs) {
      const { rows, through, loss } = page({ after, limit, maxBytes: pageBytes }, wantedBy(only), nowMs);
      const expired = loss && { last: { position: positionOf(loss.last), timeMs: loss.lastMs }, ...(loss.exact ? { firstTimeMs: loss.firstMs, count: loss.records } : {}) };
      return { records: packRecords(rows.map(packable)), through: positionOf(through), atEnd: through >= end, ...(expired === undefined ? {} : { expired }) };
    },
    fetch(offset, nowMs) {
      const row = rowAt(offset);
      const isThere = row !== undefined && !isHidden(names, row[2], row[1], nowMs);
      return packRecords(isThere ? [packable(row)] : []);
    },
    positionAt(timeMs) {
      if (timeMs > lastMs) return end;
      const kept = stretches.flatMap(({ shelves }) => shelves.map((shelf) => shelf.lastBefore(timeMs)));
      return Math.max(removed.lastBefore(timeMs), ...kept);
    },
    bounds(nowMs) {
      const [row] = page({ after: 0, limit: 1, maxBytes: 0 }, undefined, nowMs).rows;
      const last = lastVisible(nowMs);
      return { ...(row && last ? { first: { offset: row[0], timeMs: row[1] }, last } : {}), end };
    },
    rotate(nowMs) {
      const { records, bytes, firstMs } = hot();
      const isFull = bytes >= segmentBytes || records >= HOT_RECORDS_MAX;
      if (records > 0 && (isFull || nowMs - firstMs >= segmentMs)) startHot(nowMs);
    },
    async trim(nowMs) {
      await sealOlder(nowMs);
      const context = { state, names, files, sealed, removed, maxBytes, hotBytes: () => hots.reduce((sum, { bytes }) => sum + bytes, 0), turn: turnOrStop, took };
      await dropExpired(nowMs, { ...context, took: (through) => ((stretches = stretchesNow()), took(through)) });
      return null;
    },
    async close() {
      closing = true;
      await sealing?.catch(() => {});
      sealed.close();
    },
  };
}
