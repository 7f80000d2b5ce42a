/**
 * The token of one attempt, by which its receiver may report later that it failed after all. Nothing of it is kept: it says which attempt
 * it is of and until when it counts, and the mark below that can only be made with the key of this gateway, on any of its nodes.
 */
import { timingSafeEqual } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import type { Reported } from '../api.ts';
import { createHmacSha256 } from '../hmac.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Vault } from '../vault.ts';

export interface FailureTokens {
  /** For the delivery with this id. */
  make(id: string, attempt: Pick<Reported, 'n' | 'before'>): string;
  /** Of the delivery with this id. Throws `unauthorized`, or `token_expired`. */
  read(id: string, token: string | undefined): Reported;
}

interface Needs {
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
}

const PURPOSE = 'millrace: reports of failed deliveries, 1';
const NOTHING = new Uint8Array(0);
const TOKEN = /^((\d{1,9})\.(\d{1,9})\.([0-9a-z]{1,9}))\.([0-9a-f]{64})$/;

export function createFailureTokens({ vault, clock, limits }: Needs): FailureTokens {
  const [make, ...former] = vault.derived(PURPOSE).map(createHmacSha256);
  const all = [make, ...former].filter((one) => one !== undefined);

  return {
    make(id, { n, before }) {
      const untilSeconds = Math.ceil((clock.now() + limits.failedMs) / 1_000);
      const said = `${n}.${before}.${untilSeconds.toString(36)}`;
      return `${said}.${all[0]?.(`${id}\n${said}`, NOTHING, 'hex')}`;
    },
    read(id, token = '') {
      const [, said = '', n, before, until = '', mark = ''] = TOKEN.exec(token) ?? [];
      // The id is as somebody wrote it: what no delivery is called can't have been marked.
      const isOurs = mark !== '' && all.some((mac) => isEqual(mac(`${id}\n${said}`, NOTHING, 'hex'), mark));
      if (!isOurs)
        throw new Problem(
          'unauthorized',
          'a failure is reported with the token that came with the delivery, and that is none of it',
          {
            advice:
              'Send "Authorization: Bearer" with the second word of its header millrace-failed, to the address that is the first.',
          },
        );
      const untilMs = Number.parseInt(until, 36) * 1_000;
      if (untilMs <= clock.now())
        throw new Problem('token_expired', 'what came of this delivery can not be reported any more', {
          advice: 'Retry it by its id, with a key: millrace delivery retry.',
        });
      return { n: Number(n), before: Number(before), madeMs: untilMs - limits.failedMs };
    },
  };
}

/** In the same time, wherever they differ. */
function isEqual(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'latin1'), Buffer.from(other, 'latin1'));
}
