/**
 * W3C Trace Context (Level 1, with the random flag of Level 2). What can't be read counts as absent, as the
 * specification wants it: a trace starts anew, a request never fails for it.
 */
export interface TraceContext {
  /** 32 lower-case hex digits, not all zero. */
  readonly traceId: string;
  /** 16 lower-case hex digits, not all zero: the caller's span. */
  readonly spanId: string;
  /** Bit 0: sampled. Bit 1: the trace id is random. Others are not passed on. */
  readonly flags: number;
  /** Members of tracestate, newest first. */
  readonly state: readonly (readonly [key: string, value: string])[];
}

export const SAMPLED = 1;
export const RANDOM = 2;
export const STATE_MEMBERS_MAX = 32;
/** What is passed on of tracestate; more is cut as section 3.3.1.5 says. */
export const STATE_CHARS_MAX = 512;

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const STATE_KEY = /^(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})$/;
const STATE_VALUE = /^[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;

/** From the values of the headers `traceparent` and `tracestate`. A state that can't be read is dropped, the trace kept. */
export function parseTrace(traceparent: string | null | undefined, tracestate?: string | null): TraceContext | undefined {
  const [, version, traceId, spanId, flags, more] = TRACEPARENT.exec(traceparent?.trim() ?? '') ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  // Later versions may add fields behind; this one has none, and ff is no version.
  if (version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, flags: parseInt(flags, 16) & (SAMPLED | RANDOM), state: parseState(tracestate ?? '') };
}

function parseState(text: string): TraceContext['state'] {
  // Far above any real state: a bound for the work, not for the format.
  if (text.length > 16_384) return [];
  const members: (readonly [string, string])[] = [];
  const keys = new Set<string>();
  for (const item of text.split(',')) {
    const member = trimmed(item);
    if (member === '') continue;
    const equals = member.indexOf('=');
    const [key, value] = [member.slice(0, equals), member.slice(equals + 1)];
    if (equals === -1 || !STATE_KEY.test(key) || !STATE_VALUE.test(value) || keys.has(key)) return [];
    keys.add(key);
    members.push([key, value]);
  }
  return members.length > STATE_MEMBERS_MAX ? [] : members;
}

/** No / +$/: on spaces with a sign behind them it begins anew at each of them, a square of their number. */
function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** A space or a tab: no other white space, which `trim` takes too. */
function isBlank(unit: number): boolean {
  return unit === 0x20 || unit === 0x09;
}

/** The value of `traceparent`, always as version 00. */
export function formatTraceparent({ traceId, spanId, flags }: TraceContext): string {
  return `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, '0')}`;
}

/** The value of `tracestate`, at most 512 characters, or undefined where there is nothing to pass on. */
export function formatTracestate({ state }: TraceContext): string | undefined {
  const members = state.map(([key, value]) => `${key}=${value}`);
  while (members.join(',').length > STATE_CHARS_MAX) {
    const long = members.findLastIndex((member) => member.length > 128);
    members.splice(long === -1 ? members.length - 1 : long, 1);
  }
  return members.length === 0 ? undefined : members.join(',');
}

/**
 * The context for a span of ours: below `parent`, or the first of a new trace (sampled unless `flags` says otherwise).
 * `random` gives that many random bytes.
 */
export function childOf(
  parent: TraceContext | undefined,
  random: (count: number) => Uint8Array,
  flags: number = SAMPLED | RANDOM,
): TraceContext {
  const spanId = hex(random(8));
  return parent === undefined ? { traceId: hex(random(16)), spanId, flags, state: [] } : { ...parent, spanId };
}

/** All zeros are no id, so the last byte is made 1 then. */
function hex(bytes: Uint8Array): string {
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return /^0+$/.test(digits) ? `${digits.slice(0, -1)}1` : digits;
}
