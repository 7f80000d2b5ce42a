/** The times that tokens go by. They belong together: each reason names another one. */
const MINUTE_MS = 60_000;

export const TOKENS = {
  ttlMs: 10 * MINUTE_MS,
  /** Below it a client would do little but refresh. */
  ttlMsMin: 30_000,
  /** A token that leaked ends by itself within this time. */
  ttlMsMax: 15 * MINUTE_MS,
  /** How far the clocks of nodes, and of whoever else verifies, may be apart. */
  leewayMs: 5_000,
  /** How long others may keep the published keys; a new key is published for as long before it signs. */
  publishedMs: 5 * MINUTE_MS,
  /** A token is a header of each request, and with the others it must fit into limits.headerBytes. */
  charsMax: 8_192,
  /** How often it is looked for a key that is due for rotation, and for revocations that are over. */
  tidyMs: 60 * MINUTE_MS,
  /** A token with an unknown key has the keyring read again, so often at most: whoever makes such up costs nothing. */
  readAgainMs: 1_000,
} as const;
