/**
 * The endpoints: who answers what, changing over time. An endpoint works on a request before its answer is on the way,
 * so a crash may lose an answer that was a 2xx.
 */
import type { SendError, Sender, SendRequest, SendResult } from '@millrace/gateway/ports/sender';
import type { Random } from './random.ts';
import type { Life, World } from './world.ts';

/** One request and what came of it. */
export interface Exchange {
  readonly number: number;
  readonly life: Life;
  readonly request: SendRequest;
  readonly host: string;
  readonly startedMs: number;
  readonly startedWallMs: number;
  readonly body: Told;
  endedMs?: number;
  endedWallMs?: number;
  /** What wall time had been jumped by then. */
  endedJumpedMs?: number;
  result?: SendResult;
  /** The endpoint answered 2xx, whether or not the gateway got to hear it. */
  accepted: boolean;
}

/** What every payload of the workload says about its event. */
export interface Told {
  readonly n: number;
  readonly topic: string;
  readonly key?: string;
}

type Mood =
  | { readonly kind: 'healthy' | 'slow'; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: 'failing'; readonly rate: number; readonly status: number }
  | { readonly kind: 'down'; readonly error: SendError }
  | { readonly kind: 'throttling'; readonly rate: number; readonly retryAfterMs?: number }
  | { readonly kind: 'rejecting'; readonly rate: number; readonly status: number }
  | { readonly kind: 'hanging' };

interface Endpoint {
  readonly host: string;
  readonly random: Random;
  mood: Mood;
  /** Events that always fail here, until all is healed. */
  poison?: { readonly topic: string } | { readonly key: string };
}

export interface Endpoints {
  sender(life: Life): Sender;
  /** What is under way in a life that has ended reached its endpoint, or not. */
  crash(life: Life): void;
  /** Everybody works from now on. */
  heal(): void;
  inFlight(): number;
}

export interface EndpointOptions {
  readonly world: World;
  /** How restless: mean time between two moods of an endpoint. */
  readonly moodMs: number;
  readonly poisonRate: number;
  readonly poisons: readonly ({ readonly topic: string } | { readonly key: string })[];
  readonly onSent: (exchange: Exchange) => void;
  /** The endpoint has answered a process that is frozen, which hears of it later. */
  readonly onUnheard: (exchange: Exchange) => void;
  readonly onAnswered: (exchange: Exchange) => void;
  readonly onGhost: (what: string) => void;
}

const HEALTHY: Mood = { kind: 'healthy', fromMs: 1, toMs: 15 };
const decoder = new TextDecoder();

export function createEndpoints(options: EndpointOptions): Endpoints {
  const { world, moodMs, poisonRate, poisons, onSent, onUnheard, onAnswered, onGhost } = options;
  const endpoints = new Map<string, Endpoint>();
  const under = new Set<Exchange>();
  /** Answered, and not heard of yet. */
  const unheard = new Map<Exchange, SendResult>();
  const random = world.random.fork('endpoints');
  let healed = false;
  let count = 0;

  function endpointAt(host: string): Endpoint {
    return endpoints.getOrInsertComputed(host, () => {
      const own = random.fork(host);
      const poison = !healed && own.chance(poisonRate) ? own.pick(poisons) : undefined;
      const endpoint: Endpoint = { host, random: own, mood: HEALTHY, ...(poison === undefined ? {} : { poison }) };
      if (!healed) world.at(own.gap(moodMs), `${host} changes`, () => change(endpoint));
      return endpoint;
    });
  }

  function change(endpoint: Endpoint): void {
    if (healed) return;
    endpoint.mood = endpoint.random.chance(0.45) ? HEALTHY : badMood(endpoint.random);
    world.trace.note(`${endpoint.host} is ${JSON.stringify(endpoint.mood)}`);
    world.at(endpoint.random.gap(moodMs), `${endpoint.host} changes`, () => change(endpoint));
  }

  function end(exchange: Exchange, result: SendResult): void {
    exchange.endedMs = world.monotonic();
    exchange.endedWallMs = world.now() + exchange.life.skewMs;
    exchange.endedJumpedMs = world.jumpedMs();
    exchange.result = result;
    exchange.accepted = isAccepted(result);
    under.delete(exchange);
    onAnswered(exchange);
  }

  function send(life: Life, request: SendRequest): Promise<SendResult> {
    if (!life.alive) {
      onGhost(`sent to ${request.url}`);
      return new Promise(() => {});
    }
    const endpoint = endpointAt(new URL(request.url).host);
    const exchange: Exchange = {
      number: ++count,
      life,
      request,
      host: endpoint.host,
      startedMs: world.monotonic(),
      startedWallMs: world.now() + life.skewMs,
      body: toldBy(request.body),
      accepted: false,
    };
    under.add(exchange);
    onSent(exchange);
    const { afterMs, result } = answerOf(endpoint, exchange);
    return new Promise((resolve) => {
      const settle = (): void => {
        end(exchange, result);
        resolve(result);
      };
      const arrive = (): void => {
        if (!life.isFrozen) return settle();
        unheard.set(exchange, result);
        exchange.accepted = isAccepted(result);
        onUnheard(exchange);
        world.at(0, `#${exchange.number} is heard of`, () => unheard.delete(exchange) && settle(), life);
      };
      world.at(
        afterMs,
        `#${exchange.number} ${endpoint.host} answers event ${exchange.body.n}: ${'status' in result ? result.status : result.error}`,
        arrive,
        life,
        'outside',
      );
    });
  }

  return {
    sender: (life) => ({ send: (request) => send(life, request), close: async () => undefined }),
    crash(life) {
      for (const exchange of under) {
        if (exchange.life !== life) continue;
        const endpoint = endpointAt(exchange.host);
        const known = unheard.get(exchange);
        unheard.delete(exchange);
        if (known !== undefined) {
          end(exchange, known);
          continue;
        }
        const { result } = answerOf(endpoint, exchange);
        end(exchange, endpoint.random.chance(0.5) ? result : { error: 'aborted', detail: 'the gateway died', durationMs: 0 });
        world.trace.note(`crash: #${exchange.number} event ${exchange.body.n} was ${exchange.accepted ? 'accepted' : 'lost'}`);
      }
    },
    heal() {
      healed = true;
      for (const endpoint of endpoints.values()) {
        endpoint.mood = HEALTHY;
        delete endpoint.poison;
      }
    },
    inFlight: () => under.size,
  };
}

function isAccepted(result: SendResult): boolean {
  return 'status' in result && result.status >= 200 && result.status < 300;
}

function badMood(random: Random): Mood {
  const moods: readonly (() => Mood)[] = [
    () => ({ kind: 'slow', fromMs: 100, toMs: 1_500 }),
    () => ({ kind: 'failing', rate: random.pick([0.3, 0.6, 1]), status: random.pick([500, 502, 503]) }),
    () => ({ kind: 'down', error: random.pick<SendError>(['refused', 'refused', 'dns', 'tls', 'reset', 'connect_timeout']) }),
    () => ({
      kind: 'throttling',
      rate: random.pick([0.3, 1]),
      ...(random.chance(0.8) ? { retryAfterMs: random.int(1, 8) * 250 } : {}),
    }),
    () => ({ kind: 'rejecting', rate: random.pick([0.2, 0.5]), status: random.pick([400, 404, 422]) }),
    () => ({ kind: 'hanging' }),
  ];
  return random.pick(moods)();
}

function answerOf(
  { mood, poison, random }: Endpoint,
  { request, body }: Exchange,
): { readonly afterMs: number; readonly result: SendResult } {
  const quickMs = random.between(1, 20);
  const answer = (status: number, afterMs = quickMs, more: { retryAfterMs?: number } = {}) =>
    afterMs >= request.timeoutMs
      ? {
          afterMs: request.timeoutMs,
          result: { error: 'timeout' as const, detail: 'no answer in time', durationMs: request.timeoutMs },
        }
      : { afterMs, result: { status, durationMs: Math.round(afterMs), snippet: `status ${status}`, ...more } };

  if (poison !== undefined && ('topic' in poison ? poison.topic === body.topic : poison.key === body.key)) return answer(500);
  switch (mood.kind) {
    case 'healthy':
    case 'slow':
      return answer(random.pick([200, 200, 202, 204]), random.between(mood.fromMs, mood.toMs));
    case 'failing':
      return answer(random.chance(mood.rate) ? mood.status : 200);
    case 'rejecting':
      return answer(random.chance(mood.rate) ? mood.status : 200);
    case 'throttling':
      return random.chance(mood.rate)
        ? answer(429, quickMs, mood.retryAfterMs === undefined ? {} : { retryAfterMs: mood.retryAfterMs })
        : answer(200);
    case 'down':
      return { afterMs: random.between(1, 40), result: { error: mood.error, detail: 'down', durationMs: 1 } };
    case 'hanging':
      return answer(200, request.timeoutMs);
  }
}

/** The payload alone, or in a CloudEvent. */
function toldBy(body: Uint8Array): Told {
  const parsed = JSON.parse(decoder.decode(body)) as Told | { readonly data: Told };
  return 'data' in parsed ? parsed.data : parsed;
}
