/** Idempotency keys: the newest use of a key, wherever it is by now. */
import type { FileList } from './files.ts';
import { keyOf } from './hot.ts';
import type { Hot, Use } from './hot.ts';
import type { Sealed } from './sealed.ts';

export interface KeySources {
  /** Oldest first. */
  readonly hots: readonly Hot[];
  readonly files: Pick<FileList, 'keys'>;
  readonly sealed: Pick<Sealed, 'filter' | 'use'>;
}

/** The use whose window is still open at `timeMs`. Of several uses only the newest can be: it began when the others' had ended. */
export function findUse(
  { hots, files, sealed }: KeySources,
  { app, key, timeMs }: { readonly app: number; readonly key: string; readonly timeMs: number },
): Use | undefined {
  const use = hotUse(hots, keyOf(app, key)) ?? sealedUse();
  return use !== undefined && use.untilMs > timeMs ? use : undefined;

  function sealedUse(): Use | undefined {
    const scopedKey = keyOf(app, key);
    for (const file of files.keys()) {
      if (file.untilMs! <= timeMs || !sealed.filter(file).mayHave(scopedKey)) continue;
      const found = sealed.use(file, app, key);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

function hotUse(hots: readonly Hot[], scopedKey: string): Use | undefined {
  for (let i = hots.length - 1; i >= 0; i--) {
    const use = hots[i]!.use(scopedKey);
    if (use !== undefined) return use;
  }
  return undefined;
}
