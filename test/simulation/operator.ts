/** The people who manage subscriptions, in mid-flight and never two at one subscription. */
import { Problem } from '@millrace/core/problem';
import type { From, Gateway, ReplaySpec, SubscriptionSpec } from '@millrace/gateway/api';
import type { Invariants } from './invariants.ts';
import { filterFor, scheduleFor, specOf, topicsFor } from './scenario.ts';
import type { Scenario } from './scenario.ts';
import type { Situations } from './situations.ts';
import type { World } from './world.ts';

export interface Operator {
  start(): void;
  stop(): void;
  /** Whoever waited for the process that ended (one of several) waits no longer. */
  crashed(ended?: Gateway): void;
  /** Sets some subscription back, just as something else is about to happen. */
  rewindSome(): void;
  /** Asks for everybody's health, which has new shards discovered. */
  lookAtAll(): void;
  /** Resumes what is paused, redrives or discards what is dead, until nothing is left to do. */
  healOnce(): void;
}

interface Needs {
  readonly world: World;
  readonly scenario: Scenario;
  readonly invariants: Invariants;
  readonly situations: Situations;
  /** Whom to ask about a subscription. */
  readonly gateway: (of: Name) => Gateway | undefined;
  /** Where there are several: resolves when all know of what stands in the directory by now. Nobody acts on what was before then. */
  readonly known?: () => Promise<void>;
}

export interface Name {
  readonly environment: string;
  readonly id: string;
}

/** What may be refused because of what others, or faults, did in between. */
const EXPECTED = new Set([
  'not_found',
  'already_exists',
  'conflict',
  'in_flight',
  'version_mismatch',
  'not_redrivable',
  'log_unavailable',
  'ledger_unavailable',
  'shutting_down',
  'overloaded',
  'too_many_requests',
  'moving',
]);

export function createOperator({ world, scenario, invariants, situations, gateway, known }: Needs): Operator {
  const random = world.random.fork('operator');
  /** What is being done, by name, and by whom. */
  const busy = new Map<string, { readonly target: Gateway; readonly name: Name }>();
  let stopped = false;
  let hosts = 0;

  const names: readonly Name[] = Array.from({ length: scenario.subscriptions }, (_, at) => ({
    environment: at === 3 ? 'staging' : 'default',
    id: `s${at}`,
  }));
  const nameOf = ({ environment, id }: Name): string => `${environment}/${id}`;
  const newUrl = (path = 'hook'): string => `https://e${++hosts}.example/${path}`;
  const isThere = ({ environment, id }: Name): boolean => invariants.subscriptions.byName(environment, id) !== undefined;

  /** One action at one subscription: nobody else touches it until it is answered or its process is gone. */
  function act(name: Name, what: string, action: (gateway: Gateway) => Promise<unknown>): void {
    if (busy.has(nameOf(name))) return;
    const target = gateway(name);
    if (target === undefined) return;
    const mine = { target, name };
    busy.set(nameOf(name), mine);
    world.trace.note(`operator: ${what} ${nameOf(name)}`);
    const done = (): void => {
      if (busy.get(nameOf(name)) === mine) settle(mine);
    };
    action(target).then(done, (error: unknown) => {
      done();
      world.trace.note(`operator: ${what} ${nameOf(name)} refused: ${error instanceof Error ? error.message : String(error)}`);
      if (error instanceof Problem && EXPECTED.has(error.code)) return;
      invariants.broken(
        'contract',
        'management refuses only with a problem that says why',
        `${what}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    });
  }

  function settle(doing: { readonly target: Gateway; readonly name: Name }): void {
    const { name } = doing;
    const settled = (): void => {
      if (busy.get(nameOf(name)) !== doing) return;
      busy.delete(nameOf(name));
      invariants.changeAnswered(name.environment, name.id);
    };
    if (known === undefined) settled();
    else void known().then(settled);
  }

  function create(name: Name): void {
    const spec = specOf(random, newUrl());
    const from = spec.from ?? 'latest';
    act(name, `create ${JSON.stringify(spec)}`, (target) => {
      invariants.begins(name.environment, name.id, from);
      return target.subscriptions.create(name.environment, name.id, spec);
    });
  }

  function update(name: Name): void {
    const change = random.pick<() => Partial<SubscriptionSpec>>([
      () => ({ filter: random.chance(0.4) ? null : filterFor(random) }),
      () => ({ topics: topicsFor(random) }),
      () => ({ deliver: { webhook: { url: newUrl(), timeoutMs: random.int(1_000, 2_500) } } }),
      () => ({ retry: { schedule: scheduleFor(random), jitter: 0.1 } }),
      () => ({ concurrency: random.pick([1, 2, 4]) }),
      () => ({ ratePerSecond: random.pick([10, 40]) }),
      () => ({ breaker: random.chance(0.3) ? false : { failures: 3, events: 5 } }),
    ])();
    if (invariants.isOpen(name.environment, name.id)) situations.count('changedMidFlight');
    if ('filter' in change) situations.count('filterChanged');
    act(name, `update ${JSON.stringify(change)}`, (target) => target.subscriptions.update(name.environment, name.id, change));
  }

  function pause(name: Name): void {
    if (invariants.isOpen(name.environment, name.id)) situations.count('pausedMidFlight');
    act(name, 'pause', (target) => target.subscriptions.pause(name.environment, name.id));
    world.at(random.between(100, 3_000), 'resume', () =>
      act(name, 'resume', (target) => target.subscriptions.resume(name.environment, name.id)),
    );
  }

  function remove(name: Name): void {
    if (invariants.isOpen(name.environment, name.id)) situations.count('deletedMidFlight');
    act(name, 'delete', (target) => target.subscriptions.delete(name.environment, name.id));
  }

  function timeAgo(): From {
    return random.chance(0.3) ? 'earliest' : { timeMs: world.now() - random.int(200, 5_000) };
  }

  function replay(name: Name): void {
    const spec: ReplaySpec = {
      from: timeAgo(),
      ids: random.pick(['same', 'as-new', 'as-new']),
      ...(random.chance(0.5) ? { to: { url: newUrl('drill') } } : {}),
      ...(random.chance(0.2) ? { untilMs: world.now() - 100 } : {}),
    };
    act(name, `replay ${JSON.stringify(spec)}`, (target) =>
      random.chance(0.2)
        ? target.replays.count(name.environment, name.id, spec)
        : target.replays.start(name.environment, name.id, spec),
    );
  }

  function cancel(name: Name): void {
    const run = invariants.subscriptions.runs.find(
      ({ state, subscription }) =>
        state === 'running' && subscription.id === name.id && subscription.environment === name.environment,
    );
    if (run !== undefined) act(name, `cancel ${run.id}`, (target) => target.replays.cancel(name.environment, run.id));
  }

  function rewind(name: Name): void {
    const from = random.chance(0.2) ? 'latest' : timeAgo();
    act(name, `rewind ${JSON.stringify(from)}`, async (target) => {
      invariants.begins(name.environment, name.id, from);
      await target.replays.rewind(name.environment, name.id, from);
      situations.count('rewind');
    });
  }

  function settleDead(name: Name, all: boolean): void {
    act(name, 'dead letters', async (target) => {
      const letters = await target.deadLetters.list(name.environment, name.id, { limit: all ? 1_000 : 20 });
      const chosen = all ? letters : letters.length === 0 ? [] : [random.pick(letters)];
      for (const { id, range, kept } of chosen) {
        world.trace.note(`operator: ${range === undefined ? 'redrive or discard' : 'discard range'} ${id}`);
        // Of an event that is gone there is nothing to redrive: who tries is told so, and once all heals nobody tries.
        if (range !== undefined || (all && kept === undefined) || random.chance(0.2)) {
          invariants.discardAsked(id);
          await target.deadLetters.discard(name.environment, name.id, id);
        } else {
          invariants.redriveAsked(id);
          await target.deadLetters.redrive(name.environment, name.id, id);
        }
      }
    });
  }

  function retry(name: Name): void {
    const parked = invariants.parked(name.environment, name.id);
    if (parked.length === 0) return;
    const { lane, shard, position } = random.pick(parked);
    act(name, `retry ${lane} ${shard} ${position}`, async (target) => {
      invariants.retryAsked({ lane, shard, position });
      await target.deliveries.retry(name.environment, name.id, { lane, shard, position });
      situations.count('retried');
    });
  }

  function look(name: Name): void {
    act(name, 'health', async (target) =>
      invariants.health(name.environment, name.id, await target.health(name.environment, name.id)),
    );
  }

  function next(): void {
    if (stopped) return;
    const name = random.pick(names);
    if (!isThere(name)) create(name);
    else {
      const actions: readonly ((name: Name) => void)[] = [
        update,
        update,
        pause,
        replay,
        rewind,
        look,
        look,
        cancel,
        retry,
        retry,
        (one) => settleDead(one, false),
        (one) => settleDead(one, false),
        (one) => settleDead(one, false),
      ];
      (random.chance(0.03) ? remove : random.pick(actions))(name);
    }
    world.at(random.gap(scenario.operateMs), 'operator', next);
  }

  return {
    start() {
      for (const name of names) create(name);
      world.at(scenario.operateMs, 'operator', next);
    },
    stop() {
      stopped = true;
    },
    crashed(ended) {
      if (ended === undefined) return busy.clear();
      for (const [of, { target, name }] of busy) {
        if (target !== ended) continue;
        // Nobody answers any more; what it did, the others come to know.
        const over = { target, name };
        busy.set(of, over);
        settle(over);
      }
    },
    rewindSome() {
      const there = names.filter(isThere);
      if (there.length > 0) rewind(random.pick(there));
    },
    lookAtAll() {
      for (const name of names) if (isThere(name)) look(name);
    },
    healOnce() {
      for (const name of names) {
        const subscription = invariants.subscriptions.byName(name.environment, name.id);
        if (subscription === undefined) continue;
        if (subscription.present.state === 'paused')
          act(name, 'resume', (target) => target.subscriptions.resume(name.environment, name.id));
        else settleDead(name, true);
      }
    },
  };
}
