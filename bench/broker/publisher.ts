/** A process that has the bare client publish, so that who follows can be measured alone. Argument: the server. */
import { connect } from '@nats-io/transport-node';
import { jetstream } from '@nats-io/jetstream';
import { TOPIC } from '../rig.ts';
import { entriesOf, messagesOf } from './entries.ts';

export interface Order {
  /** Of the subjects of a stream: whose it is. */
  readonly prefix: string;
  readonly count: number;
  readonly inFlight: number;
}

const nc = await connect({ servers: process.argv[2] ?? '' });
const js = jetstream(nc);

async function publish({ prefix, count, inFlight }: Order): Promise<void> {
  const messages = messagesOf(entriesOf(count));
  let next = 0;
  const publisher = async (): Promise<void> => {
    for (let message = messages[next++]; message !== undefined; message = messages[next++])
      await js.publish(`${prefix}.${TOPIC}`, message.body, { headers: message.headers });
  };
  process.send?.('begins');
  await Promise.all(Array.from({ length: inFlight }, publisher));
}

process.on('message', (order: Order) => void publish(order));
process.on('disconnect', () => void nc.close());
process.send?.('ready');
