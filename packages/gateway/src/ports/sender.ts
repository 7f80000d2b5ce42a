/**
 * The Sender: makes one HTTP request to an endpoint and says what came of it. It never throws for what an endpoint does;
 * what the answer means is decided in flow/deliver.ts.
 */
export interface SendRequest {
  /** Whose request this is: connections may be shared by origin, limits and slow-down may not. */
  readonly subscription: string;
  readonly url: string;
  /** Lower-case names. `content-length` and `host` are the sender's. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
}

/** Why no whole answer came. With the first five the endpoint was never reached. */
export type SendError =
  | 'dns'
  | 'refused'
  | 'unreachable'
  | 'connect_timeout'
  | 'tls'
  | 'reset'
  | 'timeout'
  | 'protocol'
  | 'blocked_address'
  | 'aborted';

export type SendResult =
  | {
      readonly status: number;
      /** Value of a Retry-After header, in ms from now; absent when there was none or it made no sense. */
      readonly retryAfterMs?: number;
      /** First bytes of the answer's body as text, at most 1,024 characters, for operators. */
      readonly snippet?: string;
      readonly durationMs: number;
    }
  | { readonly error: SendError; readonly detail: string; readonly durationMs: number };

export interface Sender {
  /** Resolves always. Not bounded here: the flow bounds what is in flight. */
  send(request: SendRequest): Promise<SendResult>;
  /** Aborts what is in flight (their sends resolve with `aborted`) and frees all connections. */
  close(): Promise<void>;
}
