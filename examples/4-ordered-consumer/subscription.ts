/** The subscription of an ordered consumer, as code: made where it is not there, else brought to this. */

export interface SubscribeOptions {
  /** Of the gateway, and a key of it. */
  readonly url: string;
  readonly key: string;
  readonly id: string;
  readonly topics: readonly string[];
  /** Where the consumer is reached. */
  readonly to: string;
  readonly secret: string;
  /** Waits before further attempts. */
  readonly schedule?: readonly string[];
}

/** Short at first: behind an event that fails its whole key waits. */
const SCHEDULE = ['1s', '5s', '30s', '5m', '30m', '2h', '12h', '24h'];

export async function subscribe({ url, key, id, topics, to, secret, schedule = SCHEDULE }: SubscribeOptions): Promise<void> {
  const response = await fetch(`${url}/v1/subscriptions/${id}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      topics,
      deliver: { webhook: { url: to, secret } },
      retry: { schedule },
      ordering: 'key', // can't be changed later
      onDead: 'release', // `hold`: the key waits behind a dead letter until a person has decided
    }),
    signal: AbortSignal.timeout(10_000),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`the subscription '${id}' was refused: ${answer}`);
}
