/** The header `millrace-failed` of a delivery: where its receiver may report that it failed after all, and the token for that. */
import type { Attempt } from '../flow/deliver.ts';
import { idOf } from '../http/delivery-ids.ts';
import type { LogRecord } from '../ports/log.ts';
import type { FailureTokens } from './token.ts';

interface Needs {
  /** Without a slash at its end. */
  readonly publicUrl: () => string | undefined;
  readonly tokens: FailureTokens;
}

export function createFailedAt({ publicUrl, tokens }: Needs): (record: LogRecord, attempt: Attempt) => string | undefined {
  return ({ shard, position }, { lane, n, before = 0 }) => {
    const url = publicUrl();
    if (url === undefined) return undefined;
    const place = { lane, shard, position };
    // An id may have a % of its own.
    return `${url}/v1/deliveries/${encodeURIComponent(idOf(place))}/failed ${tokens.make(place, { n, before })}`;
  };
}
