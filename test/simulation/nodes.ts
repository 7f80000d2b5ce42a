/**
 * The nodes of a cluster in one world: they die, stop, freeze, lose the network to the store or the log, and come again under another
 * name, while the others go on. Whoever asks one of them asks one that could answer.
 */
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '@millrace/gateway/api';
import { createMemoryCluster } from '@millrace/memory/leases';
import type { Durable } from './durable.ts';
import type { Invariants } from './invariants.ts';
import type { Operator } from './operator.ts';
import type { Member, Process } from './process.ts';
import type { ClusterPlan } from './scenario.ts';
import type { Situations } from './situations.ts';
import type { World } from './world.ts';

export interface Nodes {
  /** Any that can be asked; of a subscription (uid) mostly the one that works it. */
  gateway(uid?: string): Gateway | undefined;
  areUp(): boolean;
  /** Starts as many as there are to be. */
  launch(): void;
  /** From now on things befall them. */
  unsettle(): void;
  /** One of them dies, or stops in order, and comes again. */
  loseOne(how: { readonly graceful: boolean; readonly downMs: number }): Promise<void>;
  killAll(): Promise<void>;
  /** Nothing befalls them any more, and what had is over. */
  heal(): void;
  /** Resolves when all know of what stands in the directory by now. */
  known(): Promise<void>;
  /** Those that run. */
  all(): readonly Process[];
}

interface Needs {
  readonly world: World;
  readonly plan: ClusterPlan;
  readonly durable: Durable;
  readonly invariants: Invariants;
  readonly situations: Situations;
  readonly operator: () => Operator;
  readonly create: (member: Member) => Process;
  /** A stop that takes longer has not come to its end. */
  readonly stopMs: number;
}

interface Node {
  readonly name: string;
  readonly process: Process;
  readonly cut: Set<'log' | 'ledger'>;
  state: 'starting' | 'up' | 'stopping' | 'dead';
}

const AGAIN_MS = 100;

export function createNodes(needs: Needs): Nodes {
  const { world, plan, durable, invariants, situations, operator, create, stopMs } = needs;
  const { leaseMs, skewMs, troubleMs } = plan;
  const random = world.random.fork('nodes');
  const ledger = { ...durable.ledger(), commit: (commit: Parameters<Durable['commit']>[0]) => durable.commit(commit) };
  const cluster = createMemoryCluster({ ledger, now: () => world.monotonic(), leaseMs });
  const nodes = new Set<Node>();
  let started = 0;
  let isStoreGone = false;
  let isHealed = false;

  function launchOne(): void {
    const name = `n${++started}`;
    const cut = new Set<'log' | 'ledger'>();
    const isCut = (port: 'log' | 'ledger'): boolean => cut.has(port) || (isStoreGone && port === 'ledger');
    const skew = Math.round(random.between(-skewMs, skewMs));
    if (Math.abs(skew) > 60_000) situations.count('skewed');
    world.trace.note(`${name} starts, its clock ${skew} ms ahead`);
    const node: Node = { name, process: create({ name, skewMs: skew, cluster, leaseMs, isCut }), cut, state: 'starting' };
    nodes.add(node);
    node.process.start().then(
      () => {
        if (node.state !== 'starting') return;
        node.state = 'up';
        world.trace.note(`${name} is up`);
      },
      (error: unknown) => startFailed(node, error),
    );
  }

  /** Whoever runs the process starts it again. */
  function startFailed(node: Node, error: unknown): void {
    if (node.state !== 'starting') return;
    world.trace.note(`start of ${node.name} failed: ${error instanceof Error ? error.message : String(error)}`);
    if (!(error instanceof Problem) || !error.code.endsWith('_unavailable'))
      broken('contract', 'a start fails only for what is not available', error);
    world.at(AGAIN_MS, 'restart', async () => {
      if (node.state !== 'starting') return;
      await kill(node);
      launchOne();
    });
  }

  function broken(promise: 'contract' | 'liveness', sentence: string, error: unknown): void {
    invariants.broken(promise, sentence, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  async function kill(node: Node): Promise<void> {
    if (node.state === 'dead') return;
    node.state = 'dead';
    nodes.delete(node);
    world.trace.note(`${node.name} is dead`);
    await node.process.kill();
    operator().crashed(node.process.gateway);
    await invariants.nodeCrashed(durable, node.process.life);
  }

  function stop(node: Node, downMs: number): void {
    node.state = 'stopping';
    world.trace.note(`${node.name} is told to stop`);
    situations.count('nodeStopped');
    world.at(stopMs, 'stop is over', () => {
      if (node.state === 'stopping')
        broken('liveness', 'a stop comes to its end', `${node.name} did not stop within ${stopMs} ms`);
    });
    const again = async (): Promise<void> => {
      await kill(node);
      world.at(downMs, 'launch', launchOne);
    };
    node.process.stop().then(again, (error: unknown) => broken('contract', 'a stop never fails', error));
  }

  const able = (): Node[] => [...nodes].filter(({ state, process }) => state === 'up' && !process.life.isFrozen);

  async function loseOne({ graceful, downMs }: { readonly graceful: boolean; readonly downMs: number }): Promise<void> {
    const candidates = graceful ? able() : [...nodes];
    if (candidates.length === 0) return;
    const node = random.pick(candidates);
    if (graceful) return stop(node, downMs);
    situations.count('nodeKilled');
    await kill(node);
    world.at(downMs, 'launch', launchOne);
  }

  function freeze(): void {
    const candidates = [...nodes].filter(({ process }) => !process.life.isFrozen);
    if (candidates.length === 0) return;
    const { name, process } = random.pick(candidates);
    const ms = leaseMs * random.between(0.2, 4);
    world.trace.note(`${name} is frozen for ${ms.toFixed(0)} ms`);
    if (ms > leaseMs) situations.count('frozen');
    world.freeze(process.life);
    world.at(ms, `${name} goes on`, () => world.thaw(process.life));
  }

  function cutOff(): void {
    if (nodes.size === 0) return;
    const { name, cut } = random.pick([...nodes]);
    const ports = random.pick<readonly ('log' | 'ledger')[]>([['log'], ['ledger'], ['ledger'], ['log', 'ledger']]);
    const ms = leaseMs * random.between(0.2, 4);
    world.trace.note(`${name} is cut off from ${ports.join(' and ')} for ${ms.toFixed(0)} ms`);
    situations.count('cutOff');
    for (const port of ports) cut.add(port);
    world.at(ms, `${name} is connected again`, () => ports.forEach((port) => cut.delete(port)));
  }

  function loseStore(): void {
    const ms = leaseMs * random.between(0.5, 4);
    world.trace.note(`the store is gone for ${ms.toFixed(0)} ms`);
    if (ms > leaseMs) situations.count('storeGone');
    isStoreGone = true;
    world.at(ms, 'the store is back', () => (isStoreGone = false));
  }

  async function trouble(): Promise<void> {
    if (isHealed) return;
    const downMs = random.pick([0, leaseMs / 2, leaseMs * 2]);
    await random.pick<() => unknown>([
      freeze,
      freeze,
      cutOff,
      cutOff,
      loseStore,
      () => loseOne({ graceful: false, downMs }),
      () => loseOne({ graceful: true, downMs }),
      () => loseOne({ graceful: true, downMs }),
    ])();
    world.at(random.gap(troubleMs), 'node trouble', trouble);
  }

  return {
    gateway(uid) {
      const asked = able();
      if (uid !== undefined && (isHealed || !random.chance(0.15))) {
        const owner = asked.find(({ process }) => process.gateway.slots.owns(uid));
        if (owner !== undefined || isHealed) return owner?.process.gateway;
      }
      return asked.length === 0 ? undefined : random.pick(asked).process.gateway;
    },
    areUp: () => able().length > 0,
    launch() {
      for (let at = 0; at < plan.nodes; at++) launchOne();
    },
    unsettle: () => void world.at(random.gap(troubleMs), 'node trouble', trouble),
    loseOne,
    async killAll() {
      for (const node of nodes) await kill(node);
    },
    heal() {
      isHealed = true;
      isStoreGone = false;
      for (const { process, cut } of nodes) {
        cut.clear();
        if (process.life.isFrozen) world.thaw(process.life);
      }
    },
    async known() {
      await Promise.all([...nodes].map(({ process }) => process.told()));
    },
    all: () => [...nodes].map(({ process }) => process),
  };
}
