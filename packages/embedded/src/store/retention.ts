/** Giving space back: whole files, by age and by size, with a note of what went with each. */
import type { FileList, SealedFile } from './files.ts';
import type { Names } from './names.ts';
import { isHidden } from './read.ts';
import type { Removed } from './removed.ts';
import type { Sealed } from './sealed.ts';
import type { State } from './state.ts';

/** Files taken off the list in one transaction: between two, others may work. */
const DROP_AT_ONCE = 8;

export interface RetentionContext {
  readonly state: State;
  readonly names: Names;
  readonly files: FileList;
  readonly sealed: Sealed;
  readonly removed: Removed;
  readonly maxBytes: number;
  hotBytes(): number;
  turn(): Promise<void>;
  /** Files with offsets up to `through` are gone. */
  took(through: number): void;
}

export async function dropExpired(nowMs: number, context: RetentionContext): Promise<void> {
  const { files } = context;
  await drop(
    [
      ...files.events().filter((file) => isExpired(file, nowMs, context)),
      ...files.keys().filter(({ untilMs }) => untilMs! <= nowMs),
    ],
    context,
  );
  await drop(oldestBeyondSize(context), context);
}

function isExpired({ topics }: SealedFile, nowMs: number, { names }: RetentionContext): boolean {
  return [...topics].every(([topic, { lastMs }]) => isHidden(names, topic, lastMs, nowMs));
}

/** The hot tables count, but do not go: they are a bounded part, and what a size limit is for is in the files. */
function oldestBeyondSize({ files, maxBytes, hotBytes }: RetentionContext): SealedFile[] {
  const oldest = files.events();
  let excess = hotBytes() + oldest.reduce((sum, { bytes }) => sum + bytes, 0) - maxBytes;
  const beyond: SealedFile[] = [];
  for (const file of oldest) {
    if (excess <= 0) break;
    beyond.push(file);
    excess -= file.bytes;
  }
  return beyond;
}

async function drop(gone: readonly SealedFile[], context: RetentionContext): Promise<void> {
  const { state, files, turn } = context;
  for (let from = 0; from < gone.length; from += DROP_AT_ONCE) {
    dropSome(gone.slice(from, from + DROP_AT_ONCE), context);
    state.transaction(() => files.sweep());
    await turn();
  }
}

function dropSome(gone: readonly SealedFile[], { state, files, sealed, removed, took }: RetentionContext): void {
  try {
    // The unlinking that follows is not undone by a power loss: this must not be either.
    state.durably(() => {
      for (const file of gone) note(file, { sealed, removed });
      removed.fold();
      files.doom(gone);
    });
  } catch (error) {
    files.reload();
    throw error;
  }
  for (const file of gone) sealed.letGo(file);
  took(gone.reduce((last, { kind, extent }) => (kind === 'events' ? Math.max(last, extent.last) : last), 0));
}

/** Of a file that can not be read any more the ends and counts are known from the list. */
export function note(
  file: SealedFile,
  { sealed, removed }: { readonly sealed: Pick<Sealed, 'marks'>; readonly removed: Removed },
): void {
  for (const [topic, extent] of file.topics) removed.add({ topic, extent, marks: sealed.marks(file, topic) });
}
