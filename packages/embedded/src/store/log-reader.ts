/** Reading the log in the store thread. */
import { compileTopics } from '@millrace/core/topic';
import type { Calls, PackedPage } from '../messages.ts';
import type { Names } from './names.ts';
import { packRecords } from '../packing.ts';
import type { PackableRecord } from '../packing.ts';
import { positionOf } from '../position.ts';
import { isHidden, readPage } from './read.ts';
import type { Stretch } from './read.ts';
import type { Removed } from './removed.ts';
import type { Row } from './shelf.ts';

/** Subscriptions come and go: what is not asked for again is not worth keeping. */
const SELECTIONS_MAX = 10_000;

type In<Name extends keyof Calls> = Calls[Name][0];
type Out<Name extends keyof Calls> = Calls[Name][1];

export interface LogReader {
  read(query: In<'read'>, nowMs: number): PackedPage;
  fetch(offset: number, nowMs: number): Out<'fetch'>;
  positionAt(timeMs: number): number;
  bounds(nowMs: number): Out<'bounds'>;
  /** After a rollback: topics may have other numbers. */
  reload(): void;
}

export interface LogReaderOptions {
  readonly names: Names;
  readonly removed: Removed;
  readonly stretches: () => readonly Stretch[];
  /** The last offset that was given out, and the time of the last append. */
  readonly last: () => { readonly end: number; readonly timeMs: number };
}

export function createLogReader({ names, removed, stretches, last }: LogReaderOptions): LogReader {
  const selections = new Map<string, { readonly topicCount: number; readonly wanted: ReadonlySet<number> }>();

  function wantedBy(only: In<'read'>['only']): ReadonlySet<number> | undefined {
    if (only === undefined) return undefined;
    const key = JSON.stringify([only.environment, ...only.topics]);
    const known = selections.get(key);
    if (known?.topicCount === names.topicCount) return known.wanted;
    const matches = compileTopics(only.topics);
    const mine = [...names.topics()].filter(({ environment, topic }) => environment === only.environment && matches(topic));
    const wanted = new Set(mine.map(({ id }) => id));
    if (selections.size >= SELECTIONS_MAX) selections.clear();
    selections.set(key, { topicCount: names.topicCount, wanted });
    return wanted;
  }

  function packable([offset, timeMs, topic, app, bytes]: Row): PackableRecord {
    return { offset, timeMs, environment: names.topic(topic).environment, app: names.app(app).app, bytes };
  }

  function rowAt(offset: number): Row | undefined {
    const stretch = stretches().find((each) => offset >= each.first && offset <= each.last);
    for (const shelf of stretch?.shelves ?? []) {
      const row = shelf.at(offset);
      if (row !== undefined) return row;
    }
    return undefined;
  }

  function lastVisible(nowMs: number): { offset: number; timeMs: number } | undefined {
    for (const { shelves } of stretches().toReversed()) {
      const visible = shelves
        .flatMap((shelf) => [...shelf.topics()])
        .filter(([topic, { lastMs }]) => !isHidden(names, topic, lastMs, nowMs));
      const [newest] = visible.map(([, extent]) => extent).sort((a, b) => b.last - a.last);
      if (newest !== undefined) return { offset: newest.last, timeMs: newest.lastMs };
    }
    return undefined;
  }

  return {
    read({ after, only, limit, maxBytes }, nowMs) {
      const { end } = last();
      const query = { after, wanted: wantedBy(only), limit, maxBytes, nowMs, end };
      const { rows, through, loss } = readPage({ stretches: stretches(), names, removed }, query);
      const known = loss?.exact === true ? { firstTimeMs: loss.firstMs, count: loss.records } : {};
      const expired = loss && { last: { position: positionOf(loss.last), timeMs: loss.lastMs }, ...known };
      return {
        records: packRecords(rows.map(packable)),
        through: positionOf(through),
        atEnd: through >= end,
        ...(expired && { expired }),
      };
    },
    fetch(offset, nowMs) {
      const row = rowAt(offset);
      const isThere = row !== undefined && !isHidden(names, row[2], row[1], nowMs);
      return packRecords(isThere ? [packable(row)] : []);
    },
    positionAt(timeMs) {
      if (timeMs > last().timeMs) return last().end;
      const kept = stretches().flatMap(({ shelves }) => shelves.map((shelf) => shelf.lastBefore(timeMs)));
      return Math.max(removed.lastBefore(timeMs), ...kept);
    },
    bounds(nowMs) {
      const { end } = last();
      const [row] = readPage(
        { stretches: stretches(), names, removed },
        { after: 0, wanted: undefined, limit: 1, maxBytes: 0, nowMs, end },
      ).rows;
      const newest = lastVisible(nowMs);
      return { ...(row && newest ? { first: { offset: row[0], timeMs: row[1] }, last: newest } : {}), end };
    },
    reload: () => selections.clear(),
  };
}
