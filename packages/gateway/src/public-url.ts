/** Where the gateway is reached from outside: what it writes into deliveries, for receivers to call back. */
import { Problem } from '@millrace/core/problem';
import type { StartOptions } from './options.ts';

/** A part of a header of each delivery. */
const CHARS_MAX = 512;

/** As it was set, without a slash at its end. Throws `invalid_request`. */
export function publicUrlOf({ publicUrl: text }: Pick<StartOptions, 'publicUrl'>): string | undefined {
  if (text === undefined) return undefined;
  const url = text.length > CHARS_MAX ? null : URL.parse(text);
  const isPlain =
    url !== null && /^https?:$/.test(url.protocol) && `${url.username}${url.password}${url.search}${url.hash}` === '';
  if (!isPlain)
    throw new Problem('invalid_request', `"${text.slice(0, 80)}" is no address under which others reach the gateway`, {
      advice: 'Write it like https://events.example.com.',
    });
  return url.href.replace(/\/+$/, '');
}

/** Who listens for this machine alone is reached where it listens, by whoever reaches it at all. */
export function isForThisMachine({ mode, host }: Pick<StartOptions, 'mode' | 'host'>): boolean {
  return mode === 'dev' || host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
