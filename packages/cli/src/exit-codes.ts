/** What the command ends with: a promise to scripts. Codes are only ever added. */
import type { ProblemCode } from '@millrace/core/problem';

export const EXIT = {
  ok: 0,
  unexpected: 1,
  usage: 2,
  auth: 3,
  notFound: 4,
  invalid: 5,
  conflict: 6,
  network: 7,
  partly: 8,
  interrupted: 130,
} as const;

export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** As the help of `millrace` says it. */
export const EXIT_TEXTS: readonly (readonly [Exit, string])[] = [
  [EXIT.ok, 'done'],
  [EXIT.unexpected, 'something unexpected; doctor and subscription test: a problem was found'],
  [EXIT.usage, 'the command was not understood'],
  [EXIT.auth, 'no key, a wrong one, or one that may not do this'],
  [EXIT.notFound, 'what was named is not there'],
  [EXIT.invalid, 'what was sent is not valid'],
  [EXIT.conflict, 'it is there already, or was changed in between'],
  [EXIT.network, 'the gateway can not be reached, or can not answer now'],
  [EXIT.partly, 'done in part: what was not done is named'],
  [EXIT.interrupted, 'interrupted by Ctrl-C'],
];

/** Of an answer that is no success: by its code where the status alone does not tell. */
export function exitOf(status: number, code: string | undefined): Exit {
  const byCode: { readonly [name in ProblemCode]?: Exit } = { not_redrivable: EXIT.invalid };
  const found = byCode[code as ProblemCode];
  if (found !== undefined) return found;
  if (status === 401 || status === 403) return EXIT.auth;
  if (status === 404) return EXIT.notFound;
  if (status === 409 || status === 412) return EXIT.conflict;
  if (status === 429 || (status > 500 && status < 600)) return EXIT.network;
  return status >= 400 && status < 500 ? EXIT.invalid : EXIT.unexpected;
}
