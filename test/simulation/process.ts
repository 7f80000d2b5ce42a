/** One gateway process over the durable state: its ports, the wires to them, and how it dies. Alone, or a node of a cluster. */
import { Problem } from '@millrace/core/problem';
import type { Gateway, Slots } from '@millrace/gateway/api';
import { type ClusterNode, createClusterNode } from '@millrace/gateway/cluster/cluster';
import { createGateway } from '@millrace/gateway/gateway';
import type { Limits } from '@millrace/gateway/limits';
import type { Commit } from '@millrace/gateway/ports/ledger';
import type { Page, ReadRequest } from '@millrace/gateway/ports/log';
import type { MemoryCluster } from '@millrace/memory/leases';
import type { Durable } from './durable.ts';
import type { Endpoints } from './endpoints.ts';
import type { Invariants } from './invariants.ts';
import { createSimulatedDirectory } from './ports/directory.ts';
import { createSimulatedLeases } from './ports/leases.ts';
import { createSimulatedLedger } from './ports/ledger.ts';
import { createSimulatedLog } from './ports/log.ts';
import type { Scenario } from './scenario.ts';
import type { Situations } from './situations.ts';
import { short, tellChange, tellCommit } from './tell.ts';
import { createWire } from './wire.ts';
import type { Wire } from './wire.ts';
import { clockOf } from './world.ts';
import type { Life, World } from './world.ts';

export interface Process {
  readonly life: Life;
  readonly gateway: Gateway;
  start(): Promise<void>;
  /** In order. */
  stop(): Promise<void>;
  /** Resolves when it knows of all that stands in the directory by now. */
  told(): Promise<void>;
  /** Ends it at once; what it was writing is written or not. */
  kill(): Promise<void>;
}

export interface ProcessNeeds {
  readonly world: World;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly situations: Situations;
  readonly durable: Durable;
  readonly invariants: Invariants;
  readonly endpoints: Endpoints;
  readonly hidden: () => ReadonlySet<string>;
  /** How likely a call to the log or the ledger fails now. */
  readonly faultRate: (port: 'log' | 'ledger') => number;
  readonly onGhost: (what: string) => void;
  /** Where it shares the durable state with others. */
  readonly member?: Member;
}

export interface Member {
  readonly name: string;
  readonly skewMs: number;
  readonly cluster: MemoryCluster;
  readonly leaseMs: number;
  /** Whether the network to the log, or to the store, takes nothing now. */
  readonly isCut: (port: 'log' | 'ledger') => boolean;
}

/** A process this old does not read far behind because it just started. */
const SETTLED_MS = 200;

export function createProcess(needs: ProcessNeeds): Process {
  const { world, scenario, limits, situations, durable, invariants, endpoints, onGhost, member } = needs;
  const life = world.begin(member?.skewMs);
  const startedMs = world.monotonic();
  const isCut = (port: 'log' | 'ledger'): boolean => member?.isCut(port) === true;
  const wires = { log: wireTo('log'), ledger: wireTo('ledger'), directory: wireTo('directory'), leases: wireTo('leases') };

  /** Ledger, directory and leases of a cluster are one store. The directory's port names no way to fail. */
  function wireTo(name: 'log' | 'ledger' | 'directory' | 'leases'): Wire {
    const port = name === 'log' ? 'log' : 'ledger';
    const mayFail = name !== 'directory' || member !== undefined;
    return createWire({
      world,
      life,
      random: world.random.fork(`${name} wire ${life.number}`),
      latencyMs: scenario.latencyMs,
      fault() {
        if (mayFail) situations.count(port === 'log' ? 'logFault' : 'ledgerFault');
        return new Problem(port === 'log' ? 'log_unavailable' : 'ledger_unavailable', 'not now');
      },
      faultRate: () => (mayFail ? needs.faultRate(port) : 0),
      onGhost,
      onUnknown: () => situations.count('commitUnknown'),
      isCut: () => isCut(port),
    });
  }

  function tellRead({ shard, after }: ReadRequest, { records, through, atEnd, expired }: Page): void {
    const lost = expired === undefined ? '' : `, expired to ${short(expired.last.position)}`;
    world.trace.note(`  page of ${records.length} to ${short(through)}${atEnd ? ', the end' : ''}${lost}`);
    const behind = invariants.facts.inShard(shard).filter(({ position }) => position > after);
    const bytes = behind.reduce((sum, { size }) => sum + size, 0);
    if (bytes > limits.ringBytes && world.monotonic() > startedMs + SETTLED_MS) situations.count('ringOverrun');
  }

  function committed(commit: Commit): void {
    if (member !== undefined) world.trace.note(`  commit of ${member.name}`);
    for (const line of tellCommit(commit, invariants.facts)) world.trace.note(`  ${line}`);
    invariants.committed(commit, life);
  }

  const log = createSimulatedLog({
    world,
    life,
    wire: wires.log,
    durable,
    hidden: needs.hidden,
    isCut: () => isCut('log'),
    observer: {
      appended: (entries, results) => invariants.appended(entries, results),
      topicDeclared: (environment, topic, retentionMs) => invariants.topicDeclared(environment, topic, retentionMs),
      read: tellRead,
    },
  });
  const stored = createSimulatedLedger({ wire: wires.ledger, durable, onCommitted: committed });
  const directory = createSimulatedDirectory({
    world,
    life,
    wire: wires.directory,
    durable,
    mayFail: member !== undefined,
    isCut: () => isCut('ledger'),
    onChanged(change) {
      world.trace.note(`  ${tellChange(change)}`);
      invariants.configured(change);
    },
  });
  const clock = clockOf(world, life);
  const node = member && join(member);
  const gateway = createGateway({
    ports: {
      log,
      ledger: node?.ledger ?? stored,
      directory,
      sender: node?.guard(endpoints.sender(life)) ?? endpoints.sender(life),
      clock,
      vault: {
        seal: (text: string) => `sealed:${text}`,
        open: (sealed: string) => sealed.slice('sealed:'.length),
        derived: () => [new Uint8Array(32)],
        isOutdated: () => false,
      },
    },
    limits: scenario.limits,
    withoutSlots: member !== undefined,
    onNotice(notice) {
      if (!life.alive) return;
      world.trace.note(`notice ${JSON.stringify(notice)}`);
      invariants.noticed(notice, life);
    },
  });

  function join({ name, cluster, leaseMs }: Member): ClusterNode {
    const leases = createSimulatedLeases({
      wire: wires.leases,
      leases: cluster.join(name, `http://${name}`),
      onOwned: (fences) => invariants.owned(fences, life),
      onCommitted: committed,
      onRefused: () => situations.count('commitRefused'),
    });
    return createClusterNode({
      node: name,
      ledger: stored,
      leases,
      slots: () => watched(gateway.slots, name),
      clock,
      leaseMs,
      onNotice(notice) {
        if (!life.alive) return;
        world.trace.note(`${name} ${JSON.stringify(notice)}`);
        if (notice.kind === 'lease_over') situations.count('leaseOver');
        if (notice.kind === 'slots_lost') situations.count('slotsLost');
      },
    });
  }

  /** The oracle is told whose a slot is, as the node itself sees it. */
  function watched(slots: Slots, name: string): Slots {
    return {
      owns: (uid) => slots.owns(uid),
      async take(taken, onBegun) {
        world.trace.note(`${name} takes ${taken.size} slots`);
        invariants.taken(taken, life);
        await slots.take(taken, onBegun);
        if (life.alive) situations.count('slotsTaken');
      },
      async leave(left) {
        world.trace.note(`${name} leaves ${left.size} slots`);
        await slots.leave(left);
        if (life.alive) invariants.left(left, life);
      },
      lose(lost) {
        world.trace.note(`${name} loses ${lost.size} slots`);
        slots.lose(lost);
        invariants.left(lost, life);
      },
      started: slots.started,
    };
  }

  return {
    life,
    gateway,
    async start() {
      await gateway.start();
      await node?.start();
    },
    async stop() {
      await node?.stop();
      await gateway.stop();
    },
    told: () => directory.told(),
    async kill() {
      world.end(life);
      node?.abandon();
      gateway.abandon();
      for (const wire of Object.values(wires)) await wire.sever();
      log.disconnect();
      directory.disconnect();
      endpoints.crash(life);
    },
  };
}
