/** Single messages: by sequence, and by time. The stream's leader is asked, as another replica may not have it yet. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Stored } from './binding.ts';
import type { BrokerError } from './problems.ts';
import { openReader } from './reader.ts';

export interface LookUps {
  /** Undefined where it is gone or never was. */
  bySequence(sequence: number): Promise<Stored | undefined>;
  /** The last sequence before the first message of this time or later: the end where there is none. */
  sequenceBefore(timeMs: number): Promise<number>;
}

interface Needs {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly stream: string;
}

const ANSWER_MS = 5_000;
const NOT_FOUND = 404;

export function createLookUps({ nc, jsm, stream }: Needs): LookUps {
  return {
    async bySequence(sequence) {
      if (sequence === 0) return undefined;
      const request = JSON.stringify({ seq: sequence });
      const answer = await nc.request(`$JS.API.STREAM.MSG.GET.${stream}`, request, { timeout: ANSWER_MS });
      const { message, error } = answer.json<Answer>();
      if (message !== undefined) return storedOf(message);
      if (error?.code === NOT_FOUND && error.err_code === NO_MESSAGE) return undefined;
      throw new Error(error?.description ?? 'NATS gave no message and no reason');
    },

    async sequenceBefore(timeMs) {
      const { state } = await jsm.streams.info(stream);
      const start = { deliver_policy: 'by_start_time', opt_start_time: new Date(Math.max(0, timeMs)).toISOString() } as const;
      const reader = await openReader({ nc, jsm, stream, key: '', start });
      try {
        reader.begin();
        const first = await reader.next();
        return first === undefined ? state.last_seq : first.sequence - 1;
      } finally {
        reader.close();
      }
    },
  };
}

const NO_MESSAGE = 10037;

interface Answer {
  readonly message?: Message;
  readonly error?: BrokerError;
}

interface Message {
  readonly subject: string;
  readonly seq: number;
  readonly time: string;
  readonly hdrs?: string;
  readonly data?: string;
}

function storedOf({ subject, seq, time, hdrs, data }: Message): Stored {
  return {
    sequence: seq,
    // To the millisecond below, as a delivery has it.
    timeMs: Date.parse(time.replace(/(\.\d{3})\d*/, '$1')),
    subject,
    headers: hdrs === undefined ? undefined : bytesOf(hdrs),
    body: data === undefined ? new Uint8Array() : bytesOf(data),
  };
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
