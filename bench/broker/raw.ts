/** The bare client, as little around it as can be. */
import { jetstream } from '@nats-io/jetstream';
import { type Msg, type MsgHdrs, createInbox } from '@nats-io/transport-node';
import { TOPIC } from '../rig.ts';
import { messagesOf } from './entries.ts';
import { mustBe, openClient, pipelined, type Way } from './ways.ts';

/** What the driver has on its way at most while it reads back. */
const AHEAD = 1_024;
const HEARTBEAT_NANOS = 2_000_000_000;

/** `reading`: it has the client read each message, as whoever wants to know what is in it must; else it only counts them. */
export async function openRaw(servers: string, of: 'counting' | 'reading' = 'counting'): Promise<Way> {
  const stream = of.toUpperCase();
  const subject = `${of}.${TOPIC}`;
  const { nc, jsm, empty } = await openClient(servers, stream);
  // The settings of the driver's stream.
  const DAY_NANOS = 86_400_000_000_000;
  await jsm.streams.add({
    name: stream,
    subjects: [subject],
    storage: 'file',
    num_replicas: 1,
    discard: 'new',
    max_age: 7 * DAY_NANOS,
    duplicate_window: 120_000_000_000,
  });
  const js = jetstream(nc);
  const look = of === 'reading' ? read : (): void => undefined;

  return {
    async append(entries, how, started) {
      const messages = messagesOf(entries);
      started();
      await pipelined(messages, how, (part) =>
        Promise.all(part.map(({ headers, body }) => js.publish(subject, body, { headers }))),
      );
    },
    async follow(count) {
      const { promise: came, resolve } = Promise.withResolvers<void>();
      const inbox = createInbox();
      let seen = 0;
      const subscription = nc.subscribe(inbox, {
        callback(_error, message) {
          if (message.data.length > 0) {
            look(message, placeIn(message));
            if (++seen === count) {
              subscription.unsubscribe();
              resolve();
            }
          } else if (message.reply) nc.publish(message.reply);
        },
      });
      await jsm.consumers.add(stream, {
        deliver_subject: inbox,
        deliver_policy: 'new',
        ack_policy: 'none',
        max_deliver: 1,
        flow_control: true,
        idle_heartbeat: HEARTBEAT_NANOS,
        inactive_threshold: HEARTBEAT_NANOS,
        mem_storage: true,
      });
      return { came };
    },
    async readBack(count, started) {
      started();
      const { name } = await jsm.consumers.add(stream, {
        deliver_policy: 'all',
        ack_policy: 'none',
        inactive_threshold: HEARTBEAT_NANOS,
        mem_storage: true,
      });
      const consumer = await js.consumers.get(stream, name);
      const { promise: all, resolve } = Promise.withResolvers<void>();
      let seen = 0;
      const messages = await consumer.consume({
        max_messages: AHEAD,
        callback(message) {
          look(message, message.seq);
          if (++seen === count) resolve();
        },
      });
      await all;
      return async () => {
        messages.stop();
        mustBe(seen, count);
      };
    },
    empty,
    close: () => nc.close(),
  };
}

interface Looked extends Pick<Msg, 'subject' | 'data'> {
  readonly headers?: MsgHdrs | undefined;
}

/** Its place, and an attribute: the client reads all headers for the first. */
function read({ subject, headers, data }: Looked, place: number): void {
  if (headers?.get('ce-id') === '' || !(place > 0) || subject === '' || data.length === 0)
    throw new Error('a message of the benchmark is not what was published');
}

/** A push consumer's messages come as the core client has them: the place is in the subject to answer to. */
function placeIn({ reply = '' }: Msg): number {
  return Number(reply.split('.')[5]);
}
