/**
 * A consumer to which order matters: it works first and acks then, as its ack is what lets the next event of the key come.
 * (Example 1 acks first: quick, but behind its ack two events of one key may be worked on at once.)
 */
import { readBody } from '../2-fetch-receiver/receiver.ts';
import type { Verify } from '../2-fetch-receiver/verify.ts';
import type { Change } from './latest.ts';

export interface ConsumerNeeds {
  readonly verify: Verify;
  /** False: older than what is there. Throws: not now. Has as long as the subscription's timeoutMs (15 s). */
  readonly apply: (change: Change) => boolean | Promise<boolean>;
  readonly onChange?: (change: Change, isNews: boolean) => void;
}

export function createConsumer({ verify, apply, onChange }: ConsumerNeeds): (request: Request) => Promise<Response> {
  return async (request) => {
    const body = await readBody(request);
    if (body === undefined) return answer(413);
    if (!(await verify(request.headers, body))) return answer(401);
    const change = changeOf(request.headers, body);
    // An event without a key has no place here. It becomes a dead letter, where somebody sees it.
    if (change === undefined) return answer(422);
    try {
      const isNews = await apply(change);
      onChange?.(change, isNews);
      // What is old is done as well: anything but 2xx would bring it back.
      return answer(204);
    } catch (error) {
      console.error(error);
      return answer(500);
    }
  };
}

const answer = (status: number): Response => new Response(null, { status });

function changeOf(headers: Headers, body: Uint8Array): Change | undefined {
  const [key, sequence] = [headers.get('ce-partitionkey'), headers.get('ce-sequence')];
  if (key === null || sequence === null) return undefined;
  // Attributes are percent-encoded in headers (CloudEvents HTTP binding, section 3.1.3.2).
  return { key: decodeURIComponent(key), sequence, data: new TextDecoder().decode(body) };
}
