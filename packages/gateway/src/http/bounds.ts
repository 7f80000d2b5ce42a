/** What is a matter of form at the HTTP door: the same everywhere, so that clients may rely on it. Limits of load are in limits.ts. */
export const HTTP_BOUNDS = {
  /** One part of an address: a topic has up to 255 characters, the id of a delivery up to about 500. */
  addressPartChars: 640,
  /** A cursor for each shard there may be. */
  lastEventIdChars: 16_384,
  /** Items of one answer of a list. */
  listDefault: 50,
  listMax: 500,
  /** Topic patterns of one reader of events. */
  readTopics: 16,
  /** Shown of a message that can not be an event: enough to know what it was. */
  rejectBytes: 256,
  /** Topic patterns of one key. */
  keyTopics: 64,
  /** Origins of one app: that many of its own sites. */
  origins: 32,
  /** What a client of an app calls itself: the id of a device or a user. */
  clientChars: 128,
  /** A version of the SDK. */
  versionChars: 64,
  /** Why a receiver failed, in its words: as much as an operator reads. */
  reasonChars: 500,
  /** Until it is tried again: as much as Retry-After may ask for. */
  failedDelayMs: 30 * 86_400_000,
  /** A quota: far above what any gateway does, and exact in the arithmetic of buckets. */
  quotaMax: 1_000_000_000_000,
  /** An idempotency key of a call that configures something. */
  idempotencyKeyChars: 255,
  /** How often answers to these that are too old go. */
  repeatPruneMs: 3_600_000,
  /** How long former secrets count after a rotation: long enough for a deploy; short enough to be over. */
  overlapMs: 24 * 3_600_000,
  overlapMsMax: 7 * 86_400_000,
  retentionMsMin: 60_000,
  retentionMsMax: 3_650 * 86_400_000,
  /** An owner, a name: text that people read. */
  textChars: 255,
  /** Of one write of an answer: how far a reader is, is known after each. */
  answerPieceBytes: 65_536,
} as const;
