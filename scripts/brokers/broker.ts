/** What `npm run brokers` and the tests know of a real server: how it is made ready, started and stopped. */
export interface Broker {
  /** 'nats', 'postgres' */
  readonly name: string;
  /** Makes what is needed ready (builds or finds the server); says what it needs when it can't: throws BrokerUnavailable with advice. */
  prepare(cache: string, say: (line: string) => void): Promise<void>;
  /** Starts a server of its own on 127.0.0.1 with its data under `directory`, resolves when it answers. */
  start(options: { readonly cache: string; readonly directory: string; readonly port?: number }): Promise<StartedBroker>;
}

export interface StartedBroker {
  /** nats://127.0.0.1:PORT, postgres://millrace@127.0.0.1:PORT/postgres */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** SIGTERM, then waits for the exit (SIGKILL after 10 s). Data stays. */
  stop(): Promise<void>;
}

/** This machine can't have the server now; the advice says what to do about it. */
export class BrokerUnavailable extends Error {
  readonly advice: string;

  constructor(message: string, advice: string) {
    super(message);
    this.name = 'BrokerUnavailable';
    this.advice = advice;
  }
}
