/**
 * What the lanes of one subscription share, because it belongs to the subscription and not to a lane or a host: how many
 * deliveries at once, how fast, and whether the endpoint is up. A drill to another address has an endpoint of its own.
 */
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { DisabledCause, Subscription } from '../ports/directory.ts';
import type { Bounds } from './bounds.ts';
import { createBreaker } from './breaker.ts';
import { createFailing, type Failing } from './failing.ts';
import type { Outcome } from '../flow/deliver.ts';

export interface Endpoint {
  readonly bounds: Bounds;
  readonly inFlight: number;
  /** Deliveries allowed at once by now. */
  readonly allowed: number;
  readonly breakerOpen: boolean;
  readonly breakerByConnect: boolean;
  /** Why it is open and since when (wall time), and when the next probe goes out; undefined while it is closed. */
  readonly outage: Outage | undefined;
  /** How long it has failed; may disable the subscription. */
  readonly failing: Failing;
  /** How many unread events an open breaker may probe with: more with every round of them that failed. */
  readonly probeWindow: number;
  /** Probes of this outage so far. */
  readonly probes: number;
  /** Whether a delivery may start now; if not and time alone will change that, `wake` is called then. */
  mayStart(size: number, isParked: boolean): boolean;
  /** Whether a probe may go out now. */
  mayProbe(): boolean;
  /** Counts a delivery as started: rate, concurrency, and room in the bounds for whatever it ends in. */
  started(size: number, isParked: boolean, probe: boolean): void;
  /** Takes it back. True when the breaker opened or closed by it. `event` tells events apart. */
  ended(size: number, isParked: boolean, probe: boolean, outcome: Outcome, event: string): boolean;
  /** The next probe goes out at once. */
  probeNow(): void;
  /**
   * For a request outside of any lane, sent to see whether the endpoint works: ms until one may go out, 0 where it may now. Neither
   * a pause nor an open breaker is in its way; what is under way, the rate, and a slowness that was asked for are.
   */
  testWaitMs(): number;
  /** Counts one as under way; what comes of it is nothing to the endpoint's health. */
  testStarted(): void;
  testEnded(): void;
  stop(): void;
}

export interface Outage {
  readonly cause: string;
  readonly sinceMs: number;
  /** Undefined while a probe is under way. */
  readonly nextProbeMs?: number;
}

interface Needs {
  /** Present settings. */
  readonly subscription: () => Subscription;
  readonly bounds: Bounds;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Of consumers that are connected: whether one of them can take a delivery now; `wake` is called when that may have changed. */
  readonly hasRoom?: () => boolean;
  /** Something that was not possible may be possible now. */
  readonly wake: () => void;
  readonly keepFailing: Parameters<typeof createFailing>[0]['keep'];
  /** True while most endpoints can't be reached: the fault is this node's. */
  readonly isEgressFailing: () => boolean;
  /** The endpoint is gone (410), or has failed for as long as the subscription allows. */
  readonly onDisable: (cause: DisabledCause) => void;
}

/** Until a place may be free again: when one is, only the end of a delivery tells. */
const PLACE_MS = 1_000;

/** A burst of a tenth of a second's worth: enough to be smooth, too little to flood. */
const BURST_SHARE = 0.1;
/** Outcomes looked at before concurrency is halved. */
const SAMPLE = 4;

/** The endpoint is no more, and says so (Standard Webhooks; CloudEvents webhook 1.0.2, section 2.2). */
const GONE = 410;

export function createEndpoint(needs: Needs): Endpoint {
  const { subscription, bounds, clock, limits, wake } = needs;
  const breaker = createBreaker(() => ({
    thresholds: subscription().breaker,
    ...subscription().retry,
    probeMsMax: limits.probeMs,
  }));
  const failing = createFailing({ clock, keep: needs.keepFailing });
  let outage: { readonly cause: string; readonly sinceMs: number } | undefined;
  let probeAtMs = Infinity;
  let inFlight = 0;
  let probing = false;
  let probeDue = false;
  let allowed = subscription().concurrency;
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
    const rate = subscription().ratePerSecond;
    if (rate === undefined) return 0;
    const nowMs = clock.monotonic();
    tokens = Math.min(Math.max(1, rate * BURST_SHARE), tokens + ((nowMs - tokensAtMs) * rate) / 1_000);
    tokensAtMs = nowMs;
    return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 1_000) / rate);
  }

  /** Also a probe must stay within rate and the time a 429 asked for. */
  function waitMs(): number {
    // Asked for every delivery, and nearly no endpoint ever asks for slowness: then there is no clock to look at.
    return slowUntilMs === -Infinity ? rateWaitMs() : Math.max(slowUntilMs - clock.monotonic(), rateWaitMs());
  }

  function armProbe(delayMs: number): void {
    probeTimer?.cancel();
    probeDue = false;
    probeAtMs = clock.now() + delayMs;
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
      allowed = Math.min(subscription().concurrency, allowed * 2);
      successes = failures = 0;
    }
  }

  function onTurned(cause: string): void {
    outage = breaker.open ? { cause, sinceMs: clock.now() } : undefined;
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

  /** What an answer says of the endpoint's life, beyond this outage. */
  function judge({ kind, status }: Outcome): void {
    if (kind === 'delivered') return failing.succeeded();
    failing.failed(needs.isEgressFailing());
    const { state, disableAfterMs = Infinity } = subscription();
    if (state === 'disabled') return;
    if (status === GONE) needs.onDisable('gone');
    else if (failing.spanMs >= disableAfterMs) needs.onDisable('failing');
  }

  const endpoint: Endpoint = {
    bounds,
    get inFlight() {
      return inFlight;
    },
    get allowed() {
      return Math.min(allowed, subscription().concurrency);
    },
    get breakerOpen() {
      return breaker.open;
    },
    get breakerByConnect() {
      return breaker.open && breaker.byConnect;
    },
    get outage() {
      if (outage === undefined) return undefined;
      return probing || probeAtMs === Infinity ? outage : { ...outage, nextProbeMs: probeAtMs };
    },
    failing,
    get probes() {
      return breaker.probes;
    },
    get probeWindow() {
      return limits.probeRecords * (1 + Math.floor(breaker.probes / limits.probeRecords));
    },
    mayStart(size, isParked) {
      if (breaker.open || subscription().state !== 'active' || inFlight >= endpoint.allowed || !bounds.hasRoom(size, isParked))
        return false;
      if (needs.hasRoom?.() === false) return false;
      const ms = waitMs();
      if (ms <= 0) return true;
      wakeIn(ms);
      return false;
    },
    mayProbe() {
      if (!breaker.open || !probeDue || probing || subscription().state !== 'active') return false;
      const ms = waitMs();
      if (ms <= 0) return true;
      wakeIn(ms);
      return false;
    },
    started(size, isParked, probe) {
      inFlight++;
      tokens--;
      bounds.reserve(size, isParked);
      if (probe) {
        probing = true;
        probeDue = false;
      }
    },
    ended(size, isParked, probe, outcome, event) {
      inFlight--;
      bounds.release(size, isParked);
      if (probe) probing = false;
      if (outcome.kind === 'aborted') return false;
      judge(outcome);
      if (outcome.slowDown) {
        const pauseMs = Math.min(limits.slowDownMs, outcome.retryAfterMs ?? 1_000);
        slowUntilMs = Math.max(slowUntilMs, clock.monotonic() + pauseMs);
      }
      const turned = breaker.note(outcome.evidence, event);
      if (turned) onTurned(outcome.cause);
      else if (breaker.open && probe) armProbe(breaker.nextProbeMs(clock.random()));
      else if (!breaker.open) adapt(outcome);
      return turned;
    },
    probeNow() {
      if (!breaker.open || probing) return;
      breaker.restart();
      probeTimer?.cancel();
      probeDue = true;
      wake();
    },
    testWaitMs: () => (inFlight >= endpoint.allowed ? PLACE_MS : Math.max(0, waitMs())),
    testStarted() {
      inFlight++;
      tokens--;
    },
    testEnded() {
      inFlight--;
      wake();
    },
    stop() {
      waking?.cancel();
      probeTimer?.cancel();
    },
  };
  return endpoint;
}
