/**
 * Debian's Postgres as a broker: found, not built. It refuses to run as root, so root runs it as the user `postgres`, by
 * user id: what is started is then the server's own tool and not a runuser around it.
 */
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { BrokerUnavailable } from './broker.ts';
import type { Broker, StartedBroker } from './broker.ts';

const PLACE = '/usr/lib/postgresql';
/** The oldest version that is still maintained by its makers, and what store-postgres is made for. */
const VERSION_MIN = 14;
const INSTALL = ['install', '-y', '--no-install-recommends', 'postgresql'];
/** A port that was free a moment ago may be taken: so often another one is tried. */
const PORTS_TRIED = 3;
const START_S = 60;
/** After a fast shutdown: then the server is killed. */
const STOP_S = 10;

interface User {
  readonly uid: number;
  readonly gid: number;
}

export const postgres: Broker = {
  name: 'postgres',

  async prepare(_cache, say) {
    if (programs() === undefined && isRoot()) {
      say(`apt-get ${INSTALL.join(' ')}`);
      await run('apt-get', INSTALL).catch((error: unknown) => say(String(error)));
    }
    say(`Postgres in ${wanted()}`);
  },

  async start({ directory, port: chosen }) {
    const bin = wanted();
    const user = isRoot() ? userNamed('postgres') : undefined;
    const data = dataIn(directory, user);
    if (!existsSync(join(data, 'PG_VERSION'))) {
      await run(join(bin, 'initdb'), ['-D', data, '--auth=trust', '-U', 'millrace', '-E', 'UTF8', '--locale=C'], user);
    }
    for (let tries = 1; ; tries++) {
      const port = chosen ?? (await freePort());
      const log = join(data, `server-${port}.log`);
      rmSync(log, { force: true });
      try {
        await run(join(bin, 'pg_ctl'), startArguments(data, port, log), user);
        return started({ bin, data, port, user });
      } catch (error) {
        const said = existsSync(log) ? readFileSync(log, 'utf8') : '';
        const isTaken = /could not bind|could not create any TCP\/IP sockets/.test(said);
        if (!isTaken || chosen !== undefined || tries === PORTS_TRIED)
          throw new Error(`Postgres does not start in ${data}: ${said || String(error)}`, { cause: error });
      }
    }
  },
};

/** No Unix socket: its directory may belong to another user, and only the address is told. */
function startArguments(data: string, port: number, log: string): string[] {
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c lc_messages=C`;
  return ['start', '-D', data, '-w', '-t', String(START_S), '-l', log, '-o', settings];
}

function started({ bin, data, port, user }: { bin: string; data: string; port: number; user: User | undefined }): StartedBroker {
  const pidFile = join(data, 'postmaster.pid');
  const pid = Number(readFileSync(pidFile, 'utf8').split('\n', 1)[0]);
  let stopping: Promise<void> | undefined;

  /** Fast shutdown, SIGINT: on SIGTERM the server would wait until its last client has left. */
  async function stop(): Promise<void> {
    // Also of a server whose data was removed under it, which its own tool does not find any more.
    if (!existsSync(pidFile)) return kill(pid);
    await run(join(bin, 'pg_ctl'), ['stop', '-D', data, '-m', 'fast', '-w', '-t', String(STOP_S)], user).catch(() => {
      if (existsSync(pidFile)) kill(pid);
    });
  }

  return { url: `postgres://millrace@127.0.0.1:${port}/postgres`, port, pid, stop: () => (stopping ??= stop()) };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

/** The folder with the newest server's programs. */
function programs(): string | undefined {
  const versions = existsSync(PLACE) ? readdirSync(PLACE).map(Number) : [];
  const newest = Math.max(...versions.filter((version) => existsSync(join(PLACE, String(version), 'bin', 'postgres'))));
  return newest >= VERSION_MIN ? join(PLACE, String(newest), 'bin') : undefined;
}

function wanted(): string {
  const bin = programs();
  if (bin !== undefined) return bin;
  const command = `apt-get ${INSTALL.join(' ')}`;
  throw new BrokerUnavailable(
    `there is no Postgres of version ${VERSION_MIN} or newer in ${PLACE}`,
    `Run \`npm run brokers -- up postgres\` as root, or install it: ${command}`,
  );
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function userNamed(name: string): User {
  const id = (flag: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/**
 * Where the data is. Another user can't reach what lies under a directory that only its owner may enter, as root's home or
 * what mkdtemp makes: then the data is in /var/tmp, and a file in `directory` says where.
 */
function dataIn(directory: string, user: User | undefined): string {
  mkdirSync(directory, { recursive: true });
  const elsewhere = join(directory, 'postgres-data');
  if (existsSync(elsewhere)) return readFileSync(elsewhere, 'utf8').trim();
  const data = join(directory, 'postgres');
  mkdirSync(data, { recursive: true, mode: 0o700 });
  if (user === undefined || giveTo(user, data)) return data;
  rmSync(data, { recursive: true });
  const reachable = join('/var/tmp', `millrace-postgres-${randomBytes(6).toString('hex')}`);
  mkdirSync(reachable, { mode: 0o700 });
  giveTo(user, reachable);
  writeFileSync(elsewhere, `${reachable}\n`);
  return reachable;
}

/** False where the user can't get there. */
function giveTo(user: User, data: string): boolean {
  chownSync(data, user.uid, user.gid);
  try {
    execFileSync('test', ['-w', data], { ...user, cwd: '/' });
    return true;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function run(program: string, args: readonly string[], user?: User): Promise<void> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  return new Promise((resolve, reject) => {
    execFile(program, args, { ...user, cwd: '/', env }, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`${program}: ${stderr.trim() || error.message}`, { cause: error }));
    });
  });
}
