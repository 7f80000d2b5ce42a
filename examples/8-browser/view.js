/** What the page shows. Drawn once a frame, however much comes; whatever is shown is also told as an event `shown`. */
const ROWS = 12;
const count = { published: 0, waiting: 0, seen: 0, done: 0, open: 0, tokens: 0 };
const rows = { feed: [], tasks: [], states: [], frames: [] };
/** The rows of tasks, by the id of the delivery, until they are scrolled away. */
const marks = new Map();
let state = { state: 'idle' };
let transport = '';
let isDue = false;

const kinds = {
  order: (order) => (count.seen++, row('feed', cellsOf(order))),
  task({ order, id, attempt }) {
    count.open++;
    const cells = [...cellsOf(order), attempt > 1 ? `working (attempt ${attempt})` : 'working'];
    marks.set(id, cells);
    row('tasks', cells);
    for (const old of marks.keys()) if (marks.size > ROWS) marks.delete(old);
  },
  done: ({ id }) => (count.done++, mark(id, 'done ✓')),
  again: ({ id }) => mark(id, 'ack lost'),
  published: () => count.published++,
  waiting: ({ waiting }) => (count.waiting = waiting),
  token({ reason }) {
    count.tokens++;
    if (reason !== 'request') row('states', [now(), 'token', `to ${reason}`]);
  },
  transport: ({ name }) => (transport = `by ${name}`),
  state(next) {
    state = next;
    const why = plain(next.reason ?? '') || (next.code ? `cut off, code ${next.code}` : '');
    row('states', [now(), next.state, next.retryMs === undefined ? why : `${why}; again in ${seconds(next.retryMs)}`]);
  },
  gap: ({ reason }) => row('states', [now(), 'gap', reason]),
  error: ({ error }) => row('states', [now(), 'error', plain(error)]),
  frames({ from, text }) {
    for (const frame of [JSON.parse(text)].flat())
      row('frames', [
        from === 'page' ? '→' : '←',
        frame.op,
        JSON.stringify({ ...frame, op: undefined, token: undefined }, brief),
      ]);
  },
  ready: () => undefined,
};

/** `kind` is one of the above. */
export function show(kind, detail) {
  kinds[kind](detail);
  dispatchEvent(new CustomEvent('shown', { detail: { kind, ...detail } }));
  if (!isDue) requestAnimationFrame(draw);
  isDue = true;
}

function row(table, cells) {
  rows[table].unshift(cells);
  rows[table].length = Math.min(rows[table].length, ROWS);
}

function mark(id, text) {
  count.open--;
  const cells = marks.get(id);
  if (cells !== undefined) cells.push(cells.pop().replace('working', text));
}

const cellsOf = ({ data: { n, customer, amount }, source }) => [
  customer,
  `order ${n}`,
  `${amount} €`,
  source.replace(/(-[^-]*){4}$/, ''),
];
/** Ids and cursors are long: what tells one from the next is at their ends. */
const brief = (_name, value) =>
  typeof value === 'string' && value.length > 28 ? `${value.slice(0, 6)}…${value.slice(-6)}` : value;
/** As it was told, without the name of its class. */
const plain = (error) => error.replace(/^\w*Error: /, '');
const now = () => new Date().toLocaleTimeString('en-GB');
const seconds = (ms) => `${(ms / 1_000).toFixed(1)} s`;

function draw() {
  isDue = false;
  for (const [name, value] of Object.entries(count)) byId(name).textContent = value.toLocaleString('en');
  for (const [name, its] of Object.entries(rows)) byId(name).replaceChildren(...its.map(rowOf));
  byId('state').textContent = state.state;
  byId('state').className = `pill ${state.state}`;
  byId('transport').textContent = transport;
  byId('waiting').classList.toggle('some', count.waiting > 0);
}

function rowOf(cells) {
  const line = document.createElement('tr');
  for (const text of cells) {
    const cell = document.createElement('td');
    cell.textContent = text; // never as HTML: events come from others
    line.append(cell);
  }
  line.className = cells.at(-1).split(' ')[0];
  return line;
}

const byId = (id) => document.getElementById(id);
