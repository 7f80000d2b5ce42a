/**
 * `millrace dev` is for one's own machine: its door opens for addresses of that machine alone, so that no page of the web can
 * speak to it through a browser, be it by a name that leads here (DNS rebinding) or by a request across origins.
 */
import type { FastifyInstance } from 'fastify';
import type { IncomingHttpHeaders } from 'node:http';
import { Problem } from '@millrace/core/problem';

const LOOPBACK = /^(localhost|[\w-]+\.localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

export function keepLocal(app: FastifyInstance): void {
  app.addHook('onRequest', ({ headers }, _reply, done) => {
    mustBeLocal(headers);
    done();
  });
}

/** Throws `forbidden` for a Host or an Origin that is none of this machine. */
export function mustBeLocal({ host = '', origin }: Pick<IncomingHttpHeaders, 'host' | 'origin'>): void {
  if (!LOOPBACK.test(host)) throw refused(`the Host '${host.slice(0, 80)}' is none of this machine`, OTHER_HOST);
  if (origin !== undefined && !LOOPBACK.test(origin.replace(/^https?:\/\//, '')))
    throw refused(`a page of '${origin.slice(0, 80)}' may not call it`, OTHER_PAGE);
}

const OTHER_HOST = 'Call http://127.0.0.1 with its port; to be called from elsewhere, run "millrace start".';
const OTHER_PAGE =
  'Open the page from this machine, such as http://localhost:5173; with "millrace start" pages of other origins may call, with tokens of an app that lists them.';

function refused(why: string, advice: string): Problem {
  return new Problem('forbidden', `this gateway is for its own machine: ${why}`, { advice });
}
