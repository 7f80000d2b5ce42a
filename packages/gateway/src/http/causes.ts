/** Causes that a dead letter may have: docs/api.md tells what each means. */
import { Problem } from '@millrace/core/problem';
import type { SendError } from '../ports/sender.ts';

/** Of a stream's consumers. */
type OfConsumer = 'nack' | 'nack_dead' | 'ack_timeout' | 'consumer_gone';
/** Not of an attempt that failed. */
type Unsent = 'expired' | 'log_changed' | 'filter_too_costly' | 'reported_failed';

/** By name, so that the types find the next one missing. What was `aborted` is put back and never dies of it. */
const NAMED: Readonly<Record<Exclude<SendError, 'aborted'> | OfConsumer | Unsent, true>> = {
  dns: true,
  refused: true,
  unreachable: true,
  connect_timeout: true,
  tls: true,
  reset: true,
  timeout: true,
  protocol: true,
  blocked_address: true,
  nack: true,
  nack_dead: true,
  ack_timeout: true,
  consumer_gone: true,
  expired: true,
  log_changed: true,
  filter_too_costly: true,
  reported_failed: true,
};

export const NAMED_CAUSES = Object.keys(NAMED);

/** Endpoints do answer 600 and 999; below 300 there is no failure that has a status. */
const OF_STATUS = /^http_[3-9]\d\d$/;

/** Throws `invalid_request` for a cause that nothing can have died of: a filter by it would silently find nothing. */
export function checkCause(cause: string, pointer: string): void {
  if (OF_STATUS.test(cause) || Object.hasOwn(NAMED, cause)) return;
  throw new Problem('invalid_request', `nothing dies of '${cause.slice(0, 80)}'`, {
    pointer,
    advice: `A cause is http_ with the status (http_300 to http_999), or one of ${NAMED_CAUSES.join(', ')}.`,
  });
}
