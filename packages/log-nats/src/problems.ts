/** What the broker says, as Problems. */
import { JetStreamApiError } from '@nats-io/jetstream';
import { Problem } from '@millrace/core/problem';

export const STREAM_NOT_FOUND = 10059;

/** Of an append that the broker refused: `refused` will be refused again, `again` may be taken in a moment. */
export type Refusal =
  | { readonly kind: 'refused'; readonly problem: Problem }
  | { readonly kind: 'again'; readonly message: string };

export interface BrokerError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

const MESSAGE_TOO_LARGE = 10054;
const HEADERS_TOO_LARGE = 10097;
/** No space for JetStream as a whole, or for the account. */
const NO_RESOURCES = new Set([10023, 10047]);
/** Another append with this id is on its way through the cluster: its answer comes first. */
const ID_IN_PROCESS = 10158;

export function refusalOf({ code = 0, err_code: errCode = 0, description = '' }: BrokerError): Refusal {
  const said = `NATS refused the event: ${description} (${errCode})`;
  // One code stands for every reason of the store: only its words tell which.
  if (NO_RESOURCES.has(errCode) || /maximum (messages|bytes)|no space|insufficient storage/i.test(description))
    return { kind: 'refused', problem: new Problem('log_full', said, { advice: FULL_ADVICE }) };
  if (errCode === MESSAGE_TOO_LARGE || errCode === HEADERS_TOO_LARGE)
    return { kind: 'refused', problem: new Problem('payload_too_large', said) };
  if (code === 503 || errCode === ID_IN_PROCESS) return { kind: 'again', message: said };
  return { kind: 'refused', problem: new Problem('log_unavailable', said) };
}

const FULL_ADVICE = 'Give the stream more room (max_bytes, max_msgs) or the account more storage.';

export function isStreamGone(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND;
}

export function unavailable(error: unknown, what = 'NATS does not answer'): Problem {
  if (error instanceof Problem) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new Problem('log_unavailable', `${what}: ${said}`, { cause: error, retryAfterMs: 1_000 });
}
