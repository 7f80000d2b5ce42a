/** A real browser: Debian's, or whichever MILLRACE_CHROMIUM names. */
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { type Runtime, RuntimeUnavailable } from './runtime.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
const ADVICE = 'Install Chromium (Debian, as root: apt-get install chromium), or name one: MILLRACE_CHROMIUM=/path/to/it.';

const run = promisify(execFile);

export const chromium: Runtime = {
  name: 'chromium',
  find() {
    const { PATH = '', MILLRACE_CHROMIUM: named } = process.env;
    // Who names one means that one, and no other.
    const all =
      named === undefined ? PATH.split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name))) : [named];
    return all.find(isProgram);
  },
  async fetch() {
    const { MILLRACE_CHROMIUM: named } = process.env;
    if (named !== undefined) throw new RuntimeUnavailable(`MILLRACE_CHROMIUM names ${named}, which is no program here`, ADVICE);
    if (process.getuid?.() !== 0 || !(await hasApt())) throw new RuntimeUnavailable('there is no Chromium here', ADVICE);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    try {
      await run('apt-get', ['update', '-q'], { env });
      await run('apt-get', ['install', '-qy', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'], { env });
    } catch (error) {
      throw new RuntimeUnavailable(`apt-get could not install Chromium: ${String(error).slice(-1_000)}`, ADVICE);
    }
  },
};

async function hasApt(): Promise<boolean> {
  return run('apt-get', ['--version']).then(
    () => true,
    () => false,
  );
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return path !== '';
  } catch {
    return false;
  }
}
