/** The raw limit of appends: the log's own table and settings, written by node:sqlite with nothing else. */
import { randomBytes } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { encodeEvent } from '@millrace/core/event-bytes';
import { newId } from '@millrace/core/ids';
import { hotSchema, PAGE_BYTES } from '../packages/embedded/src/store/schema.ts';
import { APP, eventsOf, TOPIC } from './rig.ts';

export interface RawTable {
  write(rows: number, perCommit: number): { readonly ms: number; readonly commitsMs: number[] };
  close(): void;
}

const EVENTS = 1_000;

export function createRawTable(path: string): RawTable {
  const db = new DatabaseSync(path);
  db.exec(`
    PRAGMA page_size = ${PAGE_BYTES};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA wal_autocheckpoint = 4000;
    PRAGMA cache_size = -32768;
    ${hotSchema(1)};
  `);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const insert = db.prepare('INSERT INTO hot_1 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const commit = db.prepare('COMMIT');
  const encoded = encodedEvents();
  let offset = 0;

  return {
    write(rows, perCommit) {
      const commitsMs: number[] = [];
      const startedMs = performance.now();
      for (let left = rows; left > 0; left -= perCommit) {
        const beganMs = performance.now();
        begin.run();
        for (let at = Math.min(left, perCommit); at > 0; at--) {
          insert.run(++offset, beganMs, 1, 1, null, encoded[offset % EVENTS] as Uint8Array, null, null, null);
        }
        commit.run();
        commitsMs.push(performance.now() - beganMs);
      }
      return { ms: performance.now() - startedMs, commitsMs };
    },
    close: () => db.close(),
  };
}

function encodedEvents(): Uint8Array[] {
  const nowMs = Date.now();
  const common = { source: `/apps/${APP}`, type: TOPIC, time: new Date(nowMs).toISOString(), extensions: {} };
  return eventsOf(EVENTS).map((draft) =>
    encodeEvent({ ...draft, ...common, id: newId('evt', nowMs, (count) => randomBytes(count)) }),
  );
}
