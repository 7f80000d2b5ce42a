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
    const id = idOf({ lane, shard, position });
    // All of it may stand in an address but what stands for something else: that is to arrive as it is.
    const part = id.includes('%') ? id.replaceAll('%', '%25') : id;
    return `${url}/v1/deliveries/${part}/failed ${tokens.make(id, { n, before })}`;
  };
}
