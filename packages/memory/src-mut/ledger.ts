/** The Ledger in memory: a real driver that forgets at exit. A commit is applied in one synchronous step. */
import type {
  AttemptKey,
  AttemptRow,
  Commit,
  DeadLetter,
  LanePosition,
  LaneRow,
  Ledger,
  ParkedRow,
  SlotRow,
} from '@millrace/gateway/ports/ledger';
import type { Position } from '@millrace/gateway/ports/log';

/** All that is known of one lane on one shard. */
interface Lane {
  readonly lane: string;
  readonly shard: string;
  row?: LaneRow | undefined;
  readonly parked: Map<Position, ParkedRow>;
  readonly attempts: Map<string, AttemptRow>;
  /** By id. */
  readonly deadLetters: Map<string, DeadLetter>;
}
type LaneKey = Pick<Lane, 'lane' | 'shard'>;

/** Rows are kept by reference: who commits must not write into them afterwards. */
export function createMemoryLedger(): Ledger {
  const lanes = new Map<string, Lane>();
  const slots = new Map<string, SlotRow>();
  const buriedIn = new Map<string, Lane>();

  const known = (lane: string, shard: string): Lane => lanes.get(keyOf(lane, shard)) ?? emptyLane(lane, shard);
  const ofSubscription = (uid: string): Lane[] => [...lanes.values()].filter(({ lane }) => uidOf(lane) === uid);

  function own({ lane, shard }: LaneKey): Lane {
    const mine = known(lane, shard);
    lanes.set(keyOf(lane, shard), mine);
    return mine;
  }

  function drop({ dropLanes = [], dropSubscriptions = [] }: Commit): void {
    const forgotten = new Set(dropLanes);
    for (const lane of forgotten.size === 0 ? [] : lanes.values()) {
      if (!forgotten.has(lane.lane)) continue;
      lane.row = undefined;
      lane.parked.clear();
    }
    for (const { lane, shard, deadLetters } of dropSubscriptions.flatMap(ofSubscription)) {
      for (const id of deadLetters.keys()) buriedIn.delete(id);
      lanes.delete(keyOf(lane, shard));
    }
  }

  function remove({ unpark = [], unbury = [], idle = [] }: Commit): void {
    for (const { lane, shard, position } of unpark) known(lane, shard).parked.delete(position);
    for (const { lane, shard } of idle) known(lane, shard).row = undefined;
    unbury.forEach(removeDeadLetter);
  }

  function removeDeadLetter(id: string): void {
    buriedIn.get(id)?.deadLetters.delete(id);
    buriedIn.delete(id);
  }

  function bury(row: DeadLetter): void {
    removeDeadLetter(row.id);
    const lane = own(row);
    lane.deadLetters.set(row.id, row);
    buriedIn.set(row.id, lane);
  }

  function add(commit: Commit): void {
    for (const row of commit.attempts ?? []) own(row).attempts.set(`${row.position} ${row.n} ${row.startedMs}`, row);
    for (const row of commit.park ?? []) own(row).parked.set(row.position, row);
    for (const row of commit.bury ?? []) bury(row);
    for (const row of commit.lanes ?? []) own(row).row = row;
    for (const row of commit.slots ?? []) slots.set(`${row.slot} ${row.shard}`, row);
  }

  return {
    async commit(commit) {
      drop(commit);
      remove(commit);
      add(commit);
    },
    async lanes() {
      return [...lanes.values()].flatMap(({ row }) => row ?? []);
    },
    async slots() {
      return [...slots.values()];
    },
    async handledAfter(lane, shard, after) {
      const positions = new Set(handledIn(known(lane, shard)).map((row) => row.position));
      return [...positions].filter((position) => position > after).sort(ascending);
    },
    async openLanes() {
      return [...lanes.values()].filter(({ parked }) => parked.size > 0).map(countOpen);
    },
    async due(lane, shard, dueMs, limit) {
      const parked = parkedIn(known(lane, shard)).sort((a, b) => a.dueMs - b.dueMs || byPosition(a, b));
      const left = parked.findIndex((row, i) => row.dueMs > dueMs || i === limit);
      return left === -1 ? { rows: parked } : { rows: parked.slice(0, left), nextDueMs: parked[left]!.dueMs };
    },
    async keyed(lane, shard) {
      const { parked, deadLetters } = known(lane, shard);
      const waiting = [...parked.values()].flatMap(({ position, key, state }) =>
        key === undefined ? [] : { position, key, state },
      );
      const dead = [...deadLetters.values()].flatMap(({ position, holdsKey: key }) =>
        key === undefined ? [] : { position, key, state: 'dead' as const },
      );
      return [...waiting, ...dead].sort(byPosition);
    },
    async parked(lane, shard, position) {
      return known(lane, shard).parked.get(position);
    },
    async attempts({ subscription, before, limit }) {
      const rows = ofSubscription(subscription).flatMap(({ attempts }) => [...attempts.values()]);
      const older = before === undefined ? rows : rows.filter((row) => byAge(row, before) < 0);
      return older.sort((a, b) => byAge(b, a)).slice(0, limit);
    },
    async attemptsOf(lane, shard, position) {
      const rows = [...known(lane, shard).attempts.values()].filter((row) => row.position === position);
      return rows.sort((a, b) => a.n - b.n || a.startedMs - b.startedMs);
    },
    async deadLetters({ subscription, after = '', limit }) {
      const rows = ofSubscription(subscription).flatMap(({ deadLetters }) => [...deadLetters.values()]);
      return rows
        .filter((row) => row.id > after)
        .sort((a, b) => ascending(a.id, b.id))
        .slice(0, limit);
    },
    async deadLetter(id) {
      return buriedIn.get(id)?.deadLetters.get(id);
    },
    async deadLetterCounts() {
      const counts = new Map<string, number>();
      for (const { lane } of buriedIn.values()) counts.set(uidOf(lane), (counts.get(uidOf(lane)) ?? 0) + 1);
      return [...counts].map(([subscription, count]) => ({ subscription, count }));
    },
    async pruneAttempts(beforeMs) {
      for (const [name, lane] of lanes) {
        for (const [key, row] of lane.attempts) if (row.startedMs < beforeMs) lane.attempts.delete(key);
        if (isEmpty(lane)) lanes.delete(name);
      }
    },
  };
}

/** A range takes in what comes after its position, not what stands there: that delivery may still be open. */
function handledIn({ attempts, parked, deadLetters }: Lane): LanePosition[] {
  const settled = [...attempts.values()].filter((row) => row.outcome !== 'retry');
  const buried = [...deadLetters.values()].filter((row) => row.range === undefined);
  return [...settled, ...parked.values(), ...buried];
}

function parkedIn({ parked }: Lane): ParkedRow[] {
  return [...parked.values()].filter((row) => row.state === 'parked');
}

function countOpen(lane: Lane) {
  const parked = parkedIn(lane);
  return {
    lane: lane.lane,
    shard: lane.shard,
    parked: parked.length,
    parkedBytes: parked.reduce((sum, row) => sum + row.size, 0),
    held: lane.parked.size - parked.length,
    ...(parked.length === 0
      ? {}
      : { nextDueMs: parked.reduce((first, row) => Math.min(first, row.dueMs), Number.POSITIVE_INFINITY) }),
  };
}

function emptyLane(lane: string, shard: string): Lane {
  return { lane, shard, parked: new Map(), attempts: new Map(), deadLetters: new Map() };
}

function isEmpty({ row, parked, attempts, deadLetters }: Lane): boolean {
  return row === undefined && parked.size + attempts.size + deadLetters.size === 0;
}

function keyOf(lane: string, shard: string): string {
  return `${lane}\0${shard}`;
}

function uidOf(lane: string): string {
  return lane.split('.', 1)[0]!;
}

function ascending(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function byPosition(a: { readonly position: Position }, b: { readonly position: Position }): number {
  return ascending(a.position, b.position);
}

/** Older first. Total, so that paging neither repeats nor leaves out attempts of one millisecond. */
function byAge(a: AttemptKey, b: AttemptKey): number {
  return a.startedMs - b.startedMs || ascending(a.lane, b.lane) || ascending(a.shard, b.shard) || byPosition(a, b) || a.n - b.n;
}
