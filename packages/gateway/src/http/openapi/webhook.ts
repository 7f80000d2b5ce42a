/** What a subscription's endpoint gets, as the document shows it under `webhooks`. */
const header = (name: string, required: boolean, description: string): object => ({
  name,
  in: 'header',
  required,
  description,
  schema: { type: 'string' },
});

export const WEBHOOK = {
  operationId: 'deliver',
  tags: ['subscriptions'],
  summary: 'A delivery to an endpoint',
  description: 'Sent by the gateway to the `url` of a subscription. At least once; the id is the same each time.',
  security: [],
  parameters: [
    header('webhook-id', true, 'The id of the delivery: the same on every attempt, redrive and replay.'),
    header('x-idempotency-key', true, 'The same.'),
    header('webhook-timestamp', true, 'Seconds since 1970.'),
    header('webhook-signature', false, 'With `"signature": "standard"`: one signature per secret, with spaces between them.'),
    header('x-signature', false, 'With `"signature": "simple"`: the HMAC-SHA256 of the body in lower-case hex.'),
    header('millrace-subscription', true, 'The id of the subscription.'),
    header(
      'millrace-failed',
      false,
      'An address and a token with a space between them: to report a later failure, see `POST /v1/deliveries/{id}/failed`.',
    ),
    header('ce-id', false, 'With `"body": "data"`: the attribute `id` of the event; the others likewise.'),
  ],
  requestBody: {
    content: {
      '*/*': { schema: { description: 'With `"body": "data"`: the payload, byte for byte, of the content type it has.' } },
      'application/cloudevents+json': { schema: { $ref: '#/components/schemas/Event' } },
    },
  },
  responses: {
    '2XX': { description: 'Delivered.' },
    '410': { description: 'The endpoint is gone: the subscription is disabled.' },
    '429': { description: 'Too fast: the subscription slows down, by `Retry-After` where it is there.' },
    default: { description: 'Failed: it is tried again by the schedule of the subscription.' },
  },
} as const;
