/** `millrace doctor`: looks for what is wrong. Silent where nothing is, a line per problem with what to do, exit code 1. */
import { statfs } from 'node:fs/promises';
import type { Command } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import type { Client } from '../client.ts';
import { EXIT, type Exit } from '../exit-codes.ts';
import { Refusal } from '../refusal.ts';
import { checkParts, type Check } from '../part-check.ts';
import { checkSubscriptions, type Finding, problem, SUBSCRIPTIONS_MAX } from '../subscription-check.ts';
import { number, relative, spanOf } from '../text.ts';

/** A receiver refuses deliveries that are five minutes off: long before that it is worth a word. */
const CLOCK_SKEW_MS = 30_000;
/** Of the disk under the data directory, and of it in parts. */
const FREE_BYTES_MIN = 1024 ** 3;
const FREE_PART_MIN = 0.05;
/** Time enough to have a new key made and put where it is used. */
const KEY_LEFT_MS = 7 * 86_400_000;

export function doctorVerb(program: Command, cli: Cli): void {
  exampled(program.command('doctor').description('look for what is wrong; silent where nothing is'), [
    'millrace doctor',
    'millrace doctor --json',
  ]).action(
    cli.act(async (call) => {
      const checks: Check[] = [];
      let key: OwnKey | undefined;
      const needs = { version: cli.version, onKey: (own: OwnKey): void => void (key = own) };
      for await (const check of examined(call, needs)) checks.push(check);
      return report(call, checks, key);
    }),
  );
}

/** What is merely worth knowing changes no exit code. */
function report({ terminal }: Call<readonly unknown[], object>, checks: readonly Check[], key: OwnKey | undefined): Exit {
  const findings = checks.flatMap((check) => check.findings);
  const problems = findings.filter(({ level }) => level === 'problem');
  const notes = findings.filter(({ level }) => level === 'note');
  terminal.record({ ok: problems.length === 0, ...(key === undefined ? {} : { key }), checks });
  for (const { problem, advice } of problems) terminal.line(`${terminal.style('red', problem)}. ${advice}`);
  for (const { problem, advice } of notes) terminal.line(`worth knowing: ${problem}. ${advice}`);
  for (const { name, skipped } of checks) if (skipped !== undefined) terminal.hint(`not checked: ${name} (${skipped})`);
  if (findings.length === 0 && terminal.live > 0) terminal.hint(`${checks.length} checks, no problem`);
  return problems.length === 0 ? EXIT.ok : EXIT.unexpected;
}

/** In an order in which each makes sense only where the one before found nothing. */
async function* examined(
  call: Call<readonly unknown[], object>,
  { version, onKey }: { readonly version: string; readonly onKey: (key: OwnKey) => void },
): AsyncGenerator<Check> {
  const client = call.client();
  const reached = await health(client, version);
  yield* reached.checks;
  if (!reached.reachable) return;
  yield await readiness(client);
  const { check, key } = await keyCheck(client);
  yield check;
  if (key !== undefined) onKey(key);
  yield expiry(key);
  yield await subscriptions(client, check);
  const parts = key === undefined ? undefined : await checkParts(client);
  // A gateway that tells of its parts has looked at its disk itself.
  if (parts !== undefined) return yield* parts;
  const skipped = key === undefined ? 'it needs a valid key' : 'it needs a key with the scope admin';
  yield { name: 'log and store', findings: [], skipped };
  yield await disk(call);
}

async function health(
  client: Client,
  version: string,
): Promise<{ readonly reachable: boolean; readonly checks: readonly Check[] }> {
  const sentMs = Date.now();
  try {
    const { body } = await client.ask<{ readonly version: string; readonly now: string }>('GET /v1/health');
    const receivedMs = Date.now();
    return {
      reachable: true,
      checks: [found('reachable'), versions(body.version, version), clocks(body.now, { sentMs, receivedMs })],
    };
  } catch (error) {
    return { reachable: false, checks: [found('reachable', findingOf(error))] };
  }
}

function versions(theirs: string, ours: string): Check {
  if (theirs === ours) return found('version');
  return found(
    'version',
    problem(
      `the gateway is version ${theirs}, this command ${ours}`,
      'Use the same version of both: what one says the other may not know.',
    ),
  );
}

/** The answer's time lies between sending and receiving, where both clocks agree. */
function clocks(now: string, { sentMs, receivedMs }: { readonly sentMs: number; readonly receivedMs: number }): Check {
  const theirs = Date.parse(now);
  const off = theirs < sentMs ? sentMs - theirs : Math.max(0, theirs - receivedMs);
  if (off <= CLOCK_SKEW_MS) return found('clock');
  return found(
    'clock',
    problem(
      `the gateway's clock and this one differ by ${spanOf(off)}`,
      'Let both follow NTP: receivers refuse deliveries whose time is more than five minutes off.',
    ),
  );
}

async function readiness(client: Client): Promise<Check> {
  try {
    await client.ask('GET /readyz');
    return found('ready');
  } catch (error) {
    return found('ready', problem(`the gateway takes no events: ${(error as Error).message}`, 'Look at what it prints itself.'));
  }
}

interface OwnKey {
  readonly app?: string;
  readonly scopes?: readonly string[];
  readonly topics?: readonly string[];
  readonly environment?: string;
  readonly expiresAt?: string;
}

async function keyCheck(client: Client): Promise<{ readonly check: Check; readonly key?: OwnKey }> {
  const { key, noKey = 'no key is given' } = client.settings;
  if (key() === undefined) return { check: { name: 'key', findings: [], skipped: `${noKey}: --key or MILLRACE_KEY` } };
  try {
    return { check: found('key'), key: (await client.ask<OwnKey>('GET /v1/keys/self')).body };
  } catch (error) {
    return { check: found('key', findingOf(error)) };
  }
}

function expiry(key: OwnKey | undefined): Check {
  if (key === undefined) return { name: 'key expiry', findings: [], skipped: 'it needs a valid key' };
  const { expiresAt } = key;
  const nowMs = Date.now();
  if (expiresAt === undefined || Date.parse(expiresAt) - nowMs > KEY_LEFT_MS) return found('key expiry');
  return found(
    'key expiry',
    problem(`the key ends ${relative(expiresAt, nowMs)}`, 'Have an admin make another: millrace key create APP --scopes …'),
  );
}

async function subscriptions(client: Client, key: Check): Promise<Check> {
  const name = 'subscriptions';
  if (key.skipped !== undefined || key.findings.length > 0) return { name, findings: [], skipped: 'it needs a valid key' };
  try {
    const { findings, whole } = await checkSubscriptions(client);
    return { name, findings, ...(whole ? {} : { skipped: `those after the first ${SUBSCRIPTIONS_MAX}` }) };
  } catch (error) {
    if (error instanceof Refusal && error.exit === EXIT.auth)
      return { name, findings: [], skipped: 'it needs a key with the scope subscribe, manage or admin' };
    throw error;
  }
}

/** Where the gateway of this directory keeps its data: another machine's disk is not seen from here. */
async function disk({ settings }: Call<readonly unknown[], object>): Promise<Check> {
  const { addressFrom, data } = settings();
  if (addressFrom !== 'file') return { name: 'disk', findings: [], skipped: "the gateway's data directory is not known here" };
  const { bavail, bsize, blocks } = await statfs(data);
  const free = bavail * bsize;
  if (free >= FREE_BYTES_MIN && bavail / blocks >= FREE_PART_MIN) return found('disk');
  return found(
    'disk',
    problem(
      `the disk under ${data} has ${number(Math.floor(free / 1024 ** 2))} MB left`,
      'When it is full, publishing is answered with log_full. Make room, or shorten the retention of topics.',
    ),
  );
}

function found(name: string, ...findings: readonly Finding[]): Check {
  return { name, findings };
}

function findingOf(error: unknown): Finding {
  if (!(error instanceof Refusal)) throw error;
  return problem(error.message, error.advice ?? 'millrace --help says how to name gateway and key.');
}
