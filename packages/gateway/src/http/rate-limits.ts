/** Quotas at the door: what is too much is refused before anything of its body is read, and answers say what is left. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Entered, Quotas } from '../quotas/quotas.ts';
import { isLines } from './lines.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** It stores events, which count. */
    readonly publishes?: boolean;
  }
  interface FastifyRequest {
    /** Of a request that publishes: what was taken of the app's quotas for it. */
    entered?: Entered;
  }
}

export function keepQuotas(app: FastifyInstance, quotas: Quotas): void {
  const isCounted = ({ routeOptions, signed }: FastifyRequest, isSigned: boolean): boolean =>
    routeOptions.config.publishes === true && (signed !== undefined) === isSigned;
  app.addHook('onRequest', (request, reply, done) => {
    if (isCounted(request, false)) enter(request, reply);
    done();
  });
  // Whose a signed request is, its body tells: nobody else may use up what the app has.
  app.addHook('preValidation', (request, reply, done) => {
    if (isCounted(request, true)) enter(request, reply);
    done();
  });

  function enter(request: FastifyRequest, reply: FastifyReply): void {
    try {
      request.entered = quotas.enter(ownerOf(request), sizeOf(request));
    } catch (error) {
      // Also of an answer that is written by hand (closing.ts).
      tell(request, reply);
      throw error;
    }
  }
  app.addHook('onSend', (request, reply, payload, done) => {
    if (request.entered !== undefined) tell(request, reply);
    done(null, payload);
  });

  function tell(request: FastifyRequest, reply: FastifyReply): void {
    void reply.headers(quotas.headers(ownerOf(request)));
  }
}

function ownerOf({ caller: { environment, app } }: FastifyRequest): { readonly environment: string; readonly id: string } {
  return { environment, id: app };
}

/** One event at least; of a stream of lines each is counted as it comes. */
function sizeOf(request: FastifyRequest): Entered {
  if (isLines(request)) return { events: 0, bytes: 0 };
  return { events: 1, bytes: Number(request.headers['content-length'] ?? 0) || 0 };
}
