/** Server processes: a free port, waiting until one answers, and stopping it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Between looking for a free port and binding it, somebody else may take it. */
const PORTS_TRIED = 3;
/** A server that has not answered by then never will: data of gigabytes is read in seconds. */
const READY_MS = 30_000;
/** Loopback: one that works answers in a millisecond. */
const ANSWER_MS = 1_000;
/** A server writes its state down when it is told to stop; one that takes longer hangs. */
const STOP_MS = 10_000;
/** How often it is asked whether it answers, or has ended: another process can't wake us. */
const LOOK_MS = 20;

/** The port was taken by somebody else: worth another try with another port. */
export class PortTaken extends Error {}

/**
 * Below the ports the system hands to clients: one that tries again and again to reach a server that is down would one day be
 * given that server's own port, be connected to itself, and keep it.
 */
const PORT_MIN = 20_000;
const PORT_MAX = 32_000;

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    try {
      await bindOnce(port);
      return port;
    } catch {
      // Taken: another one.
    }
  }
}

async function bindOnce(port: number): Promise<void> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}

/** Who listens there already would answer in the place of the server that is being started. */
async function mustBeFree(port: number): Promise<void> {
  await bindOnce(port).catch((error: Error) => {
    throw new PortTaken(`port ${port} is taken: ${error.message}`);
  });
}

/** Calls `start` with the port that was asked for, or with free ports until one could be bound. */
export async function onPort<Started>(
  asked: number | undefined,
  start: (port: number) => Promise<Started>,
  free: () => Promise<number> = freePort,
): Promise<Started> {
  if (asked !== undefined) return start(asked);
  for (let tried = 1; ; tried++) {
    try {
      return await start(await free());
    } catch (error) {
      if (!(error instanceof PortTaken) || tried === PORTS_TRIED) throw error;
    }
  }
}

export interface Command {
  readonly path: string;
  readonly args: readonly string[];
  /** All that it prints goes here: what it reads from a pipe would end with us, and the server may outlive us. */
  readonly logPath: string;
  readonly port: number;
  /** Says that the server on this socket works: resolves, or rejects when it doesn't yet. */
  greet(socket: Socket): Promise<void>;
  /** What it prints where the port is taken. */
  readonly taken: RegExp;
}

/** Starts a server and resolves with its pid when it answers. */
export async function startServer({ path, args, logPath, port, greet, taken }: Command): Promise<number> {
  await mustBeFree(port);
  mkdirSync(dirname(logPath), { recursive: true });
  const log = openSync(logPath, 'w');
  const child = spawn(path, args, { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  child.unref();
  let ended: string | undefined;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = `it ended with ${code ?? signal}`));
  for (const until = performance.now() + READY_MS; performance.now() < until; await sleep(LOOK_MS)) {
    if (ended !== undefined) {
      const said = readFileSync(logPath, 'utf8');
      if (taken.test(said)) throw new PortTaken(`port ${port} is taken`);
      throw new Error(`${path} did not start: ${ended}\n${said.slice(-2_000)}`);
    }
    if (await answers(port, greet)) return child.pid as number;
  }
  if (child.pid !== undefined) await stopProcess(child.pid);
  throw new Error(`${path} did not answer within ${READY_MS / 1000} s; see ${logPath}`);
}

/** Also one that hangs up, or says nothing, does not answer. */
async function answers(port: number, greet: Command['greet']): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(ANSWER_MS, () => socket.destroy());
  const closed = new Promise<boolean>((resolve) => socket.once('close', () => resolve(false)).on('error', () => {}));
  try {
    await once(socket, 'connect');
    return await Promise.race([greet(socket).then(() => true), closed]);
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export async function stopProcess(pid: number): Promise<void> {
  if (!signal(pid, 'SIGTERM')) return;
  for (const until = performance.now() + STOP_MS; performance.now() < until; await sleep(LOOK_MS)) if (!isAlive(pid)) return;
  signal(pid, 'SIGKILL');
  while (isAlive(pid)) await sleep(LOOK_MS);
}

/** False for a process that has ended and only waits for its parent to ask how: signal 0 reaches it. */
export function isAlive(pid: number): boolean {
  return signal(pid, 0) && !isZombie(pid);
}

/** Its first thread may be one while others still hold its port. */
function isZombie(pid: number): boolean {
  try {
    if (readdirSync(`/proc/${pid}/task`).length > 1) return false;
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/, ''));
  } catch {
    return false;
  }
}

function signal(pid: number, which: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, which);
  } catch {
    return false;
  }
}
