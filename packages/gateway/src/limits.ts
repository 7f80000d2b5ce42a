/**
 * Every limit of the process: default, range, and why it is what it is. Set with `--limit name=value` or MILLRACE_LIMIT; listed
 * by `millrace limits`. What belongs to one subscription is in its `bounds`; what is a matter of form, as the length of a
 * name, stands where it is checked (http/bounds.ts, settings.ts).
 */
import { Problem } from '@millrace/core/problem';

export interface Limit {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly why: string;
}

const MB = 1024 * 1024;
const DAY_MS = 86_400_000;

const limit = (value: number, min: number, max: number, why: string): Limit => ({ value, min, max, why });

export const LIMIT_TABLE = {
  // what comes in
  payloadBytes: limit(
    524_288,
    1_024,
    524_288,
    'Payload of one event inline in the log, bytes; the same on every log, so that a move to another one never fails on size.',
  ),
  attributeBytes: limit(16_384, 1_024, 16_384, 'Attributes of one event, encoded, bytes; what brokers take as headers.'),
  batchEvents: limit(1_000, 1, 1_000, 'Events of one publish call; the append port takes no more in one call either.'),
  bodyBytes: limit(
    8 * MB,
    65_536,
    64 * MB,
    'Body of one publish call, bytes: larger than the largest event many times over, small enough to be held by many at once.',
  ),
  bodiesBytes: limit(
    128 * MB,
    1 * MB,
    8_192 * MB,
    'Bodies of all requests that are being read or worked on, bytes: past it, `overloaded`; one alone is always taken.',
  ),
  discardedBytes: limit(
    65_536,
    0,
    8 * MB,
    'What still comes of a body that was refused, bytes: so much is thrown away to keep the connection; where more comes it is closed.',
  ),
  closeMs: limit(
    2_000,
    10,
    60_000,
    'How long a connection with such a rest stays for its client to read the answer, ms: cut off at once, the answer is lost.',
  ),
  signedBytes: limit(
    32 * MB,
    1 * MB,
    8_192 * MB,
    'Bodies of signed publishes that are being read or worked on, bytes: who knows how a key begins can have them read before the signature tells, so they have no part of `bodiesBytes`.',
  ),
  signatureSkewMs: limit(
    300_000,
    1_000,
    3_600_000,
    'How far the time of a signature may be from the clock here, either way, ms: clocks differ, and what was recorded is to be worth nothing soon. Never more than a quarter of `dedupeWindowMs`, which makes it a duplicate until then.',
  ),
  lineBytes: limit(
    1 * MB,
    65_536,
    8 * MB,
    'One line of an NDJSON stream, bytes: the largest event, its data as base64, and room for attributes.',
  ),
  linesIdleMs: limit(
    300_000,
    1_000,
    DAY_MS,
    'An NDJSON stream on which neither side has moved, ms: long enough for a person who types.',
  ),
  configurationBytes: limit(
    262_144,
    4_096,
    8 * MB,
    'Body of a call that configures something, bytes: these are written by people.',
  ),
  headerBytes: limit(16_384, 4_096, 262_144, "Headers of one request with its address, bytes: Node's own default, said aloud."),
  headersMs: limit(20_000, 100, 600_000, 'Until the headers of a request must have arrived, ms: against senders that trickle.'),
  requestMs: limit(60_000, 100, 600_000, 'Until the body of a request must have arrived, ms: likewise.'),
  answerMs: limit(
    60_000,
    100,
    600_000,
    'How long nothing may move on an answer that its client does not read, ms: then the connection is cut, and what it held is free.',
  ),
  answersBytes: limit(
    256 * MB,
    1 * MB,
    8_192 * MB,
    'Large answers that are being read by their clients, bytes: past it, `overloaded` for who asks for another; one alone is always given.',
  ),
  lateCheckMs: limit(5_000, 10, 60_000, 'How often it is looked for requests that are late and answers that are not read, ms.'),
  keepAliveMs: limit(72_000, 1_000, 600_000, 'An idle connection of a client, ms: above the 60 s that most proxies keep theirs.'),
  connections: limit(10_000, 1, 100_000, 'Connections of clients at once: each costs a descriptor and some 20 KB.'),
  topicsOnTheFly: limit(
    1_000,
    0,
    100_000,
    'Topics that events declared by themselves, per run of the process: a loop of made-up names must end.',
  ),
  dedupeWindowMs: limit(
    DAY_MS,
    1_000,
    7 * DAY_MS,
    'How long an idempotency key is remembered, ms: longer than any client retries.',
  ),
  claimMs: limit(
    30_000,
    30_000,
    600_000,
    'After which a claim on an idempotency key that was not settled is one of a process that died, ms: the store, the queue and the log have given up long before.',
  ),
  repeatMs: limit(DAY_MS, 1_000, 7 * DAY_MS, 'How long the answer to a configuring POST with an idempotency key is kept, ms.'),
  repeatsKept: limit(10_000, 0, 1_000_000, 'How many of these answers are kept.'),
  repeatsBytes: limit(64 * MB, 0, 4_096 * MB, 'Bytes of these answers, sealed: past it no further one is promised.'),
  repeatsOfApp: limit(1_000, 0, 1_000_000, 'How many of them are those of one app: it must not use up the places of all.'),
  repeatsOfAppBytes: limit(8 * MB, 0, 4_096 * MB, 'Bytes of those of one app: likewise.'),
  // tokens
  tokenKeyMs: limit(
    30 * DAY_MS,
    3_600_000,
    365 * DAY_MS,
    'How long one key signs tokens before another takes its place, ms: what nobody noticed to be stolen ends by itself.',
  ),
  tokensKept: limit(
    10_000,
    0,
    1_000_000,
    'Verified tokens that are remembered, so that a request with one costs no signature: some 1 KB each.',
  ),
  revocations: limit(10_000, 1, 1_000_000, 'Revocations kept, until what they are about has expired.'),
  revocationsOfApp: limit(1_000, 1, 100_000, 'How many of them are those of one app: more are one of all its tokens.'),
  // the SDK
  sdkVersions: limit(
    20,
    1,
    1_000,
    'Versions of the SDK that are kept: some 30 KB each, in every process; what the rules of apps lead to stays beyond it.',
  ),
  // the log
  appendQueueBytes: limit(
    64 * MB,
    1 * MB,
    4_096 * MB,
    'Bytes waiting to be appended: past it, publishes are answered `overloaded`.',
  ),
  appendEvents: limit(4_096, 1, 4_096, 'Events of one append to the log: one fsync is shared by so many at most.'),
  appendBytes: limit(16 * MB, 1 * MB, 16 * MB, 'Bytes of one append to the log.'),
  appendsUnderWay: limit(2, 1, 16, 'Appends under way at once: while the log writes one, the next is already with it.'),
  retentionMs: limit(60_000, 1_000, 3_600_000, 'How often retention is applied and watched, ms.'),
  // reading
  ringBytes: limit(64 * MB, 1 * MB, 8_192 * MB, 'The tail of a shard kept in memory, bytes: lanes within it cost no reads.'),
  catchUpReaders: limit(
    4,
    1,
    64,
    'Pages being read for lanes behind the ring, per shard: more would take the disk from those that are caught up.',
  ),
  pageRecords: limit(512, 1, 4_096, 'Events of one such page.'),
  pageBytes: limit(2 * MB, 1 * MB, 16 * MB, 'Bytes of one such page.'),
  windowRecords: limit(256, 1, 65_536, 'Events one lane takes in ahead of sending: a lane at its limit costs little.'),
  windowBytes: limit(2 * MB, 1 * MB, 256 * MB, 'Bytes one lane takes in ahead of sending.'),
  eventsReaders: limit(64, 0, 10_000, 'Readers of events (tail, listen) at once: each reads the log by itself.'),
  eventsPage: limit(500, 1, 500, 'Events of one answer to such a reader.'),
  eventsReads: limit(16, 1, 1_000, 'Pages looked through for one answer, per shard.'),
  readWaitMs: limit(
    30_000,
    0,
    300_000,
    'How long such a reader may wait in one call, ms: below the idle bound of usual proxies.',
  ),
  // sending
  inFlight: limit(4_096, 1, 65_536, 'Deliveries under way in the process: each holds a connection and its event.'),
  inFlightBytes: limit(256 * MB, 1 * MB, 8_192 * MB, 'Bytes of their bodies.'),
  endpointConnections: limit(
    4_096,
    1,
    65_536,
    "Connections to one origin: as many as there may be deliveries, so that nobody waits for a neighbour's.",
  ),
  connectMs: limit(
    10_000,
    10,
    60_000,
    'Until a connection must stand, DNS and TLS included, ms; a shorter timeout of the subscription counts first.',
  ),
  openMs: limit(
    5_000,
    10,
    600_000,
    'What is under way longer is written down as parked, so that a slow request never holds a cursor, ms.',
  ),
  probeMs: limit(300_000, 100, DAY_MS, 'The longest pause between two probes of an open breaker, ms.'),
  probeRecords: limit(16, 1, 256, 'Unread events an open breaker may probe with: a poison event can not keep it shut.'),
  slowDownMs: limit(300_000, 100, DAY_MS, 'The longest that a 429 or Retry-After slows a subscription down, ms.'),
  drainMs: limit(
    20_000,
    0,
    600_000,
    'How long a stop waits for requests under way, and a move to another node for what consumers hold, too, ms: below the 30 s that most supervisors wait.',
  ),
  takeBackMs: limit(
    20_000,
    0,
    600_000,
    'How long a rewind or a cancelled replay waits for what consumers of a group hold, ms; then it is taken back. A consumer may extend without end, and who asked for the rewind waits behind proxies that give up after 30 s.',
  ),
  hurryMs: limit(
    1_000,
    0,
    60_000,
    'How long after an event of an interactive topic all other work goes in short steps, ms: until it is surely delivered.',
  ),
  hurriedStarts: limit(
    4,
    1,
    4_096,
    'Deliveries of other topics that start in one turn of the event loop then: some 60 µs each that an interactive one may wait.',
  ),
  hurriedEvents: limit(
    32,
    1,
    4_096,
    'Events of other topics that are taken in, in one turn of the event loop, or appended at once then.',
  ),
  // realtime
  helloMs: limit(10_000, 100, 60_000, 'Until the first frame of a session must be there, ms.'),
  heartbeatMs: limit(
    25_000,
    1_000,
    60_000,
    'Between two pings of a session, ms: shorter than the minute after which proxies cut what is silent.',
  ),
  tokenGraceMs: limit(
    30_000,
    0,
    600_000,
    'How long a session goes on after its token has ended, ms: for a backend that is slow.',
  ),
  frameBytes: limit(1 * MB, 65_536, 8 * MB, 'One message of a session, bytes: the largest event, its data as base64.'),
  sessions: limit(10_000, 1, 1_000_000, 'Sessions of this process: past it, `overloaded`.'),
  greetings: limit(
    256,
    1,
    100_000,
    'Sessions that have not said who they are: each may hold one message in memory; past it the oldest goes, `overloaded`.',
  ),
  sessionReturnMs: limit(
    5_000,
    0,
    600_000,
    'Within which the clients of a gateway that stops are to come back, ms: at random, so as not to come together.',
  ),
  sessionSubs: limit(64, 1, 1_024, 'Subs of one session: past it a client wants a wider pattern.'),
  sessionSettles: limit(64, 1, 4_096, 'Acks and nacks of one session that are being written down at once.'),
  sessionPublishes: limit(64, 1, 4_096, 'Publishes of one session that are open at once.'),
  unsentBytes: limit(
    1 * MB,
    16_384,
    64 * MB,
    'Bytes that one session has not taken yet: past it nothing more is sent to it. The system holds some more.',
  ),
  sessionsUnsentBytes: limit(
    256 * MB,
    1 * MB,
    65_536 * MB,
    'Bytes that all sessions together have not taken yet: past it those that do not read are closed, the ones that hold most first. A quarter of a small machine; more than thousands that read have on their way at once.',
  ),
  slowMs: limit(10_000, 100, 600_000, 'How long that may last before the session is closed, ms.'),
  pullWaitMs: limit(60_000, 0, 300_000, 'How long a pull may wait for its first message, ms: some proxies give up sooner.'),
  appPulls: limit(
    256,
    1,
    100_000,
    'Pulls of one app open at once: each may hold an answer that is not read, and a place among the sessions.',
  ),
  feedRecords: limit(256, 1, 4_096, 'Events of one read for a sub that has fallen behind what is in memory.'),
  feedReads: limit(4, 1, 64, 'Subs that read the log at once; the others wait for their turn.'),
  filterTerms: limit(
    400_000,
    1_000,
    100_000_000,
    'Tests in the filters of ephemeral subs of the process, about 1 KB each; of them one app may have a quarter. Past it a sub is refused.',
  ),
  lastEvents: limit(100_000, 1, 10_000_000, 'Events that are looked through for the newest of each key (`from: last`).'),
  lastReads: limit(
    1_000,
    1,
    1_000_000,
    'Pages read for that at most, those included that are read again in shorter spans: twice what the events need.',
  ),
  lastKeys: limit(
    10_000,
    1,
    1_000_000,
    'Keys of which the newest is remembered meanwhile, for one sub. The rest of them is told as a gap.',
  ),
  lastKeysHeld: limit(
    200_000,
    1,
    10_000_000,
    'Such keys of all subs of the process, for as long as they are not handed over: some 60 MB. Of one app a quarter. Past it as above.',
  ),
  // telemetry
  telemetryPerSecond: limit(
    100,
    1,
    100_000,
    'Reports of clients of one app, per second and process; five seconds of it may come at once. More of them tell nothing more: sample fewer.',
  ),
  // failures that are reported
  failedMs: limit(
    7 * DAY_MS,
    60_000,
    30 * DAY_MS,
    'How long a receiver may report that a delivery failed after it had acknowledged it, ms: as long as attempts are kept.',
  ),
  failedPerSecond: limit(
    100,
    1,
    100_000,
    'Such reports for one subscription, per second; five seconds of it may come at once. Each reads the ledger and writes to it.',
  ),
  // recording
  unrecorded: limit(
    4_096,
    64,
    1_000_000,
    'Outcomes not yet committed: past it no new delivery starts. After a crash as many deliveries may be repeated, beside those under way.',
  ),
  unrecordedBytes: limit(64 * MB, 1 * MB, 4_096 * MB, 'Bytes of events that go to the ledger with them: past it likewise.'),
  commitRows: limit(4_096, 1, 8_192, 'Rows of one commit to the ledger.'),
  commitBytes: limit(16 * MB, 1 * MB, 32 * MB, 'Bytes of events of one commit; the one change that passes it is still in.'),
  checkpointMs: limit(1_000, 10, 60_000, 'How often cursors are written while something moves, ms.'),
  keepBytesMs: limit(
    3_600_000,
    0,
    DAY_MS,
    "A parked delivery due later than this carries its event's bytes, ms: retention can not take it.",
  ),
  dueRows: limit(64, 1, 4_096, 'Parked rows taken into memory at a time, per lane.'),
  attemptsMs: limit(7 * DAY_MS, 60_000, 3_650 * DAY_MS, 'How long attempts are kept, ms.'),
  attemptsLookedAt: limit(5_000, 100, 1_000_000, 'Attempts looked through for one page of deliveries.'),
  // a cluster
  leaseMs: limit(
    10_000,
    500,
    300_000,
    "A node's lease on its slots, ms: as long the subscriptions of one that died wait for another, and it may lose the store for so long.",
  ),
  movingMs: limit(
    5_000,
    0,
    60_000,
    'How long a request waits for a subscription that moves between nodes, ms: it is taken within a third of a lease, mostly; past it, `moving`.',
  ),
  // jobs
  jobs: limit(16, 0, 1_000, 'Jobs on dead letters at once.'),
  jobPage: limit(256, 1, 500, 'Dead letters of one step of a job.'),
  jobRetryMs: limit(1_000, 10, 600_000, 'The pause of a job where the subscription may park no more, ms.'),
  jobKeptMs: limit(7 * DAY_MS, 0, 365 * DAY_MS, 'How long ended jobs and replays are shown, ms.'),
  replays: limit(
    128,
    0,
    10_000,
    'Replays under way at once: each reads the log beside what is delivered now, and they share the room that leaves.',
  ),
  subscriptionReplays: limit(
    4,
    0,
    1_000,
    'Replays of one subscription under way at once: they share its concurrency, more of them would only be slower.',
  ),
} as const;

export type LimitName = keyof typeof LIMIT_TABLE;
export type Limits = { readonly [name in LimitName]: number };

/** The defaults. */
export const LIMITS: Limits = Object.fromEntries(Object.entries(LIMIT_TABLE).map(([name, { value }]) => [name, value])) as Limits;

/** The defaults with these set. Throws `invalid_request` for a name that is none and a value out of its range. */
export function limitsOf(given: Readonly<Record<string, number>>): Limits {
  for (const [name, value] of Object.entries(given)) {
    const known = Object.hasOwn(LIMIT_TABLE, name) ? LIMIT_TABLE[name as LimitName] : undefined;
    if (known === undefined)
      throw new Problem('invalid_request', `there is no limit '${name.slice(0, 40)}'`, { advice: 'List them: millrace limits.' });
    if (!Number.isInteger(value) || value < known.min || value > known.max)
      throw new Problem('invalid_request', `the limit ${name} is a whole number from ${known.min} to ${known.max}`, {
        advice: known.why,
      });
  }
  return { ...LIMITS, ...given };
}
