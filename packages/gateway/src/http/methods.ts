/** The addresses there are, and which methods each of them takes. */
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods, RouteOptions } from 'fastify';
import { Problem } from '@millrace/core/problem';

const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** All routes, in the order in which they are added from now on. */
export function watchRoutes(app: FastifyInstance): readonly RouteOptions[] {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void routes.push(route));
  return routes;
}

/** An address that exists says which methods it takes, to those who try another. */
export function refuseOtherMethods(app: FastifyInstance, routes: readonly RouteOptions[]): void {
  const taken = new Map<string, HTTPMethods[]>();
  for (const { url, method } of routes) taken.set(url, [...(taken.get(url) ?? []), ...[method].flat()]);
  for (const [url, methods] of taken) {
    const allow = methods.join(', ');
    const refuse = async (_request: FastifyRequest, reply: FastifyReply): Promise<never> => {
      void reply.header('allow', allow);
      throw new Problem('method_not_allowed', `this address takes ${allow}`);
    };
    const others = METHODS.filter((method) => !methods.includes(method));
    app.route({ method: others, url, config: { undescribed: true }, onRequest: refuse, handler: refuse });
  }
}
