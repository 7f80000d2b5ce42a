/**
 * The breaker of one subscription: is the endpoint down as a whole? Evidence is that the endpoint fails, not an event:
 * some failures to connect in a row, or several different events in a row with a cause that concerns the whole endpoint.
 * While it is open only probes go out; the backlog stays in the log.
 *
 *   closed ── enough evidence ──► open ── first answer that is not the endpoint's failure ──► closed
 */
export type Evidence =
  /** 2xx. */
  | 'success'
  /** The endpoint works but does not want this event (4xx). */
  | 'refusal'
  /** 5xx, timeout, reset: reached, but failing. */
  | 'failing'
  /** DNS, refused, TLS, connect timeout: not reached. */
  | 'unreachable'
  /** 429: busy, which says nothing of being down. */
  | 'busy';

export interface Breaker {
  readonly open: boolean;
  /** Whether failures to connect opened it: what a whole node has in common when its own network is gone. */
  readonly byConnect: boolean;
  /** Pauses between probes counted in this outage. */
  readonly probes: number;
  /** True when this answer opened or closed it. `event` tells different events from one that is tried again. */
  note(evidence: Evidence, event: string): boolean;
  /** Delay before the next probe, ms; counts the probes of this outage. */
  nextProbeMs(random: number): number;
  /** The next probe is due at once, and the pauses begin anew. */
  restart(): void;
}

/** The highest threshold there may be; more different events need not be remembered. */
const EVENTS_MAX = 1_000;

export interface BreakerSettings {
  readonly thresholds: { readonly failures: number; readonly events: number } | false;
  readonly scheduleMs: readonly number[];
  readonly jitter: number;
  readonly probeMsMax: number;
}

export function createBreaker(settings: () => BreakerSettings): Breaker {
  const failed = new Set<string>();
  let connectFailures = 0;
  let open = false;
  let byConnect = false;
  let probes = 0;

  function forget(): void {
    failed.clear();
    connectFailures = 0;
  }

  function close(): boolean {
    forget();
    const was = open;
    open = false;
    return was;
  }

  function openOn(evidence: 'failing' | 'unreachable', event: string): boolean {
    if (open) return false;
    connectFailures = evidence === 'unreachable' ? connectFailures + 1 : 0;
    if (failed.size < EVENTS_MAX) failed.add(event);
    // Evidence is kept also while there is no breaker: it may be switched on in the middle of an outage.
    const { thresholds } = settings();
    if (thresholds === false) return false;
    byConnect = connectFailures >= thresholds.failures;
    if (!byConnect && failed.size < thresholds.events) return false;
    forget();
    probes = 0;
    open = true;
    return true;
  }

  return {
    get open() {
      return open;
    },
    get byConnect() {
      return byConnect;
    },
    get probes() {
      return probes;
    },
    note(evidence, event) {
      if (evidence === 'busy') return false;
      if (evidence === 'success' || evidence === 'refusal') return close();
      return openOn(evidence, event);
    },
    nextProbeMs(random) {
      const { scheduleMs, jitter, probeMsMax } = settings();
      const stepMs = scheduleMs[Math.min(probes++, scheduleMs.length - 1)] ?? probeMsMax;
      return Math.min(probeMsMax, Math.max(1, stepMs * (1 + jitter * (2 * random - 1))));
    },
    restart() {
      probes = 0;
    },
  };
}
