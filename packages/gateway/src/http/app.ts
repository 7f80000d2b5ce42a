/**
 * The HTTP door: Fastify over what the gateway offers. One route file per resource; here they meet, and here every error
 * becomes a problem (RFC 9457).
 */
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { Socket } from 'node:net';
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '../api.ts';
import { type Limits, LIMITS } from '../limits.ts';
import { createOwnTurns, type OwnTurn } from '../pace.ts';
import type { Clock } from '../ports/clock.ts';
import type { App, Directory, Scope } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import { Elsewhere } from '../look-up.ts';
import { openQuotas, type Quotas } from '../quotas/quotas.ts';
import { openReleases, type Releases } from '../sdk/releases.ts';
import type { TelemetrySink } from '../telemetry/telemetry-metrics.ts';
import { createOrigins, type Origins } from '../tokens/origins.ts';
import { createTokens, type Tokens } from '../tokens/tokens.ts';
import type { Vault } from '../vault.ts';
import { type Access, type Caller, createAccess } from './access.ts';
import { appRoutes } from './apps.ts';
import { answerPages, pageRefusal } from './cors.ts';
import { refuseCompressed, takeAnyBody, takeJson } from './bodies.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { checkRoutes } from './checks.ts';
import { answerAndClose, answerSocket, type Closing, endConnectionsOnClose, isBodyComing } from './closing.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { deliveryRoutes } from './deliveries.ts';
import { failedRoutes } from './deliveries-failed.ts';
import { eventRoutes } from './events.ts';
import { problemOfFindings } from './findings.ts';
import { follow, type Followed, placeOf } from './followed.ts';
import { createForward } from './forward.ts';
import { healthRoutes } from './health.ts';
import { keyRoutes } from './keys.ts';
import { keepLocal } from './local.ts';
import { operationRoutes } from './operations.ts';
import { cutLateBodies } from './late.ts';
import { refuseOtherMethods, watchRoutes } from './methods.ts';
import { takeOneAtATime } from './one-at-a-time.ts';
import { documentRoute } from './openapi/route.ts';
import { problemOf, problemOfConnection } from './problems.ts';
import { createPublish, type Undeclared } from './publish.ts';
import { readEventRoutes } from './read-events.ts';
import { rejectRoutes } from './rejects.ts';
import { answerRepeats, type UnderWay } from './repeats.ts';
import { keepQuotas } from './rate-limits.ts';
import { createRoom } from './room.ts';
import { realtimeDoor } from '../realtime/door.ts';
import { isStreamUpgrade, STREAM_PATH } from '../realtime/websocket.ts';
import { sdkRoutes } from './sdk.ts';
import { checkSealed, createSignatures } from './signed.ts';
import { subscriptionRoutes } from './subscriptions.ts';
import { telemetryRoutes } from './telemetry.ts';
import { tokenRoutes } from './tokens.ts';
import { topicRoutes } from './topics.ts';
import { answerInPieces, cutUnread } from './unread.ts';

export interface HttpNeeds {
  readonly gateway: Gateway;
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly version: string;
  /** Whether events are taken and delivered: what /readyz says. */
  readonly isReady: () => boolean;
  /** What becomes of an event of an undeclared topic. Default: it is refused. */
  readonly undeclared?: Undeclared;
  readonly limits?: Limits;
  /** Answers this machine alone: no other Host, no page of another origin. */
  readonly isLocal?: boolean;
  /** What realtime clients are told this node is called. */
  readonly node?: string;
  /** Without it there is no /metrics. */
  readonly metrics?: { readonly contentType: string; readonly text: () => Promise<string>; readonly isPublic: boolean };
  /** What clients report goes there; without it nowhere. */
  readonly telemetry?: TelemetrySink;
  /** Is given what tells how much realtime sessions have not taken yet, bytes. */
  readonly onUnsent?: (of: () => number) => void;
  /** In a cluster: where the subscription with this uid is worked; undefined where nobody knows now. */
  readonly addressOf?: (uid: string) => string | undefined;
  /** Resolves when that may be another, or can answer what it could not. */
  readonly changed?: () => Promise<void>;
  /** Where workers share a store: takes in what others have changed by now, so that whoever was told of it finds it here. */
  readonly hear?: () => void;
  /** Idempotency keys that any worker is at. */
  readonly underWay?: UnderWay;
  /** What the SDK that is served is made from. Default: the one of this tree. */
  readonly sdkSource?: URL;
  /** Told of errors nobody expected; their askers get `internal_error`. */
  readonly onError?: (error: unknown) => void;
}

/** What the route files share. */
export interface RouteNeeds extends HttpNeeds {
  readonly limits: Limits;
  readonly access: Access;
  readonly tokens: Tokens;
  readonly origins: Origins;
  readonly quotas: Quotas;
  /** By place. */
  readonly apps: Followed<App>;
  readonly releases: Releases;
  /** For whatever takes milliseconds. */
  readonly ownTurn: OwnTurn;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A key needs one of these scopes (or `admin`, which may do everything). Without it anybody may ask. */
    readonly allow?: readonly Scope[];
  }
  interface FastifyRequest {
    /** Set on every route with `allow`. */
    caller: Caller;
  }
}

const AGAIN_MS = 1_000;

/** Resolves when the app can be asked, by `inject` or after `listen`. The gateway must have been started. */
export async function createApp(given: HttpNeeds): Promise<FastifyInstance> {
  const { limits = LIMITS } = given;
  const needs = { ...given, limits };
  await checkSealed(needs.directory, needs.vault);
  const apps = await follow(needs.directory, 'app', (_app, place) => placeOf(place));
  const tokens = await createTokens({ ...needs, apps });
  const access = await createAccess({ ...needs, tokens });
  const ownTurn = createOwnTurns(needs.clock);
  const signatures = createSignatures({ ...needs, access, ownTurn });
  const origins = createOrigins(apps);
  const quotas = await openQuotas({ ...needs, apps });
  const releases = await openReleases({ ...needs, apps, source: needs.sdkSource });
  const app = Fastify({
    logger: false,
    bodyLimit: limits.bodyBytes,
    // Of the whole server; a stream of lines has no end (see late.ts).
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveMs,
    http: {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersMs,
      connectionsCheckingInterval: limits.lateCheckMs,
      shouldUpgradeCallback: isStreamUpgrade,
    },
    routerOptions: { maxParamLength: HTTP_BOUNDS.addressPartChars },
    exposeHeadRoutes: false,
    // While it closes, who is connected still gets a real answer; the gateway is stopped after the door.
    return503OnClosing: false,
    // What was sent is taken as it is or refused: nothing is cut off, converted or filled in.
    ajv: {
      customOptions: {
        removeAdditional: false,
        coerceTypes: false,
        useDefaults: false,
        allowUnionTypes: true,
        // For the sentences of findings.ts.
        verbose: true,
        keywords: ['means'],
      },
    },
    schemaErrorFormatter: problemOfFindings,
    clientErrorHandler: (error, socket) => answerConnection(error, socket, needs),
    frameworkErrors: (error, _request, reply) =>
      answerProblem(reply as FastifyReply, problemOf(error) ?? unexpected(error), needs),
  });
  app.server.maxConnections = limits.connections;
  // Schemas of answers are for the document and its tests: they must not drop what they do not know.
  app.setSerializerCompiler(() => JSON.stringify);

  function unexpected(error: unknown): Problem {
    needs.onError?.(error);
    return new Problem('internal_error', 'something unexpected happened; it was logged');
  }

  const forward = createForward(needs);
  app.setErrorHandler(async (error, request, reply) => {
    if (error instanceof Elsewhere && (await forward(error, request, reply))) return reply;
    answerProblem(reply, problemOf(error) ?? unexpected(error), needs);
    return reply;
  });
  app.setNotFoundHandler(({ url }, reply) => answerProblem(reply, nothingAt(url), needs));
  app.addHook('onRequest', ({ raw: { url = '' } }, _reply, done) => {
    // In absolute form (RFC 9112, section 3.2.2) it is for proxies, and this is none.
    if (!url.startsWith('/') && url !== '*')
      throw new Problem('invalid_request', 'the target of the request is no path of this gateway', {
        advice: 'Send the path alone, without scheme and host: this gateway is no proxy.',
      });
    done();
  });
  const { hear } = needs;
  if (hear !== undefined)
    app.addHook('onRequest', (_request, _reply, done) => {
      hear();
      // Whoever follows the directory is told in a microtask.
      queueMicrotask(done);
    });
  endConnectionsOnClose(app);
  takeOneAtATime(app);
  cutLateBodies(app, needs);
  cutUnread(app, needs);
  if (needs.isLocal === true) keepLocal(app);
  answerPages(app, origins);
  // Whatever can be refused is refused here, before anything of a body is read.
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) throw nothingAt(request.url);
    const { allow, takes } = request.routeOptions.config;
    if (allow === undefined) return done();
    if (signatures.begin(request, reply)) return done();
    const letIn = (caller: Caller): void => {
      request.caller = caller;
      done(pageRefusal(request, reply, origins));
    };
    const caller = access.check(request.headers.authorization, allow, takes);
    if (caller instanceof Promise) void caller.then(letIn, done);
    else letIn(caller);
  });
  app.addHook('preValidation', (request, _reply, done) => {
    // No promise for the many that are not signed.
    if (request.signed === undefined) return done();
    void signatures.verify(request, request.signed).then(() => done(), done);
  });
  keepQuotas(app, quotas);
  refuseCompressed(app);
  app.addHook('onClose', async () => {
    access.stop();
    tokens.stop();
    await quotas.stop();
    releases.stop();
    apps.stop();
  });
  // Who asks first is told to go on when its body is going to be read (bodies.ts), and not before a refusal.
  app.server.on('checkContinue', (request, response) => app.routing(request, response));
  const routes = watchRoutes(app);
  app.removeAllContentTypeParsers();

  const all: RouteNeeds = { ...needs, access, tokens, origins, quotas, apps, releases, ownTurn };
  const publish = createPublish(all);
  const room = createRoom(limits.bodiesBytes);
  const answers = createRoom(limits.answersBytes);
  await app.register(async (scope) => {
    takeAnyBody(scope, room, createRoom(limits.signedBytes));
    answerInPieces(scope, answers);
    eventRoutes(scope, { publish, ownTurn });
  });
  await app.register(async (scope) => {
    takeJson(scope, { limits, room });
    answerRepeats(scope, needs);
    answerInPieces(scope, answers);
    for (const add of [
      readEventRoutes,
      topicRoutes,
      rejectRoutes,
      appRoutes,
      keyRoutes,
      tokenRoutes,
      subscriptionRoutes,
      deliveryRoutes,
      failedRoutes,
      deadLetterRoutes,
      operationRoutes,
      healthRoutes,
      checkRoutes,
      sdkRoutes,
      telemetryRoutes,
    ])
      add(scope, all);
    documentRoute(scope, { version: needs.version, routes });
  });
  const { unsent } = await realtimeDoor(app, { ...all, publish, room, answers });
  needs.onUnsent?.(unsent.bytes);
  refuseOtherMethods(app, routes);
  return app;
}

function answerProblem(reply: FastifyReply, problem: Problem, closing: Closing): void {
  // What is away or full now may work in a moment, whoever says so (RFC 9110, section 15.6.4).
  const { retryAfterMs = problem.status === 503 ? AGAIN_MS : undefined } = problem;
  if (retryAfterMs !== undefined) void reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  if (problem.status === 401) void reply.header('www-authenticate', challengeOf(problem));
  if (isBodyComing(reply.request, closing.limits)) return answerAndClose(reply, problem, closing);
  // Set by Fastify where a body was refused. What little comes of it is thrown away.
  void reply.removeHeader('connection');
  void reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

/** RFC 6750, section 3.1. */
function challengeOf({ code }: Problem): string {
  return `Bearer realm="millrace"${code === 'unauthorized' ? '' : ', error="invalid_token"'}`;
}

/** There is no request yet, or no reply any more. */
function answerConnection(error: Error, socket: Socket, closing: Closing): void {
  const problem = problemOfConnection(error, closing.limits);
  if (problem === undefined) return void socket.destroy();
  // What still comes is of no use to anybody.
  if (answerSocket(socket, problem, closing)) socket.destroySoon();
}

function nothingAt(url: string): Problem {
  if (url.split('?')[0] === STREAM_PATH)
    return new Problem('invalid_request', `${STREAM_PATH} is for WebSockets, and this request does not ask to become one`, {
      advice:
        'If your client did ask (Upgrade: websocket), a proxy has taken it away: let it through, or use /v1/sse or /v1/pull.',
    });
  return new Problem('not_found', `there is nothing at ${url.slice(0, 200)}`, {
    advice:
      'The resources are under /v1: events, topics, apps, tokens, subscriptions, deliveries, dead-letters, sse, stream, pull (see the README).',
  });
}
