/**
 * The load generator, a process of its own. Told a Load it opens the connections and says `ready`; told to go it posts and
 * says what came of it.
 */
import { percentile } from './figure.ts';
import { type Load, type Loaded, type Request, requestOf } from './load.ts';
import { openPosting, type Posting } from './posting.ts';
import { machineMs } from './stamp.ts';

interface Connection {
  readonly posting: Posting;
  readonly request: Request;
}

/** Between the order to go and the first request of an open loop. */
const LEAD_MS = 20;
/** Sleeping shorter than this is not worth the call. */
const SLEEP_MS_MIN = 0.05;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function loopOf(load: Load, connections: readonly (readonly Connection[])[]): () => Promise<Loaded> {
  const { perRequest = 1, count = Infinity, spanMs = Infinity, requestsPerSecond } = load;
  const waitsMs: number[] = [];
  const lateMs: number[] = [];
  let events = 0;
  let failures = 0;
  let startedMs = 0;

  function post({ posting, request }: Connection, sentMs: number, n: number): Promise<void> {
    const postedMs = machineMs();
    request.stamp(sentMs, n);
    return new Promise((resolve) => {
      posting.post(request.bytes, (good) => {
        waitsMs.push(machineMs() - postedMs);
        if (good) events += perRequest;
        else failures += perRequest;
        resolve();
      });
    });
  }

  async function closed(): Promise<void> {
    let next = 0;
    const publisher = async (connection: Connection): Promise<void> => {
      for (let nowMs = startedMs; next < count && nowMs - startedMs < spanMs && connection.posting.isOpen; nowMs = machineMs()) {
        next += perRequest;
        await post(connection, nowMs, next - perRequest);
      }
    };
    await Promise.all(connections.flat().map(publisher));
  }

  /** Sleeps to the very microsecond: timers know whole milliseconds only. Answers wait meanwhile, nothing here measures them. */
  async function open(rate: number): Promise<void> {
    startedMs += LEAD_MS;
    const lines = connections.map(createLine);
    const posts: Promise<void>[] = [];
    for (let n = 0; n < count; n += perRequest) {
      const dueMs = startedMs + ((n / perRequest) * 1_000) / rate;
      if (dueMs - startedMs >= spanMs) break;
      for (let leftMs = dueMs - machineMs(); leftMs > 0; leftMs = dueMs - machineMs()) {
        if (leftMs > SLEEP_MS_MIN) Atomics.wait(sleeper, 0, 0, leftMs);
      }
      for (const post of lines) posts.push(post(dueMs, n));
      await turn();
    }
    await Promise.all(posts);
  }

  /** Posts on a free connection, or on the first one that becomes free. */
  function createLine(own: readonly Connection[]): (dueMs: number, n: number) => Promise<void> {
    const free = [...own];
    const waiting: ((connection: Connection) => void)[] = [];
    return async (dueMs, n) => {
      const connection = free.pop() ?? (await new Promise<Connection>((resolve) => waiting.push(resolve)));
      lateMs.push(machineMs() - dueMs);
      await post(connection, dueMs, n);
      const next = waiting.shift();
      if (next === undefined) free.push(connection);
      else next(connection);
    };
  }

  return async () => {
    startedMs = machineMs();
    await (requestsPerSecond === undefined ? closed() : open(requestsPerSecond));
    const ms = machineMs() - startedMs;
    for (const { posting } of connections.flat()) posting.close();
    const waits = { p50Ms: percentile(waitsMs, 0.5), p99Ms: percentile(waitsMs, 0.99) };
    return { events, failures, ms, ...waits, lateP99Ms: lateMs.length === 0 ? 0 : percentile(lateMs, 0.99) };
  };
}

/** Once round the event loop: what came in is read. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function open(load: Load): Promise<Connection[][]> {
  const connectionTo = async (url: string): Promise<Connection> => ({
    posting: await openPosting(url),
    request: requestOf(load, url),
  });
  return Promise.all(load.urls.map((url) => Promise.all(Array.from({ length: load.connections }, () => connectionTo(url)))));
}

let go: (() => Promise<Loaded>) | undefined;
process.on('message', (message: Load | 'go') => {
  if (message !== 'go')
    void open(message).then((connections) => {
      go = loopOf(message, connections);
      process.send?.('ready');
    });
  else void go?.().then((loaded) => process.send?.(loaded));
});
process.on('disconnect', () => process.exit());
