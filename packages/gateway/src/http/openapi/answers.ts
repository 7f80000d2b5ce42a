/** What a call may be answered with: its own answers, and problems by status. */
import { type ProblemCode, PROBLEMS } from '@millrace/core/problem';
import { type Asked, byStatus, codesOf, isRepeatable } from './codes.ts';
import { PROBLEM } from './problem.ts';
import type { Show } from './showing.ts';
import type { Media, Said } from './types.ts';

export interface Making {
  readonly show: Show;
  /** Of problems, by name; filled as they come. */
  readonly responses: Record<string, object>;
}

export function answersOf(asked: Asked, making: Making): Readonly<Record<string, object>> {
  return { ...goodOf(asked, making.show), ...problemsOf(asked, making) };
}

export function contentOf(content: Readonly<Record<string, Media>>, show: Show): object {
  return Object.fromEntries(Object.entries(content).map(([type, media]) => [type, { ...media, schema: show(media.schema) }]));
}

const REPLAYED = { description: '`true`: it is the answer of the first time.', schema: { const: 'true' } };

function goodOf(asked: Asked, show: Show): Readonly<Record<string, object>> {
  const repeated = isRepeatable(asked) ? { 'Idempotency-Replayed': REPLAYED } : {};
  const answerOf = ({ description, headers, content }: Said): object => {
    const all = { ...headers, ...repeated };
    return {
      description,
      ...(Object.keys(all).length === 0 ? {} : { headers: all }),
      ...(content === undefined ? {} : { content: contentOf(content, show) }),
    };
  };
  return Object.fromEntries(
    Object.entries(asked.call.response).map(([status, said]: [string, Said]) => [status, answerOf(said)]),
  );
}

function problemsOf(asked: Asked, { show, responses }: Making): Readonly<Record<string, object>> {
  const { refusedAs } = asked.call;
  const answerOf = (status: number, codes: readonly ProblemCode[]): object => {
    const response = problemResponse(status, codes, show);
    if (refusedAs !== undefined && status !== 401)
      return { ...response, content: { ...response.content, ...contentOf({ 'application/json': refusedAs }, show) } };
    const name = codes.join('.');
    responses[name] = response;
    return { $ref: `#/components/responses/${name}` };
  };
  return Object.fromEntries([...byStatus(codesOf(asked))].map(([status, codes]) => [status, answerOf(status, codes)]));
}

const RETRY_AFTER = {
  description: 'Seconds after which to try again, where that can be said.',
  schema: { type: 'string', pattern: '^\\d+$' },
};
const CHALLENGE = { description: 'How to say who asks.', required: true, schema: { type: 'string' } };
const TRIED_AGAIN: ReadonlySet<number> = new Set([409, 429, 503]);

function problemResponse(
  status: number,
  codes: readonly ProblemCode[],
  show: Show,
): { readonly description: string; readonly content: object } {
  const headers = {
    ...(TRIED_AGAIN.has(status) ? { 'Retry-After': RETRY_AFTER } : {}),
    ...(status === 401 ? { 'WWW-Authenticate': CHALLENGE } : {}),
  };
  const only = { type: 'object', properties: { status: { const: status }, code: { enum: codes } } };
  return {
    description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code][1]}.`).join(' '),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    content: { 'application/problem+json': { schema: show({ allOf: [PROBLEM, only] }) } },
  };
}
