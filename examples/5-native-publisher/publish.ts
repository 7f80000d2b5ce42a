/**
 * Publishes JSON with a plain NATS client, no word of Millrace: `node publish.ts`. NATS_URL is the server (nats://127.0.0.1:4222),
 * TOPIC the subject (orders.created).
 */
import { connect, JSONCodec, NatsError } from 'nats';

const { NATS_URL = 'nats://127.0.0.1:4222', TOPIC = 'orders.created' } = process.env;

const connection = await connect({ servers: NATS_URL });
try {
  // Through JetStream, because the stream answers: a plain publish() on a subject that no topic declares is lost unseen.
  const { stream, seq } = await connection.jetstream().publish(TOPIC, JSONCodec().encode({ id: 42, amount: 150 }));
  console.log(`${stream}  ${seq}`);
} catch (error) {
  // The code of "no responders": no stream has this subject.
  if (!(error instanceof NatsError && error.code === '503')) throw error;
  console.error(`nobody keeps ${TOPIC}: declare it, millrace topic create ${TOPIC}`);
  process.exitCode = 1;
} finally {
  await connection.close();
}
