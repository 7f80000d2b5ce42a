/**
 * One node at a time changes the stream. NATS has no compare-and-set on a stream's configuration: of two nodes that read and write it
 * at once, the later would take out what the earlier had added, and events of it would be refused until that is noticed.
 *
 * What NATS does have is a consumer that is only made where there is none of its name (the action `create`, since 2.10; one node of
 * the servers decides it). It reads nothing and delivers nothing, and it goes by itself when its node is gone. Where it can't be had in
 * time or is not allowed, the change goes ahead without it: it is looked at again afterwards, as it always is.
 */
import type { JetStreamManager } from '@nats-io/jetstream';
import { JetStreamApiError } from '@nats-io/jetstream';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { NANOS_PER_MS } from './stream-config.ts';

export interface Turn {
  /** False when others may think that this node is gone: then nothing may be changed any more. */
  readonly holds: boolean;
  end(): Promise<void>;
}

const NAME = 'millrace-declaring';
/** As long what a node leaves that was killed is in the way of others; a change takes some milliseconds. */
const GONE_MS = 10_000;
/** Of these, the time for a change that was begun to reach the server: a call is given up after 5 s. */
const CALL_MS = 5_000;
/** Longer than what was left behind stays: then the servers that keep it are away, and with them whoever would be in the way. */
const WAIT_MS = 15_000;
/** Others change it for a few milliseconds; the server tells nobody who waits. */
const AGAIN_MS = 20;
const ALREADY_THERE = 10148;

/** Waits for this node's turn. */
export async function takeTurn(jsm: JetStreamManager, stream: string): Promise<Turn> {
  const untilMs = performance.now() + WAIT_MS;
  for (;;) {
    const askedMs = performance.now();
    const made = await make(jsm, stream);
    if (made === 'made') return turnFrom(askedMs, () => jsm.consumers.delete(stream, NAME));
    if (made === 'refused' || performance.now() >= untilMs) return { holds: true, end: async () => {} };
    await sleep(AGAIN_MS * (0.5 + Math.random()), undefined, { ref: false });
  }
}

function turnFrom(askedMs: number, end: () => Promise<unknown>): Turn {
  const turn = {
    get holds() {
      return performance.now() < askedMs + GONE_MS - CALL_MS;
    },
    /** Too late it may be another's; where it can't be ended it ends by itself. */
    async end() {
      if (turn.holds) await end().catch(() => {});
    },
  };
  return turn;
}

/** One that is like the one that is there counts as the same, so each is described by chance. */
async function make(jsm: JetStreamManager, stream: string): Promise<'made' | 'there' | 'refused'> {
  try {
    await jsm.consumers.add(stream, {
      name: NAME,
      description: randomBytes(12).toString('hex'),
      ack_policy: 'none',
      deliver_policy: 'new',
      inactive_threshold: GONE_MS * NANOS_PER_MS,
      mem_storage: true,
    });
    return 'made';
  } catch (error) {
    return error instanceof JetStreamApiError && error.code === ALREADY_THERE ? 'there' : 'refused';
  }
}
