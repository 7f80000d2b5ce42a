/**
 * Sealing: a hot table becomes one file per retention class and one of its idempotency keys.
 *
 *   build    copy into {name}.sealing, a piece between two groups of appends
 *   sync     fsync every file, in the thread pool
 *   rename   to the final name, fsync the directory
 *   list     one transaction: the files on the list, the hot table gone
 *
 * Until `list` commits, the hot table holds everything and the files mean nothing: a start after a crash removes them
 * and begins again. SQL copies from SQL; no event passes through JavaScript.
 */
import { open, stat } from 'node:fs/promises';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import { isStorageError } from './faults.ts';
import type { FileList, SealedFile } from './files.ts';
import type { Hot } from './hot.ts';
import { createKeyFilter } from './key-filter.ts';
import { encodeMarks } from './marks.ts';
import type { Names } from './names.ts';
import { makePrivate } from './private-file.ts';
import { APPLICATION_ID, EVENTS_SCHEMA, KEYS_SCHEMA, PAGE_BYTES, SCHEMA_VERSION } from './schema.ts';
import { joinExtents } from './shelf.ts';
import type { Extent } from './shelf.ts';
import { syncDirectory } from './state.ts';
import type { State } from './state.ts';

export const SEALING_SUFFIX = '.sealing';

/** What a crash can fall between; named for the tests that make it happen. */
export type SealStep = 'building' | 'built' | 'synced' | 'renamed' | 'listing' | 'listed';

export interface SealContext {
  readonly state: State;
  readonly names: Names;
  readonly files: FileList;
  /** Lets other work of the thread go on. Throws where the sealing is to be given up. */
  turn(): Promise<void>;
  /** How much is copied between two turns, in bytes. */
  pieceBytes(): number;
  reached(step: SealStep): void;
}

/** A file is given back once everything in it has expired: topics are kept with those of about the same retention. */
const HOUR_MS = 3_600_000;
const CLASSES: readonly (readonly [label: string, upToMs: number])[] = [
  ['1h', HOUR_MS],
  ['6h', 6 * HOUR_MS],
  ['1d', 24 * HOUR_MS],
  ['3d', 72 * HOUR_MS],
  ['7d', 168 * HOUR_MS],
  ['30d', 720 * HOUR_MS],
  ['90d', 2_160 * HOUR_MS],
  ['1y', 8_784 * HOUR_MS],
  ['long', Infinity],
];
const PIECE_ROWS_MAX = 2_048;

/** Resolves when the files are listed and the table is gone. Rejects, with everything as before, when that can't be done now. */
export async function seal(hot: Hot, nowMs: number, context: SealContext): Promise<void> {
  const { state, files, reached } = context;
  const built: SealedFile[] = [];
  try {
    for (const [label, topics] of classesOf(hot, context.names)) built.push(await buildEvents(hot, label, topics, context));
    mustBeAll(hot, built);
    if (hot.keysUntilMs > nowMs) built.push(...(await buildKeys(hot, nowMs, context)));
    reached('built');
    await place(built, context);
    state.transaction(() => {
      for (const file of built) files.add(file);
      state.db.exec(`DROP TABLE hot_${hot.number}`);
      reached('listing');
    });
  } catch (error) {
    files.reload();
    // After a failed fsync nobody knows whether the list counts. Then the files stay, and the thread ends.
    if (isStorageError(error) || error instanceof Problem) for (const { name } of built) remove(files, name);
    throw error;
  }
  reached('listed');
}

function classesOf(hot: Hot, names: Names): Map<string, number[]> {
  const topics = [...hot.topics()].map(([topic]) => topic);
  return Map.groupBy(topics, (topic) => CLASSES.find(([, upToMs]) => names.topic(topic).retentionMs <= upToMs)![0]);
}

async function buildEvents(hot: Hot, label: string, topics: readonly number[], context: SealContext): Promise<SealedFile> {
  const name = fileName(hot, label);
  const all = new Map(hot.topics());
  const extents = new Map(topics.map((topic) => [topic, all.get(topic)!]));
  const bytes = await build(name, EVENTS_SCHEMA, hot, context, async ({ db }) => {
    const copy = db.prepare(`
      INSERT INTO sealed.events SELECT offset, time_ms, topic, app, audience, bytes FROM hot_${hot.number}
      WHERE offset > ? AND offset <= ? ${extents.size === all.size ? '' : `AND topic IN (${topics.join()})`}
    `);
    for await (const [after, through] of pieces(hot, context)) copy.run(after, through);
    const copied = Number(db.prepare('SELECT count(*) AS records FROM sealed.events').get()!['records']);
    if (copied !== joined(extents)!.records)
      throw new Error(`${name} holds ${copied} events instead of ${joined(extents)!.records}`);
    writeNames(hot, topics, context);
  });
  return { name, hot: hot.number, kind: 'events', bytes, untilMs: null, extent: joined(extents)!, topics: extents };
}

async function buildKeys(hot: Hot, nowMs: number, context: SealContext): Promise<SealedFile[]> {
  const name = fileName(hot, 'keys');
  const { first, last, firstMs } = hot;
  let records = 0;
  const bytes = await build(name, KEYS_SCHEMA, hot, context, async ({ db }) => {
    const copy = db.prepare(`
      INSERT OR REPLACE INTO sealed.keys SELECT app, key, offset, time_ms, until_ms, memo FROM hot_${hot.number}
      WHERE offset > ? AND offset <= ? AND key IS NOT NULL AND until_ms > ?
    `);
    for await (const [after, through] of pieces(hot, context)) records += Number(copy.run(after, through, nowMs).changes);
    db.prepare('INSERT INTO sealed.filter VALUES (?)').run(await filterOf(hot, context));
  });
  const extent = { records, first, last, firstMs, lastMs: firstMs };
  return [{ name, hot: hot.number, kind: 'keys', bytes, untilMs: hot.keysUntilMs, extent, topics: new Map() }];
}

/** Makes the file with `fill` and returns its size. What goes wrong leaves no file and nothing attached. */
async function build(
  name: string,
  schema: string,
  hot: Hot,
  context: SealContext,
  fill: (state: State) => Promise<void>,
): Promise<number> {
  const { state, files, reached } = context;
  const path = join(files.directory, `${name}${SEALING_SUFFIX}`);
  rmSync(path, { force: true });
  makePrivate(path);
  state.db.prepare('ATTACH ? AS sealed').run(path);
  try {
    state.db.exec(preamble(schema));
    const about = state.db.prepare('INSERT INTO sealed.about VALUES (?, ?)');
    about.run('identity', state.identity);
    about.run('hot', hot.number);
    reached('building');
    await fill(state);
  } catch (error) {
    state.db.exec('DETACH sealed');
    rmSync(path, { force: true });
    throw error;
  }
  state.db.exec('DETACH sealed');
  return (await stat(path)).size;
}

/** No journal and no fsync of its own: until it is listed the file can only be thrown away. */
function preamble(schema: string): string {
  return `
    PRAGMA sealed.page_size = ${PAGE_BYTES};
    PRAGMA sealed.journal_mode = OFF;
    PRAGMA sealed.synchronous = OFF;
    PRAGMA sealed.application_id = ${APPLICATION_ID};
    PRAGMA sealed.user_version = ${SCHEMA_VERSION};
    ${schema}
  `;
}

/** Ranges of offsets, each worth about `pieceBytes`, with a turn for others after each. */
async function* pieces(hot: Hot, { turn, pieceBytes }: SealContext): AsyncGenerator<readonly [after: number, through: number]> {
  for (let after = hot.first - 1; after < hot.last;) {
    const rows = Math.ceil((pieceBytes() * hot.records) / hot.bytes);
    const through = Math.min(hot.last, after + Math.min(rows, PIECE_ROWS_MAX));
    yield [after, through];
    after = through;
    await turn();
  }
}

function writeNames(hot: Hot, topics: readonly number[], { state, names }: SealContext): void {
  const addTopic = state.db.prepare('INSERT INTO sealed.topics VALUES (?, ?, ?, ?)');
  for (const id of topics) addTopic.run(id, names.topic(id).environment, names.topic(id).topic, encodeMarks(hot.marks(id)));
  const addApp = state.db.prepare('INSERT INTO sealed.apps VALUES (?, ?, ?)');
  for (const id of hot.apps()) addApp.run(id, names.app(id).environment, names.app(id).app);
}

async function filterOf(hot: Hot, { turn }: SealContext): Promise<Uint8Array> {
  const keys = [...hot.keys()];
  const filter = createKeyFilter(keys.length);
  for (const [i, key] of keys.entries()) {
    filter.add(key);
    if (i % PIECE_ROWS_MAX === 0) await turn();
  }
  return filter.bits;
}

async function place(built: readonly SealedFile[], { files, reached }: SealContext): Promise<void> {
  for (const { name } of built) await sync(join(files.directory, `${name}${SEALING_SUFFIX}`));
  reached('synced');
  for (const { name } of built) renameSync(join(files.directory, `${name}${SEALING_SUFFIX}`), join(files.directory, name));
  syncDirectory(files.directory);
  reached('renamed');
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function remove({ directory }: FileList, name: string): void {
  for (const suffix of ['', SEALING_SUFFIX]) rmSync(join(directory, `${name}${suffix}`), { force: true });
}

function mustBeAll(hot: Hot, built: readonly SealedFile[]): void {
  const records = built.reduce((sum, { extent }) => sum + extent.records, 0);
  if (records !== hot.records) throw new Error(`${records} of ${hot.records} events of hot_${hot.number} were sealed`);
}

function joined(extents: ReadonlyMap<number, Extent>): Extent | undefined {
  return [...extents.values()].reduce<Extent | undefined>(joinExtents, undefined);
}

/** Nine digits of the hot table's number, so that names sort by age. */
function fileName({ number }: Hot, label: string): string {
  return `${hotPrefix(number)}${label}.db`;
}

export function hotPrefix(hot: number): string {
  return `${String(hot).padStart(9, '0')}-`;
}
