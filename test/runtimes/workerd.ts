/** Cloudflare's own runtime as a process: one worker, with what it is bound to. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { build } from 'esbuild';

export interface WorkerdOptions {
  /** Where the program is. */
  readonly path: string;
  /** An ES module; it may import files by their paths. */
  readonly code: string;
  readonly variables?: Readonly<Record<string, string>>;
  /** Classes of Durable Objects, each bound by its name in capitals. */
  readonly objects?: readonly string[];
}

export interface Workerd {
  readonly url: string;
  readonly output: () => string;
}

/** Newer behaviour than that of this day is not asked for: it is before the day of the program. */
const COMPATIBILITY_DATE = '2026-07-01';

/** Killed at the end of the test. */
export async function startWorkerd(t: Pick<TestContext, 'after'>, options: WorkerdOptions): Promise<Workerd> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-workerd-'));
  writeFileSync(join(folder, 'worker.js'), await bundledFor(options.code));
  writeFileSync(join(folder, 'config.capnp'), configOf(options));
  // On its third descriptor it says which port it was given.
  const args = ['serve', '--control-fd=3', join(folder, 'config.capnp')];
  const child = spawn(options.path, args, { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += String(chunk)));
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()).on('error', () => resolve()));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const port = new Promise<number>((resolve) => {
    let told = '';
    child.stdio[3]?.on('data', (chunk) => {
      told += String(chunk);
      const [, found] = /"event":"listen".*?"port":(\d+)/.exec(told) ?? [];
      if (found !== undefined) resolve(Number(found));
    });
  });
  const early = ended.then(() => Promise.reject(new Error(`workerd ended:\n${output}`)));
  early.catch(() => undefined);
  return { url: `http://127.0.0.1:${await Promise.race([port, early])}`, output: () => output };
}

async function bundledFor(code: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname, loader: 'ts' },
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    external: ['cloudflare:workers'],
  });
  return outputFiles[0]?.text ?? '';
}

function configOf({ variables = {}, objects = [] }: WorkerdOptions): string {
  const bindings = [
    ...Object.entries(variables).map(([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`),
    ...objects.map((name) => `(name = "${name.toUpperCase()}", durableObjectNamespace = "${name}")`),
  ];
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .main), (name = "internet", network = (allow = ["local", "private"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [(name = "worker", esModule = embed "worker.js")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  bindings = [${bindings.join(', ')}],
  durableObjectNamespaces = [${objects.map((name) => `(className = "${name}", uniqueKey = "${name}", enableSql = true)`).join(', ')}],
  durableObjectStorage = (inMemory = void),
);
`;
}
