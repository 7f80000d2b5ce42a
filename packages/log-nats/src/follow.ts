/**
 * What is appended, as it is appended: a push consumer of our own, which the server forgets when we are gone. It numbers what
 * it delivers; where a number is missing, or nothing is heard of it, another one goes on behind the last message that came.
 */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import { createInbox } from '@nats-io/transport-node';
import type { Delivered } from './delivery.ts';
import { deliveredOf, headerBlockOf } from './delivery.ts';
import { readHeaders, readStatus } from './headers.ts';

export interface Follow {
  /** Begins, or begins anew, behind the last message that came. Resolves when the server delivers. */
  start(): Promise<void>;
  stop(): void;
}

interface Needs {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly stream: string;
  /** The last sequence that came. */
  readonly last: () => number;
  readonly onMessage: (message: Delivered) => void;
  /** It can't go on: what it is about must be looked at before it is started again. */
  readonly onTrouble: () => void;
}

const HEARTBEAT_MS = 2_000;
/** The server is given this many chances to be heard. */
const SILENT_BEATS = 3;
/** How long the server remembers a consumer nobody listens to. */
const FORGOTTEN_MS = 10_000;
const NANOS_PER_MS = 1_000_000;

export function createFollow({ nc, jsm, stream, last, onMessage, onTrouble }: Needs): Follow {
  let subscription: Subscription | undefined;
  let name: string | undefined;
  let delivery = 0;
  let heard = false;
  let silent = 0;
  let beat: NodeJS.Timeout | undefined;

  function take(message: Msg): void {
    heard = true;
    const delivered = deliveredOf(message);
    if (delivered === undefined) return answer(message);
    if (delivered.delivery !== ++delivery) return fail();
    onMessage(delivered);
  }

  /** Heartbeats, and questions whether we can take more: a server that gets no answer stops. */
  function answer(message: Msg): void {
    const block = headerBlockOf(message);
    const status = readStatus(block);
    if (status.code >= 400) return fail();
    if (message.reply) nc.publish(message.reply);
    for (const [header, value] of block === undefined ? [] : readHeaders(block)) {
      if (header === 'Nats-Consumer-Stalled') nc.publish(value);
      if (header === 'Nats-Last-Consumer' && Number(value) !== delivery) return fail();
    }
  }

  function fail(): void {
    stop();
    onTrouble();
  }

  function listen(): void {
    silent = heard ? 0 : silent + 1;
    heard = false;
    if (silent >= SILENT_BEATS) fail();
  }

  function stop(): void {
    clearInterval(beat);
    subscription?.unsubscribe();
    subscription = undefined;
    if (name !== undefined && !nc.isClosed()) jsm.consumers.delete(stream, name).catch(() => {});
    name = undefined;
  }

  return {
    async start() {
      stop();
      const inbox = createInbox();
      delivery = 0;
      silent = 0;
      const mine = nc.subscribe(inbox, {
        callback(error, message) {
          if (mine !== subscription) return;
          if (error) fail();
          else take(message);
        },
      });
      subscription = mine;
      const { name: made } = await jsm.consumers.add(stream, {
        deliver_subject: inbox,
        deliver_policy: 'by_start_sequence',
        opt_start_seq: last() + 1,
        ack_policy: 'none',
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * NANOS_PER_MS,
        inactive_threshold: FORGOTTEN_MS * NANOS_PER_MS,
        mem_storage: true,
        num_replicas: 1,
      });
      // Started again, or stopped, while the server was making it.
      if (mine !== subscription) return void jsm.consumers.delete(stream, made).catch(() => {});
      name = made;
      beat = setInterval(listen, HEARTBEAT_MS);
    },
    stop,
  };
}
