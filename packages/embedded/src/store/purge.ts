/**
 * What is left of forgotten lanes, removed bit by bit. Forgetting itself only takes a lane's number away, so that what
 * stays under it can't be found: a subscription may have a million dead letters, and to delete them in its commit would
 * stop everybody's appends for seconds.
 */
import { isStorageError } from './faults.ts';
import type { State } from './state.ts';

/** Rows of each table that one transaction removes. */
const ROWS_AT_ONCE = 500;

export interface Purge {
  /** Within a transaction. */
  add(lane: number): void;
  /** Resolves when nothing is left to remove. */
  run(): Promise<void>;
  /** The same with nobody waiting; costs nothing where there is nothing. */
  runQuietly(): void;
  /** After a rollback. */
  reload(): void;
  close(): Promise<void>;
}

export function openPurge({ db, transaction }: Pick<State, 'db' | 'transaction'>, turn: () => Promise<void>): Purge {
  const addLane = db.prepare('INSERT INTO forgotten VALUES (?)');
  const readLanes = db.prepare('SELECT lane FROM forgotten');
  const removeLane = db.prepare('DELETE FROM forgotten WHERE lane = ?');
  const removeParked = db.prepare(
    `DELETE FROM parked WHERE (lane, shard, position) IN (SELECT lane, shard, position FROM parked WHERE lane = ? LIMIT ${ROWS_AT_ONCE})`,
  );
  const removeDead = db.prepare(
    `DELETE FROM dead_letters WHERE number IN (SELECT number FROM dead_letters WHERE lane = ? LIMIT ${ROWS_AT_ONCE})`,
  );
  let work: Promise<void> | undefined;
  let isClosing = false;
  let lanes: number[] = [];

  function reload(): void {
    lanes = readLanes.all().map((row) => Number(row['lane']));
  }

  /** One piece; the lane is done when it finds nothing more. */
  function removeSome(lane: number): void {
    const isDone = transaction(() => {
      const removed = Number(removeParked.run(lane).changes) + Number(removeDead.run(lane).changes);
      if (removed === 0) removeLane.run(lane);
      return removed === 0;
    });
    if (isDone) lanes = lanes.filter((each) => each !== lane);
  }

  async function removeAll(): Promise<void> {
    while (lanes.length > 0 && !isClosing) {
      removeSome(lanes[0]!);
      await turn();
    }
  }

  function run(): Promise<void> {
    return (work ??= removeAll().finally(() => (work = undefined)));
  }

  reload();
  return {
    add(lane) {
      addLane.run(lane);
      lanes.push(lane);
    },
    run,
    runQuietly() {
      if (lanes.length === 0 || work !== undefined) return;
      run().catch((error: unknown) => {
        // A full disk: the next trim tries again. Anything else is a bug, and ends the thread as an unhandled rejection.
        if (!isStorageError(error)) throw error;
      });
    },
    reload,
    async close() {
      isClosing = true;
      await work?.catch(() => {});
    },
  };
}
