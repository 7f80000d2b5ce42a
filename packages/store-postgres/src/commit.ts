/**
 * A commit as the steps of one transaction: at most a dozen statements, whatever the number of rows, each with its rows as
 * columns (columns.ts). Rows are written in the order of their keys, so that two commits wait for one another and never each
 * for the other.
 */
import type {
  AttemptRow,
  Commit,
  Cursor,
  DeadLetter,
  KeptEvent,
  LanePosition,
  LaneRow,
  ParkedRow,
  SlotRow,
} from '@millrace/gateway/ports/ledger';
import { blobs, integers, texts } from './columns.ts';
import type { CommitStatements } from './commit-statements.ts';
import type { Statement, Step } from './database.ts';
import { OUTCOMES, restOf } from './ledger-rows.ts';

type LaneKey = { readonly lane: string; readonly shard: string };

/** Lanes of a commit by their place in a list, that each statement brings along and turns into numbers of the ledger. */
interface Lanes {
  readonly names: readonly LaneKey[];
  readonly columns: readonly [Buffer, Buffer];
  placesOf(rows: readonly LaneKey[]): Buffer;
}

/** `repeated`: some of its attempts are there already. */
export function commitSteps(sql: CommitStatements, commit: Commit, repeated: boolean): Step[] {
  const { attempts = [], park = [], unpark = [], bury = [], unbury = [], lanes = [], idle = [], slots = [] } = commit;
  const { dropLanes = [], dropSubscriptions = [] } = commit;
  const known = lanesOf([attempts, park, bury, lanes]);
  const removed = lanesOf([unpark, idle]);
  const some = (rows: readonly unknown[], step: () => Step): Step[] => (rows.length === 0 ? [] : [step()]);
  return [
    [sql.plan],
    ...some(dropLanes, () => [sql.dropCursors, texts(dropLanes)]),
    ...some(dropLanes, () => [sql.dropParked, texts(dropLanes)]),
    ...some(dropSubscriptions, () => [sql.dropSubscriptions, texts(dropSubscriptions)]),
    ...some(unpark, () => unparkStep(sql.unpark, removed, unpark)),
    ...some(unbury, () => [sql.unbury, texts(unbury)]),
    ...some(idle, () => [sql.idle, ...removed.columns, removed.placesOf(idle)]),
    ...some(known.names, () => addLanesStep(sql.addLanes, inOrder(known.names, keyOfLane))),
    ...some(attempts, () => attemptsStep(repeated ? sql.attemptsAgain : sql.attempts, known, attempts)),
    ...some(park, () => parkStep(sql.park, known, inOrder(park, keyOfPlace))),
    ...some(bury, () =>
      buryStep(
        sql.bury,
        known,
        inOrder(bury, ({ id }) => id),
      ),
    ),
    ...some(lanes, () => lanesStep(sql.lanes, known, inOrder(lanes, keyOfLane))),
    ...some(slots, () =>
      slotsStep(
        sql.slots,
        inOrder(slots, ({ slot, shard }) => `${slot}\n${shard}`),
      ),
    ),
  ];
}

function unparkStep(statement: Statement, lanes: Lanes, rows: readonly LanePosition[]): Step {
  return [statement, ...lanes.columns, lanes.placesOf(rows), texts(rows.map(({ position }) => position))];
}

function addLanesStep(statement: Statement, rows: readonly LaneKey[]): Step {
  const names = rows.map(({ lane }) => lane);
  return [statement, texts(names), texts(rows.map(({ shard }) => shard)), texts(names.map(subscriptionOf))];
}

function attemptsStep(statement: Statement, lanes: Lanes, rows: readonly AttemptRow[]): Step {
  return [
    statement,
    ...lanes.columns,
    lanes.placesOf(rows),
    texts(rows.map(({ position }) => position)),
    integers(rows.map(({ n }) => n)),
    integers(rows.map(({ startedMs }) => startedMs)),
    integers(rows.map(({ outcome }) => OUTCOMES.indexOf(outcome))),
    texts(rows.map(restOf)),
  ];
}

function parkStep(statement: Statement, lanes: Lanes, rows: readonly ParkedRow[]): Step {
  return [
    statement,
    ...lanes.columns,
    lanes.placesOf(rows),
    texts(rows.map(({ position }) => position)),
    integers(rows.map(({ state }) => (state === 'held' ? 1 : 0))),
    integers(rows.map(({ dueMs }) => dueMs)),
    integers(rows.map(({ attempts }) => attempts)),
    integers(rows.map(({ attemptsBefore }) => attemptsBefore)),
    texts(rows.map(({ key }) => key ?? null)),
    texts(rows.map(({ cause }) => cause)),
    integers(rows.map(({ size }) => size)),
    integers(rows.map(({ timeMs }) => timeMs)),
    texts(rows.map(({ idHash }) => idHash)),
    ...keptColumns(rows),
  ];
}

function buryStep(statement: Statement, lanes: Lanes, rows: readonly DeadLetter[]): Step {
  return [
    statement,
    ...lanes.columns,
    lanes.placesOf(rows),
    texts(rows.map(({ id }) => id)),
    texts(rows.map(({ lane }) => subscriptionOf(lane))),
    texts(rows.map(({ position }) => position)),
    texts(rows.map(({ cause }) => cause)),
    texts(rows.map(({ detail }) => detail)),
    integers(rows.map(({ attempts }) => attempts)),
    texts(rows.map(({ eventId }) => eventId)),
    texts(rows.map(({ topic }) => topic)),
    integers(rows.map(({ timeMs }) => timeMs)),
    integers(rows.map(({ diedMs }) => diedMs)),
    texts(rows.map(({ holdsKey }) => holdsKey ?? null)),
    ...keptColumns(rows),
    texts(rows.map(({ range }) => range?.through ?? null)),
    integers(rows.map(({ range }) => range?.throughTimeMs ?? null)),
    integers(rows.map(({ range }) => range?.count ?? null)),
  ];
}

function keptColumns(rows: readonly { readonly kept?: KeptEvent }[]): readonly [Buffer, Buffer, Buffer] {
  return [
    texts(rows.map(({ kept }) => kept?.environment ?? null)),
    texts(rows.map(({ kept }) => kept?.app ?? null)),
    blobs(rows.map(({ kept }) => kept?.bytes ?? null)),
  ];
}

function lanesStep(statement: Statement, lanes: Lanes, rows: readonly LaneRow[]): Step {
  return [statement, ...lanes.columns, lanes.placesOf(rows), ...cursorColumns(rows)];
}

function slotsStep(statement: Statement, rows: readonly SlotRow[]): Step {
  return [statement, integers(rows.map(({ slot }) => slot)), texts(rows.map(({ shard }) => shard)), ...cursorColumns(rows)];
}

function cursorColumns(rows: readonly { readonly cursor: Cursor }[]): readonly Buffer[] {
  return [
    texts(rows.map(({ cursor }) => cursor.log)),
    texts(rows.map(({ cursor }) => cursor.position)),
    integers(rows.map(({ cursor }) => cursor.timeMs)),
    texts(rows.map(({ cursor }) => cursor.idHash)),
  ];
}

function lanesOf(parts: readonly (readonly LaneKey[])[]): Lanes {
  const places = new Map<string, number>();
  const names: LaneKey[] = [];
  for (const part of parts) {
    for (const row of part) {
      const key = keyOfLane(row);
      if (!places.has(key)) places.set(key, names.push(row));
    }
  }
  return {
    names,
    columns: [texts(names.map(({ lane }) => lane)), texts(names.map(({ shard }) => shard))],
    placesOf: (rows) => integers(rows.map((row) => places.get(keyOfLane(row))!)),
  };
}

/** Each key once, the last row of it: an upsert refuses to meet a row twice. */
function inOrder<Row>(rows: readonly Row[], keyOf: (row: Row) => string): Row[] {
  const byKey = new Map(rows.map((row) => [keyOf(row), row]));
  return [...byKey.keys()].sort().map((key) => byKey.get(key)!);
}

function keyOfLane({ lane, shard }: LaneKey): string {
  return `${lane}\n${shard}`;
}

function keyOfPlace({ lane, shard, position }: LanePosition): string {
  return `${lane}\n${shard}\n${position}`;
}

function subscriptionOf(lane: string): string {
  return lane.split('.', 1)[0]!;
}
