/**
 * What a driver knows of itself that an operator should know, in its own words: `millrace doctor` shows it. It looks, and
 * changes nothing.
 */
export interface Finding {
  /** `problem`: it needs somebody. `note`: worth knowing, and maybe meant so. */
  readonly level: 'problem' | 'note';
  /** Stable, for programs: lower-case words with `_` between them. */
  readonly code: string;
  /** What is so, as the beginning of a sentence without its full stop. Never with credentials. */
  readonly problem: string;
  /** What to do about it, in whole sentences. */
  readonly advice: string;
}

/** What is asked of the log, to be held against what it can give. */
export interface Demands {
  /** Declared, with how long their events are to be kept. */
  readonly topics: readonly { readonly environment: string; readonly topic: string; readonly retentionMs: number }[];
  /** Patterns of subscriptions, each once. */
  readonly patterns: readonly { readonly environment: string; readonly pattern: string }[];
  /** How long an idempotency key is to be remembered. */
  readonly dedupeWindowMs: number;
}
