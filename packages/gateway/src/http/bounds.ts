/** Every bound of the HTTP door, with its reason. */
const KB = 1024;

export const HTTP_BOUNDS = {
  /** A batch of events. Larger than the largest event (limits.payloadBytes) many times over. */
  bodyBytes: 8 * KB * KB,
  /** What configures something is written by people. */
  configurationBytes: 256 * KB,
  /** All headers of a request, with its address: Node's own default, said aloud. */
  headerBytes: 16 * KB,
  /** Against senders that trickle: until the headers, and until the whole request, must have arrived. */
  headersMs: 20_000,
  requestMs: 60_000,
  /** A stream of lines on which neither side has moved: long enough for a person who types. */
  linesIdleMs: 300_000,
  /** One line of it: the largest event, its data as base64, and room for attributes. */
  lineBytes: KB * KB,
  /** How often Node looks for those that are late. */
  lateCheckMs: 5_000,
  /** An idle connection; above the 60 s that most proxies keep theirs. */
  keepAliveMs: 72_000,
  /** Connections at once, publishers and people together. */
  connections: 10_000,
  /** One part of an address: a topic has up to 255 characters, the id of a delivery up to about 500. */
  addressPartChars: 640,
  /** Items of one answer of a list. */
  listDefault: 50,
  listMax: 500,
  /** Topic patterns of one reader of events, and how long it may wait in one call: below the idle bound of usual proxies. */
  readTopics: 16,
  readWaitMs: 30_000,
  /** Topic patterns of one key. */
  keyTopics: 64,
  /** Attempts looked through for one page of deliveries. */
  attemptsLookedAt: 5_000,
  /** Topics that events declared by themselves, per run of the process: a loop of made-up names must end. */
  topicsOnTheFly: 1_000,
  /** Idempotency keys of configuration: their length, how long and how many answers are kept, how often old ones go. */
  idempotencyKeyChars: 255,
  repeatMs: 24 * 3_600_000,
  repeatsKept: 10_000,
  repeatPruneMs: 3_600_000,
  /** How long former secrets count after a rotation: long enough for a deploy; short enough to be over. */
  overlapMs: 24 * 3_600_000,
  overlapMsMax: 7 * 86_400_000,
  retentionMsMin: 60_000,
  retentionMsMax: 3_650 * 86_400_000,
  /** An owner, a name: text that people read. */
  textChars: 255,
} as const;
