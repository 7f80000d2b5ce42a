/**
 * Text that Postgres takes: its strings hold no U+0000, ours may (a foreign broker's key, an id from a header). U+0000 and
 * U+0001 become two characters each, such that encoded texts compare and begin with one another as the plain ones do.
 * A surrogate without its other half becomes U+FFFD, as wherever text is written as UTF-8.
 */
// eslint-disable-next-line no-control-regex
const RESERVED = /[\u0000\u0001]/;
// eslint-disable-next-line no-control-regex
const EACH_RESERVED = /[\u0000\u0001]/g;
// eslint-disable-next-line no-control-regex
const EACH_ENCODED = /\u0001([\u0001\u0002])/g;

export function encodeText(text: string): string {
  return RESERVED.test(text) ? text.replace(EACH_RESERVED, (one) => (one === '\u0000' ? '\u0001\u0001' : '\u0001\u0002')) : text;
}

export function decodeText(text: string): string {
  return text.includes('\u0001')
    ? text.replace(EACH_ENCODED, (_, one: string) => (one === '\u0001' ? '\u0000' : '\u0001'))
    : text;
}
