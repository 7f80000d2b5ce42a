/** A commit in words, one line per row, naming events by their numbers so that a history can be followed. */
import type { Change } from '@millrace/gateway/ports/directory';
import type { Commit, Cursor, LanePosition } from '@millrace/gateway/ports/ledger';
import type { Facts } from './oracle/facts.ts';

export function tellCommit(commit: Commit, facts: Facts): readonly string[] {
  const event = ({ shard, position }: LanePosition, id?: string): string =>
    `event ${facts.at(shard, position, id ? { id } : {})?.n ?? '?'} at ${shard} ${short(position)}`;
  const cursor = ({ log, position, timeMs }: Cursor): string => `${log} ${short(position)} (${timeMs % 1_000_000})`;
  return [
    ...(commit.dropLanes ?? []).map((lane) => `drop lane ${lane}`),
    ...(commit.dropSubscriptions ?? []).map((uid) => `drop subscription ${uid}`),
    ...(commit.unpark ?? []).map((row) => `unpark ${event(row)} in ${row.lane}`),
    ...(commit.unbury ?? []).map((id) => `unbury ${id}`),
    ...(commit.idle ?? []).map(({ lane, shard }) => `no row for ${lane} ${shard}`),
    ...(commit.attempts ?? []).map(
      (row) => `attempt ${row.n} of ${event(row, row.eventId)} in ${row.lane}: ${row.outcome} ${row.cause}`,
    ),
    ...(commit.park ?? []).map(
      (row) =>
        `${row.state} ${event(row)} in ${row.lane} after ${row.attempts} attempts, due ${row.dueMs % 1_000_000}${row.key === undefined ? '' : `, key ${row.key}`}${row.kept ? ', kept' : ''}`,
    ),
    ...(commit.bury ?? []).map(
      (row) =>
        `dead ${row.range ? `range to ${short(row.range.through)} (${row.range.throughTimeMs % 1_000_000})` : ''} ${event(row, row.eventId)} in ${row.lane}: ${row.cause} after ${row.attempts}, ${row.id}${row.holdsKey === undefined ? '' : `, holds ${row.holdsKey}`}`,
    ),
    ...(commit.lanes ?? []).map((row) => `row of ${row.lane} ${row.shard}: ${cursor(row.cursor)}`),
    ...(commit.slots ?? []).map((row) => `slot ${row.slot} ${row.shard}: ${cursor(row.cursor)}`),
  ];
}

export function tellChange(change: Change): string {
  const { kind, environment, id } = change;
  if (change.now === undefined) return `${kind} ${environment}/${id} is gone`;
  if (change.kind === 'subscription') {
    const { uid, pass, state } = change.now.value;
    return `subscription ${environment}/${id} is ${uid} pass ${pass}, ${state}, version ${change.now.version}`;
  }
  if (change.kind !== 'run') return `${kind} ${environment}/${id} is at version ${change.now.version}`;
  const { subscriptionUid, state, spans, ids, to } = change.now.value;
  const told = Object.entries(spans).map(([shard, { after, until }]) => `${shard} ${short(after)} to ${short(until)}`);
  return `run ${id} of ${subscriptionUid} is ${state}: ${ids}${to === undefined ? '' : `, to ${to.url}`}, ${told.join(', ')}`;
}

export function short(position: string): string {
  return position.replace(/^0+/, '') || '0';
}
