/**
 * `npm run brokers -- up|down|status|prepare [name…] [--json]`: real servers of pinned versions on loopback, for tests, benches
 * and trying things out. `up` builds or finds what is missing and starts it, `prepare` only makes it ready, as tests need it
 * (they start their own); tests never build, they skip and name this command.
 */
import { join } from 'node:path';
import { BROKERS } from './all.ts';
import type { Broker } from './broker.ts';
import { BrokerUnavailable } from './broker.ts';
import { cacheDirectory, forgetRunning, readRunning, writeRunning } from './running.ts';
import { stopProcess } from './servers.ts';

const USAGE = 'npm run brokers -- up|down|status|prepare [name…] [--json]';

export interface Needs {
  readonly brokers: readonly Broker[];
  readonly cache: string;
  readonly say: (line: string) => void;
}

/** The exit code. */
export async function runBrokers(args: readonly string[], needs: Needs): Promise<number> {
  const [verb, ...names] = args.filter((arg) => arg !== '--json');
  const unknown = names.filter((name) => !needs.brokers.some((broker) => broker.name === name));
  if (unknown.length > 0) {
    needs.say(`no such server: ${unknown.join(', ')}; there are ${needs.brokers.map(({ name }) => name).join(', ')}`);
    return 1;
  }
  const chosen = needs.brokers.filter(({ name }) => names.length === 0 || names.includes(name));
  if (verb === 'up') return each(chosen, needs, up);
  if (verb === 'prepare') return each(chosen, needs, prepare);
  if (verb === 'down') return down(chosen, needs);
  if (verb === 'status') return status(chosen, needs, args.includes('--json'));
  needs.say(USAGE);
  return 1;
}

type Step = (broker: Broker, cache: string, say: Needs['say']) => Promise<string>;

/** One that can't be had does not keep the others from being started. */
async function each(chosen: readonly Broker[], { cache, say }: Needs, step: Step): Promise<number> {
  let code = 0;
  for (const broker of chosen) {
    try {
      say(`${broker.name} ${await step(broker, cache, say)}`);
    } catch (error) {
      code = 1;
      say(`${broker.name}: ${(error as Error).message}`);
      if (error instanceof BrokerUnavailable) say(`  → ${error.advice}`);
    }
  }
  return code;
}

async function prepare(broker: Broker, cache: string, say: Needs['say']): Promise<string> {
  await broker.prepare(cache, say);
  return 'ready';
}

async function up(broker: Broker, cache: string, say: Needs['say']): Promise<string> {
  await broker.prepare(cache, say);
  const running = readRunning(cache, broker.name);
  if (running !== undefined) return running.url;
  const server = await broker.start({ cache, directory: join(cache, 'brokers', 'data', broker.name) });
  writeRunning(cache, broker.name, server);
  return server.url;
}

async function down(chosen: readonly Broker[], { cache, say }: Needs): Promise<number> {
  for (const { name } of chosen) {
    const running = readRunning(cache, name);
    if (running !== undefined) await stopProcess(running.pid);
    forgetRunning(cache, name);
    say(`${name} ${running === undefined ? 'was not running' : 'stopped'}`);
  }
  return 0;
}

async function status(chosen: readonly Broker[], { cache, say }: Needs, asJson: boolean): Promise<number> {
  const all = chosen.map(({ name }) => ({ name, running: readRunning(cache, name) }));
  if (asJson) say(JSON.stringify(Object.fromEntries(all.map(({ name, running }) => [name, running ?? null]))));
  else for (const { name, running } of all) say(`${name} ${running === undefined ? 'not running' : running.url}`);
  return 0;
}

if (import.meta.main)
  process.exitCode = await runBrokers(process.argv.slice(2), {
    brokers: BROKERS,
    cache: cacheDirectory(),
    say: (line) => console.log(line),
  });
