/**
 * The HTTP door: Fastify over what the gateway offers. One route file per resource; here they meet, and here every error
 * becomes a problem (RFC 9457).
 */
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { Socket } from 'node:net';
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '../api.ts';
import { type Limits, LIMITS } from '../limits.ts';
import { createOwnTurns } from '../pace.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Scope } from '../ports/directory.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Vault } from '../vault.ts';
import { type Access, type Caller, createAccess } from './access.ts';
import { appRoutes } from './apps.ts';
import { refuseCompressed, takeAnyBody, takeJson } from './bodies.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { deliveryRoutes } from './deliveries.ts';
import { eventRoutes } from './events.ts';
import { problemOfFindings } from './findings.ts';
import { healthRoutes } from './health.ts';
import { keyRoutes } from './keys.ts';
import { keepLocal } from './local.ts';
import { operationRoutes } from './operations.ts';
import { cutLateBodies } from './late.ts';
import { refuseOtherMethods, watchRoutes } from './methods.ts';
import { documentRoute } from './openapi/route.ts';
import { answerSocket, problemOf, problemOfConnection } from './problems.ts';
import { createPublish, type Undeclared } from './publish.ts';
import { readEventRoutes } from './read-events.ts';
import { answerRepeats } from './repeats.ts';
import { subscriptionRoutes } from './subscriptions.ts';
import { topicRoutes } from './topics.ts';

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
  /** Without it there is no /metrics. */
  readonly metrics?: { readonly contentType: string; readonly text: () => Promise<string>; readonly isPublic: boolean };
  /** Told of errors nobody expected; their askers get `internal_error`. */
  readonly onError?: (error: unknown) => void;
}

/** What the route files share. */
export interface RouteNeeds extends HttpNeeds {
  readonly limits: Limits;
  readonly access: Access;
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

/** Resolves when the app can be asked, by `inject` or after `listen`. The gateway must have been started. */
export async function createApp(given: HttpNeeds): Promise<FastifyInstance> {
  const { limits = LIMITS } = given;
  const needs = { ...given, limits };
  const access = await createAccess(needs);
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
    clientErrorHandler: (error, socket) => answerConnection(error, socket, limits),
    frameworkErrors: (error, _request, reply) => answerProblem(reply as FastifyReply, problemOf(error) ?? unexpected(error)),
  });
  app.server.maxConnections = limits.connections;
  // Schemas of answers are for the document and its tests: they must not drop what they do not know.
  app.setSerializerCompiler(() => JSON.stringify);

  function unexpected(error: unknown): Problem {
    needs.onError?.(error);
    return new Problem('internal_error', 'something unexpected happened; it was logged');
  }

  app.setErrorHandler((error, request, reply) =>
    answerProblem(reply, problemOf(error, request.routeOptions.bodyLimit) ?? unexpected(error)),
  );
  app.setNotFoundHandler((request, reply) =>
    answerProblem(
      reply,
      new Problem('not_found', `there is nothing at ${request.url.slice(0, 200)}`, {
        advice: 'The resources are under /v1: events, topics, apps, subscriptions, deliveries, dead-letters (see the README).',
      }),
    ),
  );
  if (needs.isLocal === true) keepLocal(app);
  app.addHook('onRequest', (request, _reply, done) => {
    const { allow } = request.routeOptions.config;
    if (allow !== undefined) request.caller = access.check(request.headers.authorization, allow);
    done();
  });
  refuseCompressed(app);
  cutLateBodies(app, needs);
  app.addHook('onClose', () => access.stop());
  const routes = watchRoutes(app);
  // Also where there is nothing: a body that can't be read must not stand before saying so.
  takeAnyBody(app);

  const all: RouteNeeds = { ...needs, access };
  const publish = createPublish(all);
  await app.register(async (scope) => {
    takeAnyBody(scope);
    eventRoutes(scope, { publish, ownTurn: createOwnTurns(needs.clock) });
  });
  await app.register(async (scope) => {
    takeJson(scope, limits);
    answerRepeats(scope, needs);
    for (const add of [
      readEventRoutes,
      topicRoutes,
      appRoutes,
      keyRoutes,
      subscriptionRoutes,
      deliveryRoutes,
      deadLetterRoutes,
      operationRoutes,
      healthRoutes,
    ])
      add(scope, all);
    documentRoute(scope, { version: needs.version, routes });
  });
  refuseOtherMethods(app, routes);
  return app;
}

function answerProblem(reply: FastifyReply, problem: Problem): void {
  if (problem.retryAfterMs !== undefined) void reply.header('retry-after', String(Math.ceil(problem.retryAfterMs / 1_000)));
  if (problem.code === 'unauthorized') void reply.header('www-authenticate', 'Bearer realm="millrace"');
  void reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem));
}

/** There is no request yet, or no reply any more. */
function answerConnection(error: Error, socket: Socket, limits: Limits): void {
  const problem = problemOfConnection(error, limits);
  if (problem === undefined) socket.destroy();
  else answerSocket(socket, problem);
}
