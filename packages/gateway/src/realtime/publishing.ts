/** What a session publishes: some at once, each answered when it is durable. */
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { ClientFrame } from './frames.ts';
import type { SessionNeeds } from './session-needs.ts';
import type { Talk } from './talk.ts';
import { mustHave } from './wishes.ts';

interface Needs {
  readonly publish: SessionNeeds['publish'];
  readonly talk: Talk;
  readonly limits: Limits;
}

/** Rejects with what is to be said of it. */
export function createPublishing({ publish, talk, limits }: Needs) {
  let publishing = 0;

  return async ({ ref, event, idempotencyKey }: Extract<ClientFrame, { op: 'pub' }>, by: Caller): Promise<void> => {
    if (publishing >= limits.sessionPublishes)
      throw new Problem('too_many_requests', `at most ${limits.sessionPublishes} publishes of a session are open at once`, {
        retryAfterMs: 100,
      });
    publishing++;
    try {
      mustHave(by, 'publish');
      const published = await publish(by, event, idempotencyKey);
      if (talk.isOver()) return;
      if (published.status === 'refused') throw published.problem;
      talk.say({ op: 'pubed', ref, id: published.id, status: published.status });
    } finally {
      publishing--;
    }
  };
}
