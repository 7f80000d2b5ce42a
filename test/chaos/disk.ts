/** A disk small enough to be filled, and a ballast to fill it with. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './clean-up.ts';

export interface Disk {
  readonly path: string;
  /** Until there is no space left. */
  fill(): void;
  /** Takes the ballast away. */
  free(): void;
  unmount(): void;
}

const PIECES = [1024 * 1024, 64 * 1024, 4 * 1024] as const;

/** A reason in its place where this machine does not let us mount one. */
export function mountDisk(megabytes: number): Disk | string {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs to be root on Linux, to mount a small disk';
  const path = mkdtempSync(join(tmpdir(), 'millrace-chaos-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path], { stdio: 'ignore' });
  } catch {
    rmdirSync(path);
    return 'this machine lets nobody mount a tmpfs';
  }
  const unmount = (): void => {
    execFileSync('umount', ['-l', path], { stdio: 'ignore' });
    rmdirSync(path);
  };
  const forget = atEnd(unmount);
  const ballast = join(path, 'ballast');
  return {
    path,
    fill: () => fill(ballast),
    free: () => rmSync(ballast, { force: true }),
    unmount() {
      forget();
      unmount();
    },
  };
}

/** In ever smaller pieces, to the last page. */
function fill(file: string): void {
  const descriptor = openSync(file, 'a');
  try {
    for (const size of PIECES) writeWhileThereIsRoom(descriptor, new Uint8Array(size));
  } finally {
    closeSync(descriptor);
  }
}

function writeWhileThereIsRoom(descriptor: number, bytes: Uint8Array): void {
  try {
    while (writeSync(descriptor, bytes) === bytes.length);
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== 'ENOSPC') throw error;
  }
}
