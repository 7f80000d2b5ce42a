/** `millrace start` as a process: arguments, signals, exit codes. */
import { readFileSync } from 'node:fs';
import { readArguments, type StartOptions } from './options.ts';
import { createScreen, type Screen } from './screen.ts';
import { type OpenStore, type Running, start } from './start.ts';

/** Usage errors end with 2, everything else that prevents or ends a run with 1, a second signal with 128 + its number. */
const USAGE = 2;
const FAILED = 1;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export async function run(argv: readonly string[], { openStore }: { readonly openStore: OpenStore }): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string };
  const asked = readArguments(argv, process.env, version);
  if ('print' in asked) return void process.stdout.write(`${asked.print.trimEnd()}\n`);
  if ('refused' in asked) {
    process.stderr.write(`${asked.refused}\n`);
    process.exitCode = USAGE;
    return;
  }
  await serve(asked.start, version, openStore);
}

async function serve(options: StartOptions, version: string, openStore: OpenStore): Promise<void> {
  const screen = createScreen({ json: options.json, stdout: process.stdout, stderr: process.stderr });
  let running: Running | undefined;

  function fail(error: unknown): void {
    screen.failed(error);
    running?.abandon();
    process.exit(FAILED);
  }
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);

  try {
    const starting = start({ options, version, openStore, onNotice: screen.notice, onDeclared: screen.declared, onError: screen.unexpected, onFailure: fail });
    stopOnSignals(starting, screen);
    running = await starting;
  } catch (error) {
    return fail(error);
  }
  const { address, port, key } = running;
  screen.ready({ version, address, key, options, port, startedMs: performance.now() });
  await running.sendSample?.().then(screen.sampleSent);
}

/** The first signal lets everything end, also a start that is still under way; the second ends at once. */
function stopOnSignals(starting: Promise<Running>, screen: Screen): void {
  let stopping = false;
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => {
      if (stopping) process.exit(code);
      stopping = true;
      screen.stopping();
      void starting
        .then((running) => running.stop())
        .then(() => {
          screen.stopped();
          process.exit(0);
        });
    });
  }
}
