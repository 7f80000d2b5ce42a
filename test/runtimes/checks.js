/** What the SDK does on every runtime, run inside of it: throws, or resolves with what was shown. Plain JavaScript, as the SDK beside it is the built one. */
import { connect, sendEvent, sign, sse, verify, ws } from './millrace.js';

const KEYS = [
  ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
  // Ed25519: signs with one, verifies with the other.
  [
    'whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==',
    'whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=',
  ],
];

/** `name` of the runtime makes the names of groups its own. */
export async function checkAll({ url, key, name }) {
  const shown = [];
  for (const [signing, verifying] of KEYS) shown.push(await checkSignature(signing, verifying));
  shown.push(await checkOnce({ url, key, name }));
  for (const [transport, carry] of Object.entries({ ws, sse }))
    shown.push(await checkStreams({ url, key, group: `${name}-${transport}`, carry }));
  return shown.join(', ');
}

async function checkSignature(signing, verifying) {
  const timestampSeconds = Math.floor(Date.now() / 1_000);
  const signed = { id: 'msg_a', timestampSeconds, body: '{"name":"Zoë"}' };
  const headers = new Headers({
    'webhook-id': signed.id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': await sign({ ...signed, secrets: [signing] }),
  });
  const { id } = await verify({ headers, body: signed.body, secrets: [verifying] });
  same(id, signed.id, 'a signature that is good');
  const refused = await verify({ headers, body: `${signed.body} `, secrets: [verifying] }).catch((error) => error.message);
  same(refused, 'no_matching_signature', 'a body that was changed');
  return verifying.slice(0, 4);
}

async function checkOnce({ url, key, name }) {
  const options = { idempotencyKey: `once-${name}` };
  const first = await sendEvent(url, key, { type: 'orders.paid', data: name }, options);
  const second = await sendEvent(url, key, { type: 'orders.paid', data: name }, options);
  same([first.duplicate, second.duplicate, second.id], [false, true, first.id], 'the same event again');
  return 'sendEvent';
}

/** What is published is seen without a group, worked on with one, nacked once, and gone on with from its cursors. */
async function checkStreams({ url, key, group, carry }) {
  const errors = [];
  const options = { url, key, transports: [carry], hooks: { onError: (error) => errors.push(error.message) } };
  const gateway = connect(options);
  const type = 'orders.created';
  const [seen, worked] = [basket(), basket()];
  const alone = gateway.subscribe(type, (event) => seen.add(event));
  const tasks = gateway.subscribe(
    type,
    (event, { attempt }) => {
      worked.add(event);
      if (attempt === 1 && event.data === 1) throw new Error('not now');
    },
    { group, from: 'latest' },
  );
  await Promise.all([alone.ready, tasks.ready]);
  for (const data of [1, 2]) await gateway.sendEvent({ type, data });
  same(dataOf(await seen.first(2)), [1, 2], 'events of a subscription');
  same(dataOf(await worked.first(3)).sort(), [1, 1, 2], 'deliveries of a group');
  same(errors, ['not now'], 'errors');
  await tasks.close();
  await alone.close();
  await gateway.sendEvent({ type, data: 3 });
  const later = basket();
  gateway.subscribe(type, (event) => later.add(event), { from: { cursors: alone.cursors } });
  same(dataOf(await later.first(1)), [3], 'what came meanwhile');
  await gateway.close();
  return group;
}

const dataOf = (events) => events.map(({ data }) => data);

function basket() {
  const all = [];
  let bell = () => undefined;
  return {
    add(one) {
      all.push(one);
      bell();
    },
    async first(count) {
      while (all.length < count) await new Promise((resolve) => (bell = resolve));
      return all.slice(0, count);
    },
  };
}

function same(found, wanted, what) {
  const [one, other] = [found, wanted].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`${what}: ${one} and not ${other}`);
}
