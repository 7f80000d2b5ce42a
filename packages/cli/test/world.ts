/** The command run in this process, on streams that are kept. What it speaks to is real. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { run } from '../src/program.ts';
import type { Out, World } from '../src/world.ts';

export interface Around {
  readonly directory?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly stdin?: string;
  /** Somebody looks on, and types these lines. */
  readonly answers?: readonly string[];
  readonly columns?: number;
  readonly interrupted?: AbortSignal;
}

export interface Ended {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started extends Ended {
  readonly ended: Promise<Ended>;
  /** Resolves once stdout and stderr together hold this; rejects when the command ends without. */
  until(part: string): Promise<void>;
}

/** Runs to its end. */
export function millrace(args: readonly string[], around: Around = {}): Promise<Ended> {
  return start(args, around).ended;
}

/** Goes on beside the test. */
export function start(args: readonly string[], around: Around = {}): Started {
  const output = { exit: -1, stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of waiting) one();
  };
  const outOf = (name: 'stdout' | 'stderr'): Out => ({
    write(text) {
      output[name] += text;
      wake();
      return true;
    },
    drained: async () => undefined,
    isTTY: around.columns !== undefined,
    columns: around.columns,
  });
  const ended = run(args, worldOf(around, { stdout: outOf('stdout'), stderr: outOf('stderr') })).then((exit) => {
    output.exit = exit;
    wake();
    return { ...output };
  });
  return {
    get exit() {
      return output.exit;
    },
    get stdout() {
      return output.stdout;
    },
    get stderr() {
      return output.stderr;
    },
    ended,
    async until(part: string) {
      while (!(output.stdout + output.stderr).includes(part)) {
        if (output.exit >= 0) throw new Error(`it ended without '${part}':\n${output.stdout}${output.stderr}`);
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
  };
}

function worldOf(
  { directory = tmpdir(), environment = {}, stdin = '', answers, interrupted }: Around,
  streams: Pick<World, 'stdout' | 'stderr'>,
): World {
  const lines = [...(answers ?? [])];
  const input = (async function* () {
    if (stdin !== '') yield Buffer.from(stdin);
  })();
  return {
    ...streams,
    stdin: Object.assign(input, { isTTY: answers !== undefined }),
    environment,
    directory,
    interrupted: () => interrupted ?? new AbortController().signal,
    question: async () => lines.shift(),
  };
}

export function temporary(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-cli-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The last line of stderr with `--json`. */
export function errorOf({ stderr }: Ended): { readonly message: string; readonly code?: string; readonly exit: number } {
  return JSON.parse(stderr.trim().split('\n').at(-1) ?? '').error;
}
