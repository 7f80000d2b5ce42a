/** Lanes and shards by number. A lane's number is never used again, so what is left under a forgotten one means nothing. */
import type { DatabaseSync } from 'node:sqlite';

export interface Lanes {
  /** Gives out a number where there is none. Within a transaction. */
  laneId(lane: string): number;
  shardId(shard: string): number;
  /** 0 where there is none. */
  knownLane(lane: string): number;
  knownShard(shard: string): number;
  laneName(id: number): string;
  shardName(id: number): string;
  ofSubscription(subscription: string): readonly number[];
  forget(lane: number): void;
  /** After a rollback. */
  reload(): void;
}

export function subscriptionOf(lane: string): string {
  return lane.split('.', 1)[0]!;
}

export function openLanes(db: DatabaseSync): Lanes {
  const findLane = db.prepare('SELECT id FROM lanes WHERE lane = ?');
  const findName = db.prepare('SELECT lane FROM lanes WHERE id = ?');
  const addLane = db.prepare('INSERT INTO lanes (lane, subscription) VALUES (?, ?)');
  const removeLane = db.prepare('DELETE FROM lanes WHERE id = ?');
  const findOfSubscription = db.prepare('SELECT id FROM lanes WHERE subscription = ?');
  const addShard = db.prepare('INSERT INTO shards (shard) VALUES (?)');
  const readShards = db.prepare('SELECT id, shard FROM shards');
  /** Those used lately; the rest is looked up. */
  const laneIds = new Map<string, number>();
  const laneNames = new Map<number, string>();
  const shardIds = new Map<string, number>();
  const shardNames = new Map<number, string>();

  function hold(id: number, lane: string): number {
    if (laneIds.size > 100_000) forgetAll();
    laneIds.set(lane, id);
    laneNames.set(id, lane);
    return id;
  }

  function forgetAll(): void {
    laneIds.clear();
    laneNames.clear();
  }

  function holdShard(id: number, shard: string): number {
    shardIds.set(shard, id);
    shardNames.set(id, shard);
    return id;
  }

  function knownLane(lane: string): number {
    const id = laneIds.get(lane) ?? Number(findLane.get(lane)?.['id'] ?? 0);
    return id === 0 ? 0 : hold(id, lane);
  }

  function reload(): void {
    forgetAll();
    shardIds.clear();
    shardNames.clear();
    for (const row of readShards.all()) holdShard(Number(row['id']), String(row['shard']));
  }

  reload();
  return {
    laneId: (lane) =>
      laneIds.get(lane) ?? (knownLane(lane) || hold(Number(addLane.run(lane, subscriptionOf(lane)).lastInsertRowid), lane)),
    shardId: (shard) => shardIds.get(shard) ?? holdShard(Number(addShard.run(shard).lastInsertRowid), shard),
    knownLane,
    knownShard: (shard) => shardIds.get(shard) ?? 0,
    laneName: (id) => laneNames.get(id) ?? String(findName.get(id)!['lane']),
    shardName: (id) => shardNames.get(id)!,
    ofSubscription: (subscription) => findOfSubscription.all(subscription).map((row) => Number(row['id'])),
    forget(id) {
      laneIds.delete(laneNames.get(id) ?? '');
      laneNames.delete(id);
      removeLane.run(id);
    },
    reload,
  };
}
