/** What `GET /v1/sse` asks for: topics, and where to begin. */
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import { type Caller, mayUseTopics } from '../http/access.ts';
import { HTTP_BOUNDS } from '../http/bounds.ts';
import { FRAME_BOUNDS } from './frame-reader.ts';

export function topicsOf(caller: Caller, text: string): readonly string[] {
  const topics = text.split(',').map((one) => one.trim());
  if (text === '' || topics.length > FRAME_BOUNDS.topics)
    throw new Problem('invalid_topic', `topics are 1 to ${FRAME_BOUNDS.topics} patterns with commas between them`, {
      pointer: '/query/topics',
    });
  for (const topic of topics) checkPattern(topic, '/query/topics');
  mayUseTopics(caller, topics, '/query/topics');
  return topics;
}

export function fromOf(
  from: string | undefined,
  lastEventId: string | string[] | undefined,
): 'latest' | 'last' | { cursors: string[] } {
  if (typeof lastEventId === 'string' && lastEventId !== '')
    return { cursors: lastEventId.slice(0, HTTP_BOUNDS.lastEventIdChars).split(',') };
  if (from === undefined || from === 'latest' || from === 'last') return from ?? 'latest';
  throw new Problem('invalid_request', 'from is latest or last; where you were says the header Last-Event-ID', {
    pointer: '/query/from',
  });
}
