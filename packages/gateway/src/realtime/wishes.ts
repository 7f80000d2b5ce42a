/** What a caller may subscribe to, and what an ephemeral sub asks for in the words of the feeds. */
import { compileFilter } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import { type Caller, mayUseTopics } from '../http/access.ts';
import type { Wish } from './feeds.ts';
import { SUB_FILTER } from './filter-room.ts';
import type { SubFrame } from './frames.ts';

/** Throws where the caller may not, or it can not be so. */
export function wishOf({ topics = [], from = 'latest', filter }: SubFrame, by: Caller): Wish {
  mustSubscribe(by, topics);
  if (from === 'earliest' || (typeof from === 'object' && from.cursors === undefined))
    throw new Problem('invalid_request', 'a sub without a group begins at latest, last, or cursors', {
      advice: 'What must not miss anything is a group: it keeps its place here.',
    });
  return {
    environment: by.environment,
    app: by.app,
    topics,
    from: typeof from === 'object' ? { cursors: from.cursors ?? [] } : from,
    ...(filter === undefined ? {} : { filter: compileFilter(filter, SUB_FILTER) }),
  };
}

export function maySubscribe(caller: Caller, topics: readonly string[]): boolean {
  try {
    mustSubscribe(caller, topics);
    return true;
  } catch {
    return false;
  }
}

function mustSubscribe(caller: Caller, topics: readonly string[]): void {
  mustHave(caller, 'subscribe');
  if (topics.length === 0) throw new Problem('invalid_request', 'a sub has topics, or a group');
  for (const [at, topic] of topics.entries()) checkPattern(topic, `/topics/${at}`);
  mayUseTopics(caller, topics, '/topics');
}

export function mustHave({ admin, scopes }: Caller, scope: 'publish' | 'subscribe'): void {
  if (!admin && !scopes.includes(scope)) throw new Problem('forbidden', `this needs the scope ${scope}`);
}
