/** Every bound of the process, with its default and the reason. What belongs to one subscription is in its `bounds`. */
export interface Limits {
  /** Payload of one event inline in the log, bytes. Above: 413 until the payload store exists. */
  readonly payloadBytes: number;
  /** Attributes of one event, encoded, bytes. */
  readonly attributeBytes: number;
  /** Events of one publish call; the append port takes no more in one call either. */
  readonly batchEvents: number;
  /** Bytes waiting to be appended: past it, publishes are answered `overloaded`. */
  readonly appendQueueBytes: number;
  /** Events and bytes of one append to the log: one fsync is shared by so many at most. */
  readonly appendEvents: number;
  readonly appendBytes: number;
  /** Appends under way at once: while the log writes one, the next is already with it. */
  readonly appendsUnderWay: number;
  /** How long an idempotency key is remembered. */
  readonly dedupeWindowMs: number;
  /** The tail ring of a shard: lanes within it cost no reads. */
  readonly ringBytes: number;
  /** Pages being read for lanes behind the ring, per shard, and their size. */
  readonly catchUpReaders: number;
  readonly pageRecords: number;
  readonly pageBytes: number;
  /** Deliveries under way in the process, and the bytes of their bodies. */
  readonly inFlight: number;
  readonly inFlightBytes: number;
  /** What one lane takes in ahead of sending, so that a lane at its limit costs little. */
  readonly windowRecords: number;
  readonly windowBytes: number;
  /** Outcomes not yet committed: past it no new delivery starts. */
  readonly unrecorded: number;
  /** Bytes of events that go to the ledger with them: past it likewise. */
  readonly unrecordedBytes: number;
  /** Rows of one commit to the ledger. */
  readonly commitRows: number;
  /** Bytes of events of one commit; the one change that passes it is still in. */
  readonly commitBytes: number;
  /** How often cursors are written while something moves. */
  readonly checkpointMs: number;
  /** What is in flight longer is written down as parked, so that a slow request never holds a cursor. */
  readonly openMs: number;
  /** A parked delivery due later than this carries its event's bytes. */
  readonly keepBytesMs: number;
  /** Parked rows taken into memory at a time, per lane. */
  readonly dueRows: number;
  /** The longest pause between two probes of an open breaker. */
  readonly probeMs: number;
  /** Unread events an open breaker may probe with. */
  readonly probeRecords: number;
  /** The longest that a 429 or Retry-After slows a subscription down. */
  readonly slowDownMs: number;
  /** Readers of events (tail, listen) at once, the events of one answer, and the pages it looks through for them per shard. */
  readonly eventsReaders: number;
  readonly eventsPage: number;
  readonly eventsReads: number;
  /** Jobs on dead letters at once, the letters of one step, the pause where there is no room, and how long ended ones are shown. */
  readonly jobs: number;
  readonly jobPage: number;
  readonly jobRetryMs: number;
  readonly jobKeptMs: number;
  /** How often retention is applied and watched. */
  readonly retentionMs: number;
  /** How long attempts are kept. */
  readonly attemptsMs: number;
  /** How long a drain at stop waits for requests under way. */
  readonly drainMs: number;
}

const MB = 1024 * 1024;

export const LIMITS: Limits = {
  payloadBytes: 524_288,
  attributeBytes: 16_384,
  batchEvents: 1_000,
  appendQueueBytes: 64 * MB,
  appendEvents: 4_096,
  appendBytes: 16 * MB,
  appendsUnderWay: 2,
  dedupeWindowMs: 24 * 3_600_000,
  ringBytes: 64 * MB,
  catchUpReaders: 4,
  pageRecords: 512,
  pageBytes: 2 * MB,
  inFlight: 4_096,
  inFlightBytes: 256 * MB,
  windowRecords: 256,
  windowBytes: 2 * MB,
  unrecorded: 16_384,
  unrecordedBytes: 64 * MB,
  commitRows: 4_096,
  commitBytes: 16 * MB,
  checkpointMs: 1_000,
  openMs: 5_000,
  keepBytesMs: 3_600_000,
  dueRows: 64,
  probeMs: 300_000,
  probeRecords: 16,
  slowDownMs: 300_000,
  eventsReaders: 64,
  eventsPage: 500,
  eventsReads: 16,
  jobs: 16,
  jobPage: 256,
  jobRetryMs: 1_000,
  jobKeptMs: 7 * 86_400_000,
  retentionMs: 60_000,
  attemptsMs: 7 * 86_400_000,
  drainMs: 20_000,
};
