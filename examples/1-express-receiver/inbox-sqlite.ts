/** The inbox in a file: what was acked outlives the process. Several processes of one machine may share the file. */
import { DatabaseSync } from 'node:sqlite';
import { BOUNDS, type Inbox, type InboxBounds, type Message } from './inbox.ts';

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL; -- an ack is a promise: the message is on disk before it
  CREATE TABLE IF NOT EXISTS inbox (
    id       TEXT PRIMARY KEY,
    state    TEXT NOT NULL,              -- open, done, failed
    due_ms   INTEGER NOT NULL,           -- open: when it may be claimed; a claim moves it to its own end. done: when the id may go
    attempts INTEGER NOT NULL DEFAULT 0,
    headers  TEXT,
    body     BLOB,
    error    TEXT NOT NULL DEFAULT ''
  ) STRICT;
  CREATE INDEX IF NOT EXISTS inbox_due ON inbox (state, due_ms);`;
const BUSY_MS = 5_000;
/** Shown at a time. */
const LIST_MAX = 1_000;

interface Row {
  readonly id: string;
  readonly attempts: number;
  readonly headers: string;
  readonly body: Uint8Array;
  readonly error: string;
}

export interface SqliteInbox extends Inbox {
  close(): void;
}

export function openSqliteInbox(path: string, bounds: Partial<InboxBounds> = {}): SqliteInbox {
  const { openMax, failedMax, keepMs, now } = { ...BOUNDS, ...bounds };
  const database = new DatabaseSync(path, { timeout: BUSY_MS });
  database.exec(SCHEMA);
  const stateOf = database.prepare('SELECT state FROM inbox WHERE id = ?');
  const count = database.prepare('SELECT count(*) AS count FROM inbox WHERE state = ?');
  const keep = database.prepare(`
    INSERT INTO inbox (id, state, due_ms, headers, body) VALUES (?, 'open', ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET state = 'open', attempts = 0, due_ms = excluded.due_ms WHERE state = 'failed'`);
  const claim = database.prepare(`
    UPDATE inbox SET attempts = attempts + 1, due_ms = ?
    WHERE id = (SELECT id FROM inbox WHERE state = 'open' AND due_ms <= ? ORDER BY due_ms LIMIT 1)
    RETURNING id, attempts, headers, body`);
  const done = database.prepare("UPDATE inbox SET state = 'done', due_ms = ?, headers = NULL, body = NULL WHERE id = ?");
  const forget = database.prepare("DELETE FROM inbox WHERE state = 'done' AND due_ms <= ?");
  const ofClaim = "WHERE id = ? AND attempts = ? AND state = 'open'";
  const postpone = database.prepare(`UPDATE inbox SET due_ms = ?, error = ? ${ofClaim}`);
  const fail = database.prepare(`UPDATE inbox SET state = 'failed', error = ? ${ofClaim}`);
  const nextDue = database.prepare("SELECT min(due_ms) AS due FROM inbox WHERE state = 'open'");
  const failed = database.prepare(
    "SELECT id, attempts, headers, error FROM inbox WHERE state = 'failed' ORDER BY due_ms LIMIT ?",
  );

  const countOf = (state: string): number => (count.get(state) as { count: number }).count;
  const headersOf = ({ headers }: Row): Message['headers'] => JSON.parse(headers) as Message['headers'];

  return {
    async seen({ id, headers, body }) {
      const state = stateOf.get(id)?.['state'];
      if (state === 'open' || state === 'done') return 'seen';
      if (countOf('open') >= openMax || (state === undefined && countOf('failed') >= failedMax)) return 'full';
      // Another process may have been faster: then nothing changes here.
      return keep.run(id, now(), JSON.stringify(headers), body).changes === 1 ? 'new' : 'seen';
    },
    async claim(untilMs) {
      const row = claim.get(untilMs, now()) as unknown as Row | undefined;
      if (row === undefined) return undefined;
      return { message: { id: row.id, headers: headersOf(row), body: row.body }, attempt: row.attempts };
    },
    async markSeen(id) {
      done.run(now() + keepMs, id);
      forget.run(now());
    },
    async postpone({ message: { id }, attempt }, dueMs, error) {
      postpone.run(dueMs, error, id, attempt);
    },
    async fail({ message: { id }, attempt }, error) {
      fail.run(error, id, attempt);
    },
    async nextDueMs() {
      return (nextDue.get() as { due: number | null }).due ?? undefined;
    },
    async failed() {
      return (failed.all(LIST_MAX) as unknown as Row[]).map((row) => ({
        id: row.id,
        topic: headersOf(row)['ce-type'] ?? '',
        attempts: row.attempts,
        error: row.error,
      }));
    },
    close: () => database.close(),
  };
}
