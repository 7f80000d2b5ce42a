/** The newest state of each key. One statement decides and writes, so copies and what is late can't undo what is newer. */
import { DatabaseSync } from 'node:sqlite';

export interface Change {
  readonly key: string;
  /** `ce-sequence`: the place in the log. Sortable as text, and only as text. */
  readonly sequence: string;
  readonly data: string;
}

export interface Latest {
  /** False: what is there is as new, or newer. */
  apply(change: Change): boolean;
  get(key: string): Change | undefined;
  close(): void;
}

export function openLatest(path: string): Latest {
  const database = new DatabaseSync(path);
  database.exec('CREATE TABLE IF NOT EXISTS latest (key TEXT PRIMARY KEY, sequence TEXT NOT NULL, data TEXT NOT NULL) STRICT');
  const apply = database.prepare(`
    INSERT INTO latest (key, sequence, data) VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, data = excluded.data WHERE excluded.sequence > latest.sequence`);
  const get = database.prepare('SELECT key, sequence, data FROM latest WHERE key = ?');
  return {
    apply: ({ key, sequence, data }) => apply.run(key, sequence, data).changes === 1,
    get: (key) => get.get(key) as Change | undefined,
    close: () => database.close(),
  };
}
