/**
 * Topics and topic patterns.
 *
 * A topic is one to sixteen tokens of `A-Z a-z 0-9 _ -` with dots between them, at most 255 characters: `orders.created`.
 * A pattern may also hold `*` (exactly one token) and, as its last token, `>` (one token or more). Both are compared
 * case-sensitively. The grammar is what NATS subjects, Kafka topics and Pulsar topics have in common.
 */
import { Problem } from './problem.ts';

export const TOPIC_CHARS_MAX = 255;
export const TOPIC_TOKENS_MAX = 16;

const TOKEN = /^[A-Za-z0-9_-]+$/;

/** Throws `invalid_topic` unless `name` is a topic. `pointer` names the member at fault. */
export function checkTopic(name: unknown, pointer?: string): asserts name is string {
  for (const token of tokensOf(name, 'topic', pointer)) {
    if (!TOKEN.test(token)) throw refused(`the topic '${brief(name)}' ${faultOf(token, name)}`, pointer);
  }
}

/** Throws `invalid_topic` unless `pattern` is a topic or a topic pattern. `pointer` names the member at fault. */
export function checkPattern(pattern: unknown, pointer?: string): asserts pattern is string {
  const tokens = tokensOf(pattern, 'topic pattern', pointer);
  for (const [at, token] of tokens.entries()) {
    if (token === '*' || TOKEN.test(token)) continue;
    if (token.length > 1 && isPattern(token)) throw partOfToken(pattern, token, pointer);
    if (token !== '>') throw refused(`the topic pattern '${brief(pattern)}' ${faultOf(token, pattern)}`, pointer);
    if (at < tokens.length - 1) throw refused(`the topic pattern '${brief(pattern)}' goes on after '>'`, pointer);
  }
}

/** True where `topic` is one of those that `pattern` means. Both are taken as valid. */
export function matchesTopic(pattern: string, topic: string): boolean {
  return matcherOf(pattern)(topic);
}

/** One test for several patterns: true where any of them matches. Throws `invalid_topic` for a pattern that is none. */
export function compileTopics(patterns: readonly string[]): (topic: string) => boolean {
  for (const pattern of patterns) checkPattern(pattern);
  const names = new Set(patterns.filter((pattern) => !isPattern(pattern)));
  const matchers = patterns.filter(isPattern).map(matcherOf);
  if (matchers.length === 0) return (topic) => names.has(topic);
  return (topic) => names.has(topic) || matchers.some((matches) => matches(topic));
}

/** True where `name` holds a wildcard, so that it may mean more than one topic. */
export function isPattern(name: string): boolean {
  return name.includes('*') || name.includes('>');
}

/** True where every topic that `narrow` means is one that `wide` means. Both are taken as valid. */
export function coversPattern(wide: string, narrow: string): boolean {
  const wider = wide.split('.');
  const tokens = narrow.split('.');
  for (const [at, token] of wider.entries()) {
    if (token === '>') return tokens.length > at;
    if (tokens[at] === undefined || tokens[at] === '>') return false;
    if (token !== '*' && token !== tokens[at]) return false;
  }
  return tokens.length === wider.length;
}

function matcherOf(pattern: string): (topic: string) => boolean {
  if (!isPattern(pattern)) return (topic) => topic === pattern;
  if (pattern === '>') return () => true;
  const tokens = pattern.split('.');
  const open = tokens.at(-1) === '>';
  // `orders.>` is by far the most usual pattern: one comparison, no split.
  if (open && pattern.indexOf('*') === -1) {
    const stem = pattern.slice(0, -1);
    return (topic) => topic.length > stem.length && topic.startsWith(stem);
  }
  const fixed = open ? tokens.slice(0, -1) : tokens;
  return (topic) => matchesTokens(fixed, open, topic.split('.'));
}

function matchesTokens(fixed: readonly string[], open: boolean, tokens: readonly string[]): boolean {
  if (open ? tokens.length <= fixed.length : tokens.length !== fixed.length) return false;
  return fixed.every((token, at) => token === '*' || token === tokens[at]);
}

function tokensOf(name: unknown, what: string, pointer: string | undefined): string[] {
  if (typeof name !== 'string') throw refused(`a ${what} is a string`, pointer);
  if (name === '') throw refused(`a ${what} must not be empty`, pointer);
  if (name.length > TOPIC_CHARS_MAX)
    throw refused(`a ${what} has at most ${TOPIC_CHARS_MAX} characters, this one ${name.length}`, pointer);
  const tokens = name.split('.');
  if (tokens.length > TOPIC_TOKENS_MAX)
    throw refused(`a ${what} has at most ${TOPIC_TOKENS_MAX} tokens, this one ${tokens.length}`, pointer);
  return tokens;
}

const TOKENS = 'Write tokens of letters, digits, _ and - with dots between them, such as orders.created.';
const WILDCARDS = 'Write * for one token (orders.*), or > at the end for all that follow (orders.>).';

/** Who writes `orders.a*` knows other patterns: what a wildcard is here, they should be told. */
function partOfToken(pattern: unknown, token: string, pointer: string | undefined): Problem {
  const sign = token.includes('*') ? '*' : '>';
  const where = `the ${sign} in '${brief(pattern)}' is a part of the token '${brief(token)}'`;
  return refused(`${where}; it can only stand for whole ones`, pointer, WILDCARDS);
}

/** What is wrong with a token, after the name of what it is in. */
function faultOf(token: string, name: unknown): string {
  if (token === '') return `has an empty token (${dotIn(String(name))})`;
  // By code points: half a character would be shown as none.
  const sign = Array.from(token).find((one) => !TOKEN.test(one)) ?? '';
  if (sign === ' ') return `has a space in '${brief(token)}'`;
  // What can not be seen is told by its code.
  const shown = /^[\p{L}\p{N}\p{P}\p{S}]$/u.test(sign) ? `'${sign}'` : codeOf(sign);
  return `has ${shown} in '${brief(token)}'`;
}

function dotIn(name: string): string {
  if (name.startsWith('.')) return 'a dot at its beginning';
  return name.endsWith('.') ? 'a dot at its end' : 'two dots in a row';
}

function codeOf(sign: string): string {
  return `the character U+${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

function refused(message: string, pointer: string | undefined, advice = TOKENS): Problem {
  return new Problem('invalid_topic', message, {
    advice,
    ...(pointer === undefined ? {} : { pointer }),
  });
}

/** What a stranger sent, short enough to be shown. */
function brief(value: unknown): string {
  return String(value).slice(0, 80);
}
