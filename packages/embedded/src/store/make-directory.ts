/** A directory with all above it, for this user alone. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Throws as mkdir(2) does. Not mkdirSync's own `recursive`: where a file system has the parent but refuses the child with
 * ENOENT (/proc does), that makes the parent again and again, for ever (Node 26.10).
 */
export function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeDirectory(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Somebody else was quicker.
    if ((error as { readonly code?: string }).code !== 'EEXIST') throw error;
  }
}
