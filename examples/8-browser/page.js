/**
 * A page that publishes orders, sees all that happens, and works on what is to be done. `?transport=sse` does without WebSocket, `?group=name` works
 * for another group.
 */
import { connect, GatewayError, outbox, sse, UnauthorizedError, ws } from 'millrace';
import { show } from './view.js';

const asked = new URLSearchParams(location.search);
const group = asked.get('group') ?? 'desk';
const transports = asked.get('transport') === 'sse' ? [sse] : [ws, sse];
const CURSORS = `cursors of ${group}`;

const gateway = connect({
  url: document.querySelector('meta[name=gateway]').content,
  getToken,
  transports: transports.map(watched),
  hooks: {
    onState: (state) => show('state', state),
    onGap: (gap) => show('gap', gap),
    onError: showError,
  },
});

// What happens: no group, so this page sees every order while it is there. A page that is loaded again goes on where it was.
const kept = JSON.parse(sessionStorage.getItem(CURSORS) ?? '[]');
const feed = gateway.subscribe('orders.*', (order) => show('order', order), kept.length > 0 ? { from: { cursors: kept } } : {});
addEventListener('pagehide', () => sessionStorage.setItem(CURSORS, JSON.stringify(feed.cursors)));

// What is to be done: the pages of a group share it. An order is done when its ack is confirmed, and comes again until then.
const tasks = gateway.subscribe(
  'orders.*',
  (order, task) => {
    show('task', { order, id: task.id, attempt: task.attempt });
    task.ack().then(
      () => show('done', { id: task.id }),
      () => show('again', { id: task.id }),
    );
  },
  { group, create: false, ack: 'manual', concurrency: 4 },
);

// What this page publishes waits in order while there is no way to the gateway. Its ids keep a repeated call from doubling it.
const box = outbox(gateway, { onChange: (waiting) => show('waiting', { waiting }) });
const source = `/pages/${crypto.randomUUID()}`;
const CUSTOMERS = ['Ada', 'Bo', 'Chidi', 'Dana', 'Eli'];
let orders = 0;

function order() {
  const n = ++orders;
  const customer = CUSTOMERS[n % CUSTOMERS.length];
  const data = { n, customer, amount: 5 + ((n * 37) % 95) };
  box
    .sendEvent({ type: 'orders.created', source, partitionkey: customer, data })
    .then(() => show('published', { source, n }), showError);
}

document.querySelector('#now').addEventListener('click', () => gateway.wake());
document.querySelector('#one').addEventListener('click', order);
document.querySelector('#ten').addEventListener('click', () => Array.from({ length: 10 }, order));

/** The page has no key: its own backend knows who is logged in, and asks the gateway for a token. */
async function getToken({ reason }) {
  const answer = await fetch('/token', { method: 'POST' }).catch(() => undefined);
  if (answer?.status === 401) throw new UnauthorizedError('log in again');
  // Retryable: what is in the outbox goes on waiting.
  if (!answer?.ok) throw new GatewayError('no_token', 'the backend gives no token now: it prints why', { retryable: true });
  show('token', { reason });
  return answer.json();
}

/** What is behind it says more: where `getToken` failed, say, its own words. */
function showError(error) {
  show('error', { error: String(error.cause ?? error) });
}

/** A transport is a function, so another one can watch what it carries. */
function watched(transport) {
  return (dial) => {
    const line = transport({
      ...dial,
      on: {
        ...dial.on,
        message(text) {
          show('frames', { from: 'gateway', text });
          dial.on.message(text);
        },
      },
    });
    show('transport', { name: transport === sse ? 'server-sent events' : 'WebSocket' });
    return {
      close: line.close,
      send(text) {
        show('frames', { from: 'page', text });
        line.send(text);
      },
    };
  };
}

await Promise.all([feed.ready, tasks.ready]);
show('ready', { source });
