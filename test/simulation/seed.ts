/**
 * One seed: a world, a gateway that crashes in it, everybody who wants something of it, and the oracle beside. First
 * trouble for a number of steps, then healing until nothing is open any more.
 */
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '@millrace/gateway/api';
import { createNodes, type Nodes } from './nodes.ts';
import { LIMITS } from '@millrace/gateway/limits';
import type { Limits } from '@millrace/gateway/limits';
import { createDurable } from './durable.ts';
import { createEndpoints } from './endpoints.ts';
import { createInvariants } from './invariants.ts';
import { createOperator } from './operator.ts';
import { slotOf, SLOTS } from './oracle/slots.ts';
import type { Broken } from './oracle/verdict.ts';
import { createProcess } from './process.ts';
import type { Process } from './process.ts';
import { APPS, KEYS, createScenario } from './scenario.ts';
import type { Crash } from './scenario.ts';
import { createRandom, seedCrypto } from './random.ts';
import { createSituations } from './situations.ts';
import type { Counts } from './situations.ts';
import { createWorkload } from './workload.ts';
import { createWorld } from './world.ts';

export interface SeedResult {
  readonly seed: number;
  readonly steps: number;
  readonly events: number;
  readonly virtualMs: number;
  readonly hash: string;
  readonly counts: Counts;
  readonly crashes: number;
  readonly broken: readonly Broken[];
  /** The last lines that concern the first break, then the very last ones. */
  readonly history: readonly string[];
}

export interface SeedOptions {
  readonly steps?: number;
  readonly print?: (line: string) => void;
}

const STEPS = 2_000;
const HEALING_STEPS = 30_000;
const HEALING_MS = 300_000;
/** Beyond what a drain may take: the store may be away. */
const STOP_MS = 120_000;

/** Whether a seed is about several nodes. */
export function isCluster(seed: number): boolean {
  return createScenario(createRandom(seed).fork('seed').fork('scenario'), STEPS).cluster !== undefined;
}

export async function runSeed(seed: number, { steps = STEPS, print }: SeedOptions = {}): Promise<SeedResult> {
  const world = createWorld(seed, print);
  const random = world.random.fork('seed');
  seedCrypto(world.random.fork('crypto'));
  const scenario = createScenario(random.fork('scenario'), steps);
  const limits: Limits = { ...LIMITS, ...scenario.limits };
  const situations = createSituations();
  const durable = createDurable({ world, shards: scenario.shards });
  let hidden: ReadonlySet<string> = scenario.lateShard ? new Set(durable.log().shards().slice(-1)) : new Set();
  let faultRate = scenario.faultRate;
  let outage: 'log' | 'ledger' | undefined;
  let process: Process | undefined;
  let up = false;
  let healing = false;
  let crashes = 0;

  const gateway = (): Gateway | undefined => (nodes === undefined ? (up ? process?.gateway : undefined) : nodes.gateway());
  const isUp = (): boolean => nodes?.areUp() ?? up;
  const isCluster = scenario.cluster !== undefined;
  const invariants = createInvariants({ world, limits, situations, hidden: () => hidden, slotOf, isCluster });
  const onGhost = (what: string): void => invariants.broken('contract', 'an abandoned gateway does nothing any more', what);
  const endpoints = createEndpoints({
    world,
    moodMs: scenario.moodMs,
    poisonRate: scenario.poisonRate,
    poisons: [{ topic: 'orders.paid' }, ...KEYS.map((key) => ({ key }))],
    onSent(exchange) {
      world.trace.note(
        `#${exchange.number} event ${exchange.body.n} to ${exchange.host} ${exchange.request.headers['webhook-id']}`,
      );
      invariants.sent(exchange);
    },
    onUnheard: (exchange) => invariants.unheard(exchange),
    onAnswered: (exchange) => invariants.answered(exchange),
    onGhost,
  });
  const workload = createWorkload({ world, scenario, invariants, gateway, dedupeWindowMs: limits.dedupeWindowMs });
  /** What happens just before something else: of its own, so that all else stays as it is. */
  const hurried = world.random.fork('hurried');
  const moves = world.random.fork('moves');
  const processNeeds = {
    world,
    scenario,
    limits,
    situations,
    durable,
    invariants,
    endpoints,
    hidden: () => hidden,
    faultRate: (port: 'log' | 'ledger') => (healing ? 0 : outage === port ? 0.9 : faultRate),
    onGhost,
  };
  const nodes =
    scenario.cluster &&
    createNodes({
      world,
      plan: scenario.cluster,
      durable,
      invariants,
      situations,
      operator: () => operator,
      create: (member) => createProcess({ ...processNeeds, member }),
      stopMs: limits.drainMs + STOP_MS,
    });
  const operator = createOperator({
    world,
    scenario,
    invariants,
    situations,
    gateway: (of) =>
      nodes === undefined ? gateway() : nodes.gateway(invariants.subscriptions.byName(of.environment, of.id)?.uid),
    ...(nodes === undefined ? {} : { known: () => nodes.known() }),
  });

  function launch(): void {
    if (nodes !== undefined) return nodes.launch();
    const launched = createProcess(processNeeds);
    process = launched;
    launched.start().then(
      () => {
        if (process !== launched) return;
        up = true;
        world.trace.note('gateway is up');
        invariants.recovered();
      },
      (error: unknown) => startFailed(launched, error),
    );
  }

  /** Whoever runs the process starts it again. */
  function startFailed(launched: Process, error: unknown): void {
    if (process !== launched) return;
    world.trace.note(`start failed: ${error instanceof Error ? error.message : String(error)}`);
    if (!(error instanceof Problem) || !error.code.endsWith('_unavailable')) {
      invariants.broken(
        'contract',
        'a start fails only for what is not available',
        error instanceof Error ? (error.stack ?? error.message) : String(error),
      );
    }
    world.at(100, 'restart', async () => {
      if (process !== launched) return;
      await kill(launched);
      launch();
    });
  }

  async function kill(dying: Process): Promise<void> {
    up = false;
    process = undefined;
    await dying.kill();
    operator.crashed();
    await invariants.crashed(durable);
  }

  async function befall({ disaster }: Crash): Promise<void> {
    if (disaster !== 'none') world.trace.note(`disaster: ${disaster}`);
    if (disaster === 'older-ledger') {
      const commits = Math.floor(durable.commits() * random.between(0.3, 0.95));
      await durable.restoreLedger(commits);
      invariants.ledgerRestored(commits);
      situations.count('ledgerOlder');
    }
    if (disaster === 'recreated-log') {
      durable.recreateLog();
      invariants.logChanged(() => false);
      situations.count('logRecreated');
    }
    if (disaster === 'lost-tail') {
      await durable.loseTail(random.int(1, 15));
      const ends = new Map(
        await Promise.all(
          durable
            .log()
            .shards()
            .map(async (shard) => [shard, (await durable.log().bounds(shard)).end] as const),
        ),
      );
      invariants.logChanged(({ shard, position }) => position <= (ends.get(shard) ?? ''));
      situations.count('logTailLost');
    }
    // Others may have written to the log before this gateway looks at it again.
    if (disaster === 'recreated-log' || disaster === 'lost-tail') await appendElsewhere(random.int(0, 20));
  }

  async function appendElsewhere(count: number): Promise<void> {
    for (const entry of workload.elsewhere(count)) {
      const results = await durable.append([entry]);
      invariants.appended([entry], results);
    }
  }

  async function crash(plan: Crash): Promise<void> {
    crashes += 1;
    world.trace.note(plan.graceful ? 'stop' : 'crash');
    if (nodes !== undefined) return crashNodes(nodes, plan);
    const dying = process;
    if (dying !== undefined) {
      if (plan.graceful && up) {
        if (hurried.chance(0.5)) await rewindUnderWay();
        await stopInOrder(dying);
      }
      await kill(dying);
    }
    await befall(plan);
    world.at(plan.downMs, 'launch', launch);
  }

  /** Most often one of them; but nothing befalls what is durable while any of them runs. */
  async function crashNodes(of: Nodes, plan: Crash): Promise<void> {
    if (plan.disaster === 'none') return of.loseOne(plan);
    await of.killAll();
    await befall(plan);
    world.at(plan.downMs, 'launch', launch);
  }

  /** A stop must find what waits for deliveries waiting. */
  async function rewindUnderWay(): Promise<void> {
    operator.rewindSome();
    for (let steps = hurried.int(0, 20); steps > 0 && !isBroken(); steps--) {
      await world.step();
      invariants.stepped();
    }
    situations.count('rewindAtStop');
  }

  async function stopInOrder(stopping: Process): Promise<void> {
    up = false;
    let stopped = false;
    stopping.stop().then(
      () => (stopped = true),
      (error: unknown) => invariants.broken('contract', 'a stop never fails', String(error)),
    );
    const untilMs = world.monotonic() + limits.drainMs + STOP_MS;
    while (!stopped && !isBroken() && world.monotonic() < untilMs && (await world.step())) invariants.stepped();
    if (!stopped && !isBroken())
      invariants.broken('liveness', 'a stop comes to its end', `not within ${limits.drainMs} ms and two minutes`);
  }

  const isBroken = (): boolean => invariants.found.length > 0;

  async function prepare(): Promise<void> {
    const environments = ['default', 'staging'];
    for (const environment of environments)
      for (const app of APPS) await durable.directory.put('app', environment, app, { name: app, createdMs: world.now() });
    for (const { environment, topic, retentionMs, latency, keyPath } of scenario.topics) {
      world.trace.note(`topic ${environment}/${topic} is kept ${retentionMs} ms`);
      const value = {
        owner: 'shop',
        retentionMs,
        latency,
        maxBytes: 10_000,
        createdMs: world.now(),
        ...(keyPath ? { keyPath: '$.key' } : {}),
      };
      await durable.directory.put('topic', environment, topic, value);
    }
  }

  function unsettle(): void {
    if (scenario.lateShard) {
      world.at(random.between(1_500, 5_000), 'rewind', () => {
        if (hurried.chance(0.5) && isUp()) operator.rewindSome();
        world.at(hurried.between(0, 30), 'shard discovered', () => {
          hidden = new Set();
          situations.count('lateShard');
          if (isUp()) operator.lookAtAll();
        });
      });
    }
    const trouble = (): void => {
      if (healing) return;
      if (scenario.clockJumps && random.chance(0.5)) {
        const ms = random.int(-6_000, 6_000);
        world.jump(ms);
        situations.count(ms < 0 ? 'clockBack' : 'clockAhead');
      } else if (scenario.faultRate > 0) {
        outage = random.pick(['log', 'ledger'] as const);
        world.at(random.between(50, 1_500), 'outage ends', () => (outage = undefined));
      }
      world.at(random.gap(3_000), 'trouble', trouble);
    };
    world.at(random.gap(3_000), 'trouble', trouble);
    const move = (): void => {
      const target = gateway();
      if (healing || target === undefined) return void (healing || world.at(moves.gap(2_000), 'move', move));
      void moveSlots(target).finally(() => world.at(moves.gap(2_000), 'move', move));
    };
    if (nodes !== undefined) nodes.unsettle();
    else if (moves.chance(0.5)) world.at(moves.gap(2_000), 'move', move);
    const trim = (): void => {
      void durable.log().trim();
      if (!healing) world.at(random.gap(700), 'trim', trim);
    };
    world.at(random.gap(700), 'trim', trim);
  }

  /** As in a cluster: some slots go, and come back. Whoever crashed meanwhile has them all again from its start. */
  async function moveSlots(target: Gateway): Promise<void> {
    const slots = new Set(Array.from({ length: SLOTS }, (_, slot) => slot).filter(() => moves.chance(0.5)));
    const isLost = moves.chance(0.3);
    world.trace.note(`${isLost ? 'loses' : 'leaves'} ${slots.size} slots`);
    if (isLost) target.slots.lose(slots);
    else await target.slots.leave(slots);
    if (target !== gateway()) return;
    invariants.left(slots);
    const pauseMs = moves.chance(0.5) ? 0 : moves.between(0, 1_500);
    await new Promise<void>((resolve) => world.at(pauseMs, 'slots are free', resolve));
    if (target !== gateway()) return;
    world.trace.note(`takes ${slots.size} slots`);
    await target.slots.take(slots);
    if (target === gateway()) situations.count('slotsMoved');
  }

  async function trouble(): Promise<void> {
    const plans = [...scenario.crashes];
    while (!isBroken() && world.steps() < steps && (await world.step())) {
      invariants.stepped();
      if (isBroken() || plans[0] === undefined || world.steps() < plans[0].step) continue;
      await crash(plans.shift()!);
    }
  }

  async function heal(): Promise<void> {
    if (isBroken()) return;
    world.trace.note('healing begins');
    healing = true;
    faultRate = 0;
    outage = undefined;
    hidden = new Set();
    workload.stop();
    operator.stop();
    endpoints.heal();
    nodes?.heal();
    const untilMs = world.monotonic() + HEALING_MS;
    const untilStep = world.steps() + HEALING_STEPS;
    const help = (): void => {
      operator.healOnce();
      world.at(1_000, 'healing', help);
    };
    world.at(1, 'healing', help);
    while (!isBroken() && (await world.step())) {
      invariants.stepped();
      const late = world.steps() > untilStep || world.monotonic() > untilMs;
      if (!late && (world.steps() % 40 !== 0 || !isUp())) continue;
      const left = invariants.stillOpen();
      if (left.length === 0 && endpoints.inFlight() === 0) return;
      if (!late) continue;
      const first = left.slice(0, 3).map(({ delivery, state }) => `${delivery}: ${state}`);
      invariants.broken(
        'liveness',
        'once all is well, everything open is delivered',
        `${isUp() ? '' : 'the gateway is not up; '}${left.length} left, such as ${first.join('; ')}`,
        left[0]?.words,
      );
      return;
    }
  }

  await prepare();
  unsettle();
  launch();
  workload.start();
  while (!isUp() && !isBroken() && (await world.step())) invariants.stepped();
  operator.start();
  await trouble();
  await heal();
  for (const last of nodes?.all() ?? (process === undefined ? [] : [process])) {
    if (isBroken()) break;
    await stopInOrder(last);
    if (nodes === undefined) await kill(last);
  }
  await nodes?.killAll();

  const [first] = invariants.found;
  const history =
    first === undefined
      ? []
      : [...world.trace.last(40, first.words.length > 0 ? first.words : undefined), '…', ...world.trace.last(12)];
  return {
    seed,
    steps: world.steps(),
    events: workload.published(),
    virtualMs: Math.round(world.monotonic()),
    hash: world.trace.hash(),
    counts: situations.counts,
    crashes,
    broken: invariants.found,
    history,
  };
}
