/** The segments directory at start: what a crash left is removed, what is listed is checked, what is neither is set aside. */
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { SetAside } from '../messages.ts';
import { namesIn } from './files.ts';
import type { FileList, SealedFile } from './files.ts';
import type { Removed } from './removed.ts';
import { note } from './retention.ts';
import { hotPrefix, SEALING_SUFFIX } from './seal.ts';
import { faultOf } from './sealed.ts';
import { damaged as damage } from './state.ts';
import type { State } from './state.ts';

export interface RecoverContext {
  readonly state: State;
  readonly files: FileList;
  readonly removed: Removed;
  /** Numbers of the hot tables there are. */
  readonly hots: readonly number[];
  readonly damaged: 'refuse' | 'set-aside';
}

/** Throws `data_directory_damaged` for a listed file that can't be used, unless it may be set aside. */
export function recoverFiles(context: RecoverContext): SetAside[] {
  const { state, files } = context;
  state.transaction(() => files.sweep());
  return [...setAsideDamaged(context), ...clearUnlisted(context)];
}

function setAsideDamaged({ state, files, removed, damaged }: RecoverContext): SetAside[] {
  const { directory } = files;
  const bad = [...files.events(), ...files.keys()].flatMap((file) => {
    const reason = faultOf(file, { directory, identity: state.identity, thorough: damaged === 'set-aside' });
    return reason === undefined ? [] : [{ file, reason }];
  });
  if (bad.length === 0) return [];
  if (damaged === 'refuse')
    throw damage(
      join(directory, bad[0]!.file.name),
      bad[0]!.reason + (bad.length > 1 ? ` (and ${bad.length - 1} more files are unusable)` : ''),
    );
  // Moved before it is taken off the list: a crash between leaves a listed file that is missing, and this is done again.
  for (const { file } of bad) moveAside(files, file.name);
  forget(
    bad.map(({ file }) => file),
    { state, files, removed },
  );
  return bad.map(({ file, reason }) => ({ file: file.name, reason, records: file.kind === 'events' ? file.extent.records : 0 }));
}

/** What was in the files is reported to readers as expired: lost, but never silently. */
function forget(
  gone: readonly SealedFile[],
  { state, files, removed }: Pick<RecoverContext, 'state' | 'files' | 'removed'>,
): void {
  state.transaction(() => {
    for (const file of gone) note(file, { sealed: { marks: () => undefined }, removed });
    files.doom(gone);
  });
  state.transaction(() => files.sweep());
}

/** Leftovers of a sealing hold only what the hot table still holds. Anything else that is not listed is nobody's to delete. */
function clearUnlisted({ files, hots }: RecoverContext): SetAside[] {
  const listed = new Set([...files.events(), ...files.keys()].map(({ name }) => name));
  return namesIn(files.directory).flatMap((name) => {
    if (listed.has(name)) return [];
    if (name.endsWith(SEALING_SUFFIX) || hots.some((hot) => name.startsWith(hotPrefix(hot)))) {
      rmSync(join(files.directory, name), { force: true, recursive: true });
      return [];
    }
    moveAside(files, name);
    return [{ file: name, reason: 'is not listed in state.db', records: 0 }];
  });
}

function moveAside({ directory }: FileList, name: string): void {
  const aside = join(directory, '..', 'set-aside');
  mkdirSync(aside, { recursive: true, mode: 0o700 });
  rmSync(join(aside, name), { force: true, recursive: true });
  try {
    renameSync(join(directory, name), join(aside, name));
  } catch (error) {
    if ((error as { readonly code?: string }).code !== 'ENOENT') throw error;
  }
}
