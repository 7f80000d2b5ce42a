/**
 * The connections to endpoints, pooled by origin. A line carries one request at a time and is used again as soon as its
 * answer is in, the latest one first, so that the others grow old and close. Requests past the bound wait for a line in the
 * order they came, whichever subscription they belong to.
 *
 * Connections may be shared only where TLS identity, proxy and egress policy are the same. All three are in the `connect` that
 * lines are made with: who needs a second policy makes a second set of lines, and the key within a set stays the origin.
 *
 * Not undici's Pool: that takes a client for busy until the event loop has gone round once, and by then has opened
 * another; with requests back to back it holds twice the connections that are used.
 */
import type { Socket } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import { createDeque, type Deque } from '../deque.ts';
import type { Clock } from '../ports/clock.ts';
import type { Connect } from './connect.ts';

/** What waits for a line. */
export interface Passenger {
  /** True once there is no need for a line any more. */
  readonly settled: boolean;
  ride(line: Line): void;
}

export interface Line {
  /** Answers that the present connection has brought. */
  readonly answers: number;
  readonly connected: boolean;
  /** Bytes that came in on the present connection, in whatever form. */
  readonly bytesRead: number;
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void;
  /** The request is over, one way or the other. To be called once per ride. */
  free(answered: boolean): void;
}

export interface Lines {
  /** Gives the passenger a line, now or as soon as one is free. */
  take(origin: string, passenger: Passenger): void;
  close(): Promise<void>;
}

interface Needs {
  readonly clock: Clock;
  readonly connect: Connect;
  /** Per origin. */
  readonly connectionsMax: number;
}

/** Of an answer's header names and values, and of its trailers; more is a protocol error. */
export const HEADER_BYTES_MAX = 16_384;
/** An idle connection is closed after this, or earlier where the endpoint says so; later, where it says so, it is not. */
const KEEP_ALIVE_MS = 15_000;
/** A connection is given up at this age, so that an endpoint which moved is found again by DNS. */
const CONNECTION_AGE_MS = 300_000;

export function createLines({ clock, connect, connectionsMax }: Needs): Lines {
  const origins = new Map<
    string,
    { readonly lines: Set<Client>; readonly idle: OwnLine[]; readonly waiting: Deque<Passenger> }
  >();

  interface OwnLine extends Line {
    /** Too old, or without a connection: not to be used again. */
    readonly worn: boolean;
    end(): void;
  }

  function openLine(origin: string): OwnLine {
    const place = placeOf(origin);
    let socket: Socket | undefined;
    const client = new Client(origin, {
      connect: (options, callback) =>
        connect(options, (...opened) => {
          socket = opened[1] ?? undefined;
          callback(...opened);
        }),
      allowH2: false,
      pipelining: 1,
      maxHeaderSize: HEADER_BYTES_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    let answers = 0;
    let connected = false;
    let connectedAt = 0;

    const line: OwnLine = {
      get answers() {
        return answers;
      },
      get connected() {
        return connected;
      },
      get bytesRead() {
        return socket?.bytesRead ?? 0;
      },
      get worn() {
        return !connected || clock.monotonic() - connectedAt > CONNECTION_AGE_MS;
      },
      dispatch: (options, handler) => void client.dispatch(options, handler),
      free(answered) {
        if (answered) answers++;
        const next = nextOf(place.waiting);
        // Answered before the request was written whole: whoever came next would wait behind the rest of it, which the
        // endpoint may never read.
        if ((socket?.writableLength ?? 0) > 0) {
          line.end();
          next?.ride(openLine(origin));
        } else if (next !== undefined) next.ride(line);
        else if (line.worn) line.end();
        else place.idle.push(line);
      },
      end() {
        place.lines.delete(client);
        if (place.lines.size === 0 && place.waiting.size === 0) origins.delete(origin);
        void client.destroy();
      },
    };
    client.on('connect', () => {
      answers = 0;
      connected = true;
      connectedAt = clock.monotonic();
    });
    client.on('disconnect', () => {
      connected = false;
      const at = place.idle.indexOf(line);
      if (at < 0) return;
      place.idle.splice(at, 1);
      line.end();
    });
    place.lines.add(client);
    return line;
  }

  function placeOf(origin: string): NonNullable<ReturnType<typeof origins.get>> {
    const known = origins.get(origin);
    if (known !== undefined) return known;
    const place = { lines: new Set<Client>(), idle: [], waiting: createDeque<Passenger>() };
    origins.set(origin, place);
    return place;
  }

  return {
    take(origin, passenger) {
      const { lines, idle, waiting } = placeOf(origin);
      for (let line = idle.pop(); line !== undefined; line = idle.pop()) {
        if (!line.worn) return passenger.ride(line);
        line.end();
      }
      if (lines.size < connectionsMax) passenger.ride(openLine(origin));
      else waiting.push(passenger);
    },
    async close() {
      const all = [...origins.values()].flatMap(({ lines }) => [...lines]);
      await Promise.all(all.map((client) => client.destroy()));
      origins.clear();
    },
  };
}

/** Those that gave up in the meantime are passed over. */
function nextOf(waiting: Deque<Passenger>): Passenger | undefined {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) if (!next.settled) return next;
  return undefined;
}
