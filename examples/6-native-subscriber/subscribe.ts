/**
 * Subscribes with a plain NATS client, no word of Millrace: `node subscribe.ts`. NATS_URL is the server (nats://127.0.0.1:4222),
 * TOPIC the subject, wildcards included (orders.*). Ctrl-C ends it.
 */
import { connect, JSONCodec } from 'nats';

const { NATS_URL = 'nats://127.0.0.1:4222', TOPIC = 'orders.*' } = process.env;

const connection = await connect({ servers: NATS_URL });
const subscription = connection.subscribe(TOPIC);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void connection.drain());
await connection.flush();
console.log(`listens on ${TOPIC}`);
for await (const message of subscription)
  console.log(`${message.subject}  ${message.headers?.get('ce-id') ?? ''}  ${JSON.stringify(JSONCodec().decode(message.data))}`);
