/** One gateway process over the durable state: its ports, the wires to them, and how it dies. */
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '@millrace/gateway/api';
import { createGateway } from '@millrace/gateway/gateway';
import type { Limits } from '@millrace/gateway/limits';
import type { Page, ReadRequest } from '@millrace/gateway/ports/log';
import type { Durable } from './durable.ts';
import type { Endpoints } from './endpoints.ts';
import type { Invariants } from './invariants.ts';
import { createSimulatedDirectory } from './ports/directory.ts';
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
}

/** A process this old does not read far behind because it just started. */
const SETTLED_MS = 200;

export function createProcess(needs: ProcessNeeds): Process {
  const { world, scenario, limits, situations, durable, invariants, endpoints, onGhost } = needs;
  const life = world.begin();
  const startedMs = world.monotonic();
  const wires = { log: wireTo('log'), ledger: wireTo('ledger'), directory: wireTo('directory') };

  function wireTo(name: 'log' | 'ledger' | 'directory'): Wire {
    return createWire({
      world,
      life,
      random: world.random.fork(`${name} wire ${life.number}`),
      latencyMs: scenario.latencyMs,
      fault() {
        if (name !== 'directory') situations.count(name === 'log' ? 'logFault' : 'ledgerFault');
        return new Problem(name === 'log' ? 'log_unavailable' : 'ledger_unavailable', 'not now');
      },
      // The directory's port names no way to fail.
      faultRate: () => (name === 'directory' ? 0 : needs.faultRate(name)),
      onGhost,
      onUnknown: () => situations.count('commitUnknown'),
    });
  }

  function tellRead({ shard, after }: ReadRequest, { records, through, atEnd, expired }: Page): void {
    const lost = expired === undefined ? '' : `, expired to ${short(expired.last.position)}`;
    world.trace.note(`  page of ${records.length} to ${short(through)}${atEnd ? ', the end' : ''}${lost}`);
    const behind = invariants.facts.inShard(shard).filter(({ position }) => position > after);
    const bytes = behind.reduce((sum, { size }) => sum + size, 0);
    if (bytes > limits.ringBytes && world.monotonic() > startedMs + SETTLED_MS) situations.count('ringOverrun');
  }

  const log = createSimulatedLog({
    world,
    life,
    wire: wires.log,
    durable,
    hidden: needs.hidden,
    observer: {
      appended: (entries, results) => invariants.appended(entries, results),
      topicDeclared: (environment, topic, retentionMs) => invariants.topicDeclared(environment, topic, retentionMs),
      read: tellRead,
    },
  });
  const ledger = createSimulatedLedger({
    wire: wires.ledger,
    durable,
    onCommitted(commit) {
      for (const line of tellCommit(commit, invariants.facts)) world.trace.note(`  ${line}`);
      invariants.committed(commit);
    },
  });
  const directory = createSimulatedDirectory({
    world,
    life,
    wire: wires.directory,
    durable,
    onChanged(change) {
      world.trace.note(`  ${tellChange(change)}`);
      invariants.configured(change);
    },
  });
  const gateway = createGateway({
    ports: {
      log,
      ledger,
      directory,
      sender: endpoints.sender(life),
      clock: clockOf(world, life),
      vault: {
        seal: (text: string) => `sealed:${text}`,
        open: (sealed: string) => sealed.slice('sealed:'.length),
        isOutdated: () => false,
      },
    },
    limits: scenario.limits,
    onNotice(notice) {
      if (!life.alive) return;
      world.trace.note(`notice ${JSON.stringify(notice)}`);
      invariants.noticed(notice);
    },
  });

  return {
    life,
    gateway,
    async kill() {
      world.end(life);
      gateway.abandon();
      for (const wire of Object.values(wires)) await wire.sever();
      log.disconnect();
      directory.disconnect();
      endpoints.crash();
    },
  };
}
