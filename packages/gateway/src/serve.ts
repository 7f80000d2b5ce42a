/** The gateway as a process: signals and exit codes. */
import type { StartOptions } from './options.ts';
import { createScreen, type Screen } from './screen.ts';
import { type OpenStore, type Running, start } from './start.ts';

/** What prevents or ends a run; a second signal ends it with 128 + its number. */
const FAILED = 1;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export async function serve(
  options: StartOptions,
  { version, openStore }: { readonly version: string; readonly openStore: OpenStore },
): Promise<void> {
  const screen = createScreen({ json: options.json, stdout: process.stdout, stderr: process.stderr });
  let running: Running | undefined;

  function fail(error: unknown): void {
    screen.failed(error);
    running?.abandon();
    process.exit(FAILED);
  }
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  stopOnSignals(() => running, screen, fail);
  try {
    running = await start({
      options,
      version,
      openStore,
      onNotice: screen.notice,
      onDeclared: screen.declared,
      onError: screen.unexpected,
      onFailure: fail,
    });
  } catch (error) {
    return fail(error);
  }
  const { address, port, key } = running;
  screen.ready({ version, address, key, options, port, startedMs: performance.now() });
  await running.sendSample?.().then(screen.sampleSent);
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
