/** The gateway as a process: signals and exit codes. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import type { Notice } from './api.ts';
import { explained } from './data-refusals.ts';
import { ADDRESS_FILE, type StartOptions } from './options.ts';
import { createScreen, type Screen } from './screen.ts';
import { StartRefused } from './refused.ts';
import { type OpenStore, type Running, start } from './start.ts';
import { type OpenHost, startWorkers } from './workers/workers.ts';

/** What prevents or ends a run, and a value that can not be; a second signal ends it with 128 + its number. */
const FAILED = 1;
const USAGE = 2;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Whoever runs the gateway may look on. */
export interface Watch {
  readonly onReady?: (ready: { readonly address: string; readonly key: string | undefined }) => void;
  readonly onNotice?: (notice: Notice) => void;
}

export async function serve(
  options: StartOptions,
  { openStore, openHost, onReady, onNotice }: Watch & { readonly openStore: OpenStore; readonly openHost: OpenHost },
): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    readonly version: string;
  };
  const screen = createScreen({ json: options.json, stdout: process.stdout, stderr: process.stderr });
  let running: Running | undefined;

  function fail(error: unknown): void {
    screen.failed(error);
    running?.abandon();
    const mistyped = running === undefined && error instanceof Problem && error.code === 'invalid_request';
    process.exit(mistyped ? USAGE : FAILED);
  }
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  stopOnSignals(() => running, screen, fail);
  try {
    refuseFile(options.data);
    const needs = { options, version, onDeclared: screen.declared, onError: screen.unexpected, onFailure: fail };
    running = await ((options.workers ?? 1) === 1
      ? start({
          ...needs,
          openStore,
          onNotice(notice, verdict) {
            screen.notice(notice, verdict);
            onNotice?.(notice);
          },
        })
      : startWorkers({
          ...needs,
          openHost,
          onNotice(notice, worker) {
            screen.notice(notice, undefined, worker);
            onNotice?.(notice);
          },
          onUnprinted: screen.unprinted,
          onWorkerEnded: screen.workerEnded,
          onWorkerBack: screen.workerBack,
        }));
    leaveNotes(options, running.address);
  } catch (error) {
    return fail(explained(error, options.data));
  }
  const { address, port, key } = running;
  screen.ready({ version, address, key, isOtherKeySet: isOtherKeySet(key), options, port, startedMs: performance.now() });
  onReady?.({ address, key });
  await running.sendSample?.().then(screen.sampleSent);
}

/** In the shell that it was started from: who opens the next terminal would have the command send that one, and wonder. */
function isOtherKeySet(key: string | undefined): boolean {
  const other = (process.env['MILLRACE_KEY'] ?? '').trim();
  return key !== undefined && other !== '' && other !== key;
}

/** For whoever wants to speak to it from this directory; and that a project's key does not end up in version control. */
function leaveNotes({ mode, data }: StartOptions, address: string): void {
  writeFileSync(join(data, ADDRESS_FILE), `${address}\n`);
  if (mode === 'dev') writeFileSync(join(data, '.gitignore'), '*\n');
}

/** Said in words here: the system's own ("ENOTDIR") names no way out. */
function refuseFile(data: string): void {
  const found = statSync(data, { throwIfNoEntry: false });
  if (found !== undefined && !found.isDirectory())
    throw new StartRefused(
      `${data} is a file, and data is kept in a directory`,
      'Name a directory, there or not: --data DIRECTORY.',
    );
}

/** The first signal lets everything end, the second ends at once; so does one while nothing was accepted yet. */
function stopOnSignals(runningNow: () => Running | undefined, screen: Screen, fail: (error: unknown) => void): void {
  let stopping = false;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      const running = runningNow();
      if (stopping || running === undefined) process.exit(code);
      stopping = true;
      screen.stopping();
      running.stop().then(() => {
        screen.stopped();
        process.exit(0);
      }, fail);
    });
  }
}
