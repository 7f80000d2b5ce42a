/** Topic patterns as they are written by hand. */
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';

/** As checkPattern of core; where a wildcard is only a part of a token, it says so. */
export function checkWritten(pattern: string, pointer: string): void {
  const token = pattern.split('.').find((one) => one.length > 1 && /[*>]/.test(one));
  if (token === undefined) return checkPattern(pattern, pointer);
  const sign = token.includes('*') ? '*' : '>';
  throw new Problem(
    'invalid_topic',
    `the ${sign} in '${pattern.slice(0, 80)}' is a part of the token '${token.slice(0, 80)}'; it can only stand for whole ones`,
    {
      pointer,
      advice: 'Write * for one token (orders.*), or > at the end for all that follow (orders.>).',
    },
  );
}
