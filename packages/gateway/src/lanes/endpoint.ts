/**
 * What the lanes of one subscription share, because it belongs to the subscription and not to a lane or a host: how many
 * deliveries at once, how fast, whether the endpoint is up, and how much may be parked, held or dead.
 */
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Subscription, SubscriptionBounds } from '../ports/directory.ts';
import { createBreaker } from './breaker.ts';
import type { Outcome } from '../flow/deliver.ts';

export interface Endpoint {
  /** Present settings; set anew on every change. */
  subscription: Subscription;
  readonly inFlight: number;
  /** Deliveries allowed at once by now. */
  readonly allowed: number;
  readonly breakerOpen: boolean;
  readonly breakerByConnect: boolean;
  readonly counts: Counts;
  /** The bound of which people were told last. */
  toldBound: keyof SubscriptionBounds | undefined;
  /** How many unread events an open breaker may probe with: more with every round of them that failed. */
  readonly probeWindow: number;
  /** Probes of this outage so far. */
  readonly probes: number;
  /** Whether a delivery may start now; if not and time alone will change that, `wake` is called then. `hasRow`: it is parked already. */
  mayStart(size: number, hasRow: boolean): boolean;
  /** Whether a probe may go out now. */
  mayProbe(): boolean;
  /** Whether the bounds have room for whatever a delivery may end in. */
  hasRoom(size: number, hasRow: boolean): boolean;
  /** Whether a dead letter may become a parked delivery; reservePark keeps the room until it has. */
  hasRoomToPark(size: number): boolean;
  reservePark(size: number, rows: 1 | -1): void;
  /** Whether one more dead letter fits beside those that what is in flight may become. */
  hasRoomForDeadLetter(): boolean;
  /** Counts a delivery as started: rate, concurrency, and room in the bounds for whatever it ends in. */
  started(size: number, hasRow: boolean, probe: boolean): void;
  /** Takes it back. True when the breaker opened or closed by it. */
  ended(size: number, hasRow: boolean, probe: boolean, outcome: Outcome, event: string): boolean;
  /** A delivery under way was written down as parked: what was reserved for it is used now. */
  wroteRow(size: number): void;
  /** The bound at which the subscription stands still, if any. */
  stoppedBy(): keyof SubscriptionBounds | undefined;
  /** The next probe goes out at once. */
  probeNow(): void;
  stop(): void;
}

/** Of all lanes together. The lanes keep them. */
export interface Counts {
  parked: number;
  parkedBytes: number;
  held: number;
  deadLetters: number;
}

interface Needs {
  readonly subscription: Subscription;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Something that was not possible may be possible now. */
  readonly wake: () => void;
}

/** A burst of a tenth of a second's worth: enough to be smooth, too little to flood. */
const BURST_SHARE = 0.1;
/** Outcomes looked at before concurrency is halved. */
const SAMPLE = 4;

export function createEndpoint({ subscription, clock, limits, wake }: Needs): Endpoint {
  const counts: Counts = { parked: 0, parkedBytes: 0, held: 0, deadLetters: 0 };
  const breaker = createBreaker(() => ({ thresholds: endpoint.subscription.breaker, ...endpoint.subscription.retry, probeMsMax: limits.probeMs }));
  let inFlight = 0;
  let reserved = 0;
  let reservedBytes = 0;
  let probing = false;
  let probeDue = false;
  let allowed = subscription.concurrency;
  let successes = 0;
  let failures = 0;
  let tokens = 1;
  let tokensAtMs = clock.monotonic();
  let slowUntilMs = -Infinity;
  let waking: Timer | undefined;
  let wakingAtMs = Infinity;
  let probeTimer: Timer | undefined;

  function wakeIn(delayMs: number): void {
    const atMs = clock.monotonic() + delayMs;
    if (atMs >= wakingAtMs) return;
    waking?.cancel();
    wakingAtMs = atMs;
    waking = clock.after(delayMs, () => {
      wakingAtMs = Infinity;
      wake();
    });
  }

  /** Ms until the rate allows the next start; 0 when it does now. */
  function rateWaitMs(): number {
    const rate = endpoint.subscription.ratePerSecond;
    if (rate === undefined) return 0;
    const nowMs = clock.monotonic();
    tokens = Math.min(Math.max(1, rate * BURST_SHARE), tokens + ((nowMs - tokensAtMs) * rate) / 1_000);
    tokensAtMs = nowMs;
    return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 1_000) / rate);
  }

  /** Also a probe must stay within rate and the time a 429 asked for. */
  function waitMs(): number {
    return Math.max(slowUntilMs - clock.monotonic(), rateWaitMs());
  }

  function hasRoomForDeadLetter(): boolean {
    return counts.deadLetters + inFlight < endpoint.subscription.bounds.deadLetters;
  }

  /** Room for the worst that may become of it: a parked delivery, or a dead letter. */
  function hasRoom(size: number, hasRow: boolean): boolean {
    if (!hasRoomForDeadLetter()) return false;
    return hasRow || hasRoomToPark(size);
  }

  function hasRoomToPark(size: number): boolean {
    const { bounds } = endpoint.subscription;
    return counts.parked + reserved < bounds.parked && counts.parkedBytes + reservedBytes + size <= bounds.parkedBytes;
  }

  function armProbe(delayMs: number): void {
    probeTimer?.cancel();
    probeDue = false;
    probeTimer = clock.after(delayMs, () => {
      probeDue = true;
      wake();
    });
  }

  function adapt({ evidence, kind, slowDown }: Outcome): void {
    if (kind === 'delivered') successes++;
    else if (evidence !== 'refusal' || slowDown) failures++;
    if (failures > successes && successes + failures >= SAMPLE) {
      allowed = Math.max(1, Math.floor(allowed / 2));
      successes = failures = 0;
    } else if (successes >= allowed && failures <= successes) {
      allowed = Math.min(endpoint.subscription.concurrency, allowed * 2);
      successes = failures = 0;
    }
  }

  function onTurned(): void {
    if (breaker.open) {
      breaker.restart();
      armProbe(breaker.nextProbeMs(clock.random()));
      return;
    }
    probeTimer?.cancel();
    probeDue = false;
    allowed = 1;
    successes = failures = 0;
  }

  const endpoint: Endpoint = {
    subscription,
    counts,
    toldBound: undefined,
    get inFlight() {
      return inFlight;
    },
    get allowed() {
      return Math.min(allowed, endpoint.subscription.concurrency);
    },
    get breakerOpen() {
      return breaker.open;
    },
    get probes() {
      return breaker.probes;
    },
    get probeWindow() {
      return limits.probeRecords * (1 + Math.floor(breaker.probes / limits.probeRecords));
    },
    hasRoom,
    hasRoomToPark,
    reservePark(size, rows) {
      reserved += rows;
      reservedBytes += rows * size;
    },
    hasRoomForDeadLetter,
    get breakerByConnect() {
      return breaker.open && breaker.byConnect;
    },
    mayStart(size, hasRow) {
      if (breaker.open || endpoint.subscription.state === 'paused' || inFlight >= endpoint.allowed || !hasRoom(size, hasRow)) return false;
      const ms = waitMs();
      if (ms <= 0) return true;
      wakeIn(ms);
      return false;
    },
    mayProbe() {
      if (!breaker.open || !probeDue || probing || endpoint.subscription.state === 'paused') return false;
      const ms = waitMs();
      if (ms <= 0) return true;
      wakeIn(ms);
      return false;
    },
    started(size, hasRow, probe) {
      inFlight++;
      tokens--;
      if (!hasRow) {
        reserved++;
        reservedBytes += size;
      }
      if (probe) {
        probing = true;
        probeDue = false;
      }
    },
    ended(size, hasRow, probe, outcome, event) {
      inFlight--;
      if (!hasRow) {
        reserved--;
        reservedBytes -= size;
      }
      if (probe) probing = false;
      if (outcome.kind === 'aborted') return false;
      if (outcome.slowDown) {
        const pauseMs = Math.min(limits.slowDownMs, outcome.retryAfterMs ?? 1_000);
        slowUntilMs = Math.max(slowUntilMs, clock.monotonic() + pauseMs);
      }
      const turned = breaker.note(outcome.evidence, event);
      if (turned) onTurned();
      else if (breaker.open && probe) armProbe(breaker.nextProbeMs(clock.random()));
      else if (!breaker.open) adapt(outcome);
      return turned;
    },
    wroteRow(size) {
      reserved--;
      reservedBytes -= size;
    },
    stoppedBy() {
      const { bounds } = endpoint.subscription;
      const eventBytesMax = limits.payloadBytes + limits.attributeBytes;
      if (counts.deadLetters >= bounds.deadLetters) return 'deadLetters';
      if (counts.parked >= bounds.parked) return 'parked';
      if (counts.held >= bounds.held) return 'held';
      return counts.parkedBytes + eventBytesMax > bounds.parkedBytes ? 'parkedBytes' : undefined;
    },
    probeNow() {
      if (!breaker.open || probing) return;
      breaker.restart();
      probeTimer?.cancel();
      probeDue = true;
      wake();
    },
    stop() {
      waking?.cancel();
      probeTimer?.cancel();
    },
  };
  return endpoint;
}
