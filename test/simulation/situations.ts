/** The hard situations, counted: a run that never met one of them proves nothing about it. */
export const SITUATIONS = {
  heldBehindParked: 'a successor waits behind a parked head of its key',
  probe: 'an open breaker probes',
  breakerOpened: 'a breaker opens',
  breakerClosed: 'a breaker closes',
  parkedDueWhileOpen: 'parked deliveries are due while the breaker is open',
  crashAnswered: 'a crash between an answer and its commit',
  crashInFlight: 'a crash with requests in flight',
  answerLost: 'a 2xx that the gateway never heard of',
  openParked: 'a slow request is written down as parked',
  replayBesideLive: 'a replay sends beside its live lane',
  replayAsNew: 'a replay sends with new ids',
  replayElsewhere: 'a replay sends to another target',
  runDone: 'a replay comes to its end',
  rewind: 'a live lane is set back',
  rewindAtStop: 'the process is told to stop while a lane is being set back',
  redrive: 'a dead letter is redriven',
  discard: 'a dead letter is discarded',
  retried: 'a person has a parked delivery tried now',
  keyReleased: 'a key goes on after a dead letter',
  keyHeld: 'a dead letter holds its key',
  deadLetter: 'a delivery dies',
  exhausted: 'a schedule is used up',
  ringOverrun: 'a lane is behind the ring',
  rangeExpired: 'retention passes a lane',
  logRecreated: 'the log was recreated',
  logTailLost: 'the log lost its tail',
  logChangedRange: 'a range is written off because the log changed',
  ledgerOlder: 'an older ledger was restored',
  boundReached: 'a bound stops a lane',
  changedMidFlight: 'settings change while deliveries are open',
  filterChanged: 'a filter changes',
  deletedMidFlight: 'a subscription is deleted while deliveries are open',
  pausedMidFlight: 'a subscription is paused while deliveries are open',
  rateWait: 'a rate limit is used to the full',
  concurrencyFull: 'a subscription is at its concurrency',
  processFull: 'the process is full',
  slowDown: 'a 429 slows a subscription down',
  clockBack: 'the wall clock jumps back',
  clockAhead: 'the wall clock jumps ahead',
  commitUnknown: 'a commit is repeated after an unknown outcome',
  logFault: 'the log fails a call',
  ledgerFault: 'the ledger fails a call',
  lateShard: 'a shard is discovered late',
  duplicate: 'a publish is a duplicate',
  keyReused: 'an idempotency key comes with other content',
  audience: 'an event has an audience',
  earliest: 'a subscription begins at the earliest event',
  slotsMoved: 'slots are left and taken again while the process runs',
  slotsTaken: 'a node takes slots',
  slotsLost: 'a node finds that slots are another’s by now',
  leaseOver: 'a lease ends before it is renewed',
  commitRefused: 'a commit is refused, as a slot is another’s by now',
  answeredFrozen: 'an endpoint answers a node that is frozen',
  frozen: 'a node is frozen for longer than its lease',
  cutOff: 'a node has no network to the store, or to the log',
  storeGone: 'the store is gone for all for longer than a lease',
  nodeKilled: 'a node is killed while others go on',
  nodeStopped: 'a node stops in order while others go on',
  skewed: 'wall clocks of nodes are a minute and more apart',
  keptBytes: 'a delivery is made from kept bytes, its event gone from the log',
} as const;

export type Situation = keyof typeof SITUATIONS;
export type Counts = Record<Situation, number>;

export interface Situations {
  count(situation: Situation, times?: number): void;
  readonly counts: Counts;
}

export function createSituations(): Situations {
  const counts = emptyCounts();
  return {
    count(situation, times = 1) {
      counts[situation] += times;
    },
    counts,
  };
}

export function emptyCounts(): Counts {
  return Object.fromEntries(Object.keys(SITUATIONS).map((name) => [name, 0])) as Counts;
}
