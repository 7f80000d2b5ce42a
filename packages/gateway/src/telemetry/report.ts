/** What a client of an app reports of itself: how it went since it last did. Numbers alone, nothing of events or users. */

export interface TelemetryReport {
  /** `millrace-js/0.1` */
  readonly client: string;
  readonly spanMs: number;
  readonly publishes?: {
    readonly count?: number;
    readonly failed?: number;
    readonly retried?: number;
    /** `counts` has one more than `le`: those above the last bound. */
    readonly latencyMs?: { readonly le: readonly number[]; readonly counts: readonly number[] };
  };
  readonly messages?: {
    readonly acked?: number;
    readonly nacked?: number;
    readonly lost?: number;
    readonly handlerFailed?: number;
  };
  readonly connects?: number;
}

export const TELEMETRY = {
  /** How often a client reports that is to: often enough for a graph, seldom enough to cost nothing. */
  everyMs: 60_000,
  /** Upper bounds of the latencies, ms: the same for all clients, or they could not be added up. */
  le: [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
  /** One number of one report: more than a client does between two of them, and no end of the world when it is a lie. */
  most: 1_000_000,
  /** What a report is about: a client that slept has nothing to tell of that. */
  spanMsMax: 86_400_000,
} as const;
