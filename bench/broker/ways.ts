/** What is measured of a log on NATS: the same verbs for the driver and for the bare client. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type Msg, type MsgHdrs, type NatsConnection, connect, createInbox } from '@nats-io/transport-node';
import type { Entry, Log } from '@millrace/gateway/ports/log';
import { openNats } from '@millrace/log-nats';
import { TOPIC } from '../rig.ts';
import { messagesOf } from './entries.ts';

/** How many calls are under way at once, and how many events are in each. */
export interface Pipelining {
  readonly calls: number;
  readonly perCall: number;
}

export interface Way {
  /** Resolves when the broker has answered for all. What is made beforehand is made before `started`. */
  append(entries: readonly Entry[], how: Pipelining, started: () => void): Promise<void>;
  /** Resolves, when it listens, with a promise that resolves once so many more have come. */
  follow(count: number): Promise<{ readonly came: Promise<void> }>;
  /** From the first message that is there, `count` in all. Resolves with what is to be closed then. */
  readBack(count: number, started: () => void): Promise<() => Promise<void>>;
  /** Removes what is there: it would fill the disk, and its pages are written while others are measured. */
  empty(): Promise<void>;
  close(): Promise<void>;
}

/** As the gateway asks for pages of what lies behind. */
const PAGE = { limit: 512, maxBytes: 2 * 1024 * 1024 };
/** What the driver has on its way at most while it reads back. */
const AHEAD = 1_024;
const HEARTBEAT_NANOS = 2_000_000_000;

export async function openOurs(servers: string): Promise<Way> {
  const stream = 'OURS';
  const options = { servers, stream, subjectPrefix: 'ours' };
  const log = await openNats(options);
  const { nc, empty } = await openEmptier(servers, stream);
  const [shard = ''] = log.shards();

  return {
    async append(entries, { calls, perCall }, started) {
      started();
      await pipelined(entries, { calls, perCall }, async (part) => {
        const appended = await log.append(part);
        if (appended.some(({ status }) => status !== 'appended')) throw new Error('an event of the benchmark was refused');
      });
    },
    follow: (count) => followLog(log, shard, count),
    async readBack(count, started) {
      // It has seen nothing of what is there: all comes from the broker.
      const fresh = await openNats(options);
      started();
      let read = 0;
      for (let after = '', atEnd = false; !atEnd;) {
        const page = await fresh.read({ shard, after, ...PAGE });
        read += page.records.length;
        ({ through: after, atEnd } = page);
      }
      mustBe(read, count);
      return fresh.close;
    },
    async empty() {
      await empty();
      await log.trim();
    },
    async close() {
      await log.close();
      await nc.close();
    },
  };
}

/** As the tail of a shard does: a signal, then pages until the end. */
async function followLog(log: Log, shard: string, count: number): Promise<{ readonly came: Promise<void> }> {
  const { promise: came, resolve, reject } = Promise.withResolvers<void>();
  let after = (await log.bounds(shard)).last?.position ?? '';
  let seen = 0;
  let isReading = false;
  let isWanted = false;

  async function read(): Promise<void> {
    isWanted = true;
    if (isReading) return;
    isReading = true;
    while (isWanted) {
      isWanted = false;
      for (let atEnd = false; !atEnd;) {
        const page = await log.read({ shard, after, ...PAGE });
        seen += page.records.length;
        ({ through: after, atEnd } = page);
      }
    }
    isReading = false;
    if (seen < count) return;
    stop();
    resolve();
  }

  const stop = log.onAppend(shard, () => void read().catch(reject));
  return { came };
}

/** `reading`: it has the client read each message, as whoever wants to know what is in it must; else it only counts them. */
export async function openRaw(servers: string, of: 'counting' | 'reading' = 'counting'): Promise<Way> {
  const stream = of.toUpperCase();
  const subject = `${of}.${TOPIC}`;
  const { nc, jsm, empty } = await openEmptier(servers, stream);
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

async function openEmptier(servers: string, stream: string) {
  const nc: NatsConnection = await connect({ servers });
  const jsm = await jetstreamManager(nc);
  return {
    nc,
    jsm,
    async empty() {
      await jsm.streams.purge(stream);
    },
  };
}

/** Each caller has its next events answered before it goes on. */
async function pipelined<Each>(
  all: readonly Each[],
  { calls, perCall }: Pipelining,
  call: (part: readonly Each[]) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < all.length) {
      const part = all.slice(next, next + perCall);
      next += part.length;
      await call(part);
    }
  };
  await Promise.all(Array.from({ length: calls }, caller));
}

function mustBe(read: number, count: number): void {
  if (read !== count) throw new Error(`${read} events were read of ${count}`);
}
