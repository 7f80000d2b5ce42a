/** What an operator should know of a data directory, as `millrace doctor` says it. */
import { statfs } from 'node:fs/promises';
import type { Finding } from '@millrace/gateway/ports/finding';

interface Needs {
  readonly directory: string;
  readonly durability: 'fsync' | 'relaxed';
  /** Of the file system a path is on: for tests of a full one. */
  readonly spaceOf?: (path: string) => Promise<Space>;
}

interface Space {
  readonly bavail: number;
  readonly bsize: number;
  readonly blocks: number;
}

/** Of the disk under the directory, and of it in parts: with less, a busy day fills it. */
const FREE_BYTES_MIN = 1024 ** 3;
const FREE_PART_MIN = 0.05;

export function createFindings({ directory, durability, spaceOf = statfs }: Needs): () => Promise<readonly Finding[]> {
  return async () => [...(durability === 'relaxed' ? [RELAXED] : []), ...spaceFindings(directory, await spaceOf(directory))];
}

const RELAXED: Finding = {
  level: 'note',
  code: 'durability_relaxed',
  problem: 'what is written is answered before it is on disk (--durability relaxed)',
  advice: 'A power loss may take the last moments; a kill of the process takes nothing.',
};

function spaceFindings(directory: string, { bavail, bsize, blocks }: Space): readonly Finding[] {
  const free = bavail * bsize;
  if (free >= FREE_BYTES_MIN && bavail / blocks >= FREE_PART_MIN) return [];
  return [
    {
      level: 'problem',
      code: 'disk_low',
      problem: `the disk under ${directory} has ${Math.floor(free / 1024 ** 2)} MB left`,
      advice: 'When it is full, nothing more is taken (log_full, ledger_full). Make room, or shorten the retention of topics.',
    },
  ];
}
