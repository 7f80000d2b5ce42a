/** The ledger as one life of the gateway sees it. A commit may be applied although its caller is told that it failed. */
import type { Commit, Ledger } from '@millrace/gateway/ports/ledger';
import type { Durable } from '../durable.ts';
import type { Wire } from '../wire.ts';

export interface LedgerOptions {
  readonly wire: Wire;
  readonly durable: Durable;
  readonly onCommitted: (commit: Commit) => void;
}

export function createSimulatedLedger({ wire, durable, onCommitted }: LedgerOptions): Ledger {
  const ledger = durable.ledger();
  return {
    commit(commit) {
      const apply = async (): Promise<void> => {
        await durable.commit(commit);
        onCommitted(commit);
      };
      return wire.write('commit', apply, { mayFail: 'unknown' });
    },
    lanes: () => wire.read('lanes', () => ledger.lanes()),
    slots: () => wire.read('slots', () => ledger.slots()),
    handledAfter: (lane, shard, after) => wire.read('handledAfter', () => ledger.handledAfter(lane, shard, after)),
    openLanes: () => wire.read('openLanes', () => ledger.openLanes()),
    due: (lane, shard, dueMs, limit) => wire.read('due', () => ledger.due(lane, shard, dueMs, limit)),
    keyed: (lane, shard) => wire.read('keyed', () => ledger.keyed(lane, shard)),
    parked: (lane, shard, position) => wire.read('parked', () => ledger.parked(lane, shard, position)),
    attempts: (query) => wire.read('attempts', () => ledger.attempts(query)),
    attemptsOf: (lane, shard, position) => wire.read('attemptsOf', () => ledger.attemptsOf(lane, shard, position)),
    deadLetters: (query) => wire.read('deadLetters', () => ledger.deadLetters(query)),
    deadLetter: (id) => wire.read('deadLetter', () => ledger.deadLetter(id)),
    deadLetterCounts: () => wire.read('deadLetterCounts', () => ledger.deadLetterCounts()),
    pruneAttempts: (beforeMs) => wire.write('pruneAttempts', () => ledger.pruneAttempts(beforeMs)),
  };
}
