/**
 * Runtimes that npm has as one package per platform: the package with the program is fetched itself, as the one that stands for all of them would have
 * to run a script to find it. Not in package-lock.json: each is a hundred megabytes that only tests want.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Runtime, RuntimeUnavailable } from './runtime.ts';

export interface Pin {
  readonly package: string;
  /** Of the archive, as package-lock.json would have it. */
  readonly integrity: string;
}

export interface Packaged {
  readonly name: string;
  readonly version: string;
  /** Of the program, in the package. */
  readonly program: string;
  /** By `process.platform` and `process.arch`. */
  readonly pins: Readonly<Record<string, Pin>>;
}

const run = promisify(execFile);
const HERE = `${process.platform}-${process.arch}`;

export function packaged({ name, version, program, pins }: Packaged, here = HERE): Runtime {
  const folderIn = (cache: string): string => join(cache, 'runtimes', `${name}-${version}-${here}`);
  return {
    name,
    find(cache) {
      const path = join(folderIn(cache), program);
      return existsSync(path) ? path : undefined;
    },
    async fetch(cache) {
      const pin = pins[here];
      if (pin === undefined)
        throw new RuntimeUnavailable(
          `${name} ${version} is not pinned for ${here}`,
          `Pinned are ${Object.keys(pins).join(', ')}.`,
        );
      await unpack(`${pin.package}@${version}`, pin.integrity, folderIn(cache));
    },
  };
}

/** Made beside its place and moved there whole: two at once both move a good one. */
async function unpack(spec: string, integrity: string, folder: string): Promise<void> {
  mkdirSync(dirname(folder), { recursive: true });
  const making = mkdtempSync(`${folder}-making-`);
  try {
    const archive = await download(spec, making);
    const [algorithm = '', digest] = integrity.split(/-(.*)/s);
    const found = createHash(algorithm).update(readFileSync(archive)).digest('base64');
    if (found !== digest)
      throw new RuntimeUnavailable(`${spec} is not what was pinned: ${algorithm}-${found}`, 'Ask whose registry this is.');
    await run('tar', ['-xzf', archive, '-C', making]);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(making, 'package'), folder);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}

async function download(spec: string, folder: string): Promise<string> {
  try {
    await run('npm', ['pack', spec, '--silent', '--ignore-scripts', '--pack-destination', folder], { cwd: folder });
  } catch (error) {
    const { stderr, message } = error as Error & { readonly stderr?: string };
    throw new RuntimeUnavailable(
      `${spec} could not be fetched: ${(stderr ?? message).trim().slice(-1_000)}`,
      'It needs npm, and a registry that has this package.',
    );
  }
  const name = readdirSync(folder).find((file) => file.endsWith('.tgz'));
  if (name === undefined) throw new RuntimeUnavailable(`npm pack ${spec} left no archive`, 'It needs npm 9 or newer.');
  return join(folder, name);
}
