/** The directory in the store thread: JSON by kind, environment and id. */
import { Problem } from '@millrace/core/problem';
import type { DirectoryCalls, StoredResource } from '../messages.ts';
import type { State } from './state.ts';

export type DirectoryStore = {
  readonly [Name in keyof DirectoryCalls]: (value: DirectoryCalls[Name][0]) => DirectoryCalls[Name][1];
};

const COLUMNS = 'environment, id, version, value';

export function openDirectoryStore({ db }: Pick<State, 'db'>): DirectoryStore {
  const get = db.prepare(`SELECT ${COLUMNS} FROM directory WHERE kind = ? AND environment = ? AND id = ?`);
  const listAll = db.prepare(
    `SELECT ${COLUMNS} FROM directory WHERE kind = ? AND (environment, id) > (?, ?) ORDER BY environment, id LIMIT ?`,
  );
  const listOne = db.prepare(
    `SELECT ${COLUMNS} FROM directory WHERE kind = ? AND (environment, id) > (?, ?) AND environment = ? ORDER BY environment, id LIMIT ?`,
  );
  const put = db.prepare('INSERT OR REPLACE INTO directory (kind, environment, id, version, value) VALUES (?, ?, ?, ?, ?)');
  const remove = db.prepare('DELETE FROM directory WHERE kind = ? AND environment = ? AND id = ?');

  function find(kind: string, environment: string, id: string): StoredResource | undefined {
    const row = get.get(kind, environment, id);
    return row && resourceOf(row);
  }

  return {
    getResource: ({ kind, environment, id }) => find(kind, environment, id),
    listResources({ kind, environment, after, limit }) {
      const from = [after?.environment ?? '', after?.id ?? ''] as const;
      const rows = environment === undefined ? listAll.all(kind, ...from, limit) : listOne.all(kind, ...from, environment, limit);
      return rows.map(resourceOf);
    },
    putResource({ kind, environment, id, value, expect }) {
      const present = find(kind, environment, id);
      mustBe(expect, present, id);
      const version = (present?.version ?? 0) + 1;
      put.run(kind, environment, id, version, value);
      return { environment, id, version, value };
    },
    deleteResource({ kind, environment, id, expect }) {
      const present = find(kind, environment, id);
      if (present === undefined) return false;
      mustBe(expect, present, id);
      remove.run(kind, environment, id);
      return true;
    },
  };
}

/** Before anything is written: a refusal must not undo what shares its transaction. */
function mustBe(expect: 'absent' | number | undefined, present: StoredResource | undefined, id: string): void {
  if (expect === 'absent' && present !== undefined) throw new Problem('already_exists', `There is one with the id ${id} already`);
  if (typeof expect === 'number' && expect !== present?.version) {
    throw new Problem('version_mismatch', `${id} is at version ${present?.version ?? 'none'}, not ${expect}`);
  }
}

function resourceOf(row: Record<string, unknown>): StoredResource {
  const { environment, id, version, value } = row as unknown as StoredResource;
  return { environment, id, version, value };
}
