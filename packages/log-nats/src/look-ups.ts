/** Single messages: by sequence, and by time. The stream's leader is asked, as another replica may not have it yet. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stored } from './binding.ts';
import type { BrokerError } from './problems.ts';
import { openReader } from './reader.ts';

export interface LookUps {
  /** Undefined where it is gone or never was. */
  bySequence(sequence: number): Promise<Stored | undefined>;
  /** The first message from this sequence on, of subjects that match: undefined where there is none. */
  nextFrom(sequence: number, filter: string): Promise<Stored | undefined>;
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
/** The last of the year 9999: the server reads no later one. */
const TIME_MS_MAX = 253_402_300_799_999;
/** A consumer may stand on a replica that has not got the newest messages yet: it has them in a moment. */
export const BEHIND_TRIED = 20;
export const BEHIND_MS = 50;

export function createLookUps({ nc, jsm, stream }: Needs): LookUps {
  async function get(what: { readonly seq: number; readonly next_by_subj?: string }): Promise<Stored | undefined> {
    const answer = await nc.request(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(what), { timeout: ANSWER_MS });
    const { message, error } = answer.json<Answer>();
    if (message !== undefined) return storedOf(message);
    if (error?.code === NOT_FOUND && error.err_code === NO_MESSAGE) return undefined;
    throw new Error(error?.description ?? 'NATS gave no message and no reason');
  }

  /** There is no sequence 0, and asking for it is an error. */
  async function bySequence(sequence: number): Promise<Stored | undefined> {
    return sequence === 0 ? undefined : get({ seq: sequence });
  }

  /** Undefined where the replica that was asked has not come so far yet. */
  async function lookBefore(timeMs: number): Promise<number | undefined> {
    const { state } = await jsm.streams.info(stream);
    const start = {
      deliver_policy: 'by_start_time',
      opt_start_time: new Date(timeMs).toISOString(),
    } as const;
    const reader = await openReader({ nc, jsm, stream, key: '', start });
    try {
      reader.begin();
      // A replica that lags, and a 2.10 that has removed messages, begin too early.
      for (let first = await reader.next(); first !== undefined; first = await reader.next())
        if (first.timeMs >= timeMs) return first.sequence - 1;
      const last = await bySequence(state.last_seq);
      return last !== undefined && last.timeMs >= timeMs ? undefined : state.last_seq;
    } finally {
      reader.close();
    }
  }

  return {
    bySequence,
    nextFrom: (sequence, filter) => get({ seq: sequence, next_by_subj: filter }),

    async sequenceBefore(asked) {
      const timeMs = Math.min(TIME_MS_MAX, Math.max(0, Math.ceil(asked)));
      for (let tried = 0; tried < BEHIND_TRIED; tried++) {
        const sequence = await lookBefore(timeMs);
        if (sequence !== undefined) return sequence;
        await sleep(BEHIND_MS);
      }
      throw new Error('the replica that was asked is too far behind');
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
