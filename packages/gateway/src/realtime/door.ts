/** The realtime door: sessions behind each of their transports, on the server of the HTTP door. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { Problem } from '@millrace/core/problem';
import type { Gateway } from '../api.ts';
import type { Access } from '../http/access.ts';
import { mustBeLocal } from '../http/local.ts';
import type { Publish } from '../http/publish.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Admitted, SessionNeeds } from './session.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { websocketDoor } from './websocket.ts';

interface Needs {
  readonly gateway: Gateway;
  readonly access: Access;
  readonly publish: Publish;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly isLocal?: boolean;
  readonly node?: string;
  readonly onError?: (error: unknown) => void;
}

export function realtimeDoor(app: FastifyInstance, needs: Needs): Sessions {
  const { gateway, access, publish, clock, limits, isLocal = false, node = '', onError = () => undefined } = needs;
  const sessions = createSessions({
    feeds: gateway.feeds,
    publish: async (caller, event, idempotencyKey) => {
      const [published] = await publish(caller, [event], idempotencyKey);
      if (published === undefined) throw new Problem('internal_error', 'a publish was not answered');
      return published;
    },
    clock,
    limits,
    node,
    log: gateway.feeds.log,
    onError,
  });

  /** Of the first frame, or, from clients that can set headers, of the request. */
  function admitFor({ headers: { authorization, origin } }: IncomingMessage): SessionNeeds['admit'] {
    return (token) => {
      const header = token === undefined ? authorization : `Bearer ${token}`;
      const caller = access.check(header, ['publish', 'subscribe']);
      const admitted: Admitted = { caller, ...access.lifeOf(caller) };
      // What stands in a page anybody can read there. On one's own machine it is one's own page.
      if (origin !== undefined && !isLocal && !access.isToken(header))
        throw new Problem('forbidden', 'a page connects with a token, not with a key', { advice: 'POST /v1/tokens makes them.' });
      return admitted;
    };
  }

  websocketDoor(app, {
    sessions,
    limits,
    checkClient: ({ headers }) => {
      if (isLocal) mustBeLocal(headers);
    },
    admitFor,
  });
  return sessions;
}
