/**
 * Topics as subjects. A topic of the environment `default` is the subject of that name, so that plain clients need to know
 * nothing; one of another environment stands behind a token no topic can have: `@staging.orders.created`. With a prefix
 * (for an account that others use too) all of it stands behind that: `acme.orders.created`.
 */
import { checkTopic, coversPattern } from '@millrace/core/topic';

export interface Named {
  readonly environment: string;
  readonly topic: string;
  /** False where the subject is no topic: the event gets UNNAMED. */
  readonly isTopic: boolean;
}

export interface Subjects {
  subjectOf(environment: string, topic: string): string;
  named(subject: string): Named;
  /** What a consumer must ask for to get at least these; undefined for everything there is. Who reads still has to match: it may be more. */
  filtersOf(environment: string, topics: readonly string[]): readonly string[] | undefined;
}

/** The topic of messages whose subject is none: with characters, tokens or a length that no topic has. */
export const UNNAMED = '_unnamed';
/** A consumer with more filters costs the server more for each message than the messages that are read in vain. */
const FILTERS_MAX = 64;
const DEFAULT = 'default';

export function createSubjects(prefix: string): Subjects {
  const before = prefix === '' ? '' : `${prefix}.`;
  const known = new Map<string, Named>();

  function subjectOf(environment: string, topic: string): string {
    return environment === DEFAULT ? before + topic : `${before}@${tokenOf(environment)}.${topic}`;
  }

  return {
    subjectOf,
    named(subject) {
      let named = known.get(subject);
      if (named === undefined) {
        named = namedBy(subject, before);
        // Native clients may make up a subject per message.
        if (known.size >= KNOWN_MAX) known.clear();
        known.set(subject, named);
      }
      return named;
    },
    filtersOf(environment, topics) {
      const wide = environment === DEFAULT ? undefined : [subjectOf(environment, '>')];
      if (topics.length > FILTERS_MAX || topics.includes('>')) return wide;
      const filters = topics.filter(
        (one, at) => !topics.some((other, i) => i !== at && coversPattern(other, one) && (other !== one || i < at)),
      );
      // The server refuses filters that have a subject in common.
      const collide = filters.some((one, at) => filters.slice(at + 1).some((other) => mayMeet(one, other)));
      return collide ? wide : filters.map((topic) => subjectOf(environment, topic));
    },
  };
}

/** Tens of thousands of topics fit; more are read again from their subjects. */
const KNOWN_MAX = 65_536;

/** Environments of this gateway have no character that is escaped here; what a native client writes may. */
function tokenOf(environment: string): string {
  return environment.replace(/[^A-Za-z0-9_-]/g, (sign) =>
    [...new TextEncoder().encode(sign)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

function namedBy(subject: string, before: string): Named {
  const unnamed: Named = { environment: DEFAULT, topic: UNNAMED, isTopic: false };
  if (!subject.startsWith(before)) return unnamed;
  const own = subject.slice(before.length);
  if (!own.startsWith('@')) return isTopic(own) ? { environment: DEFAULT, topic: own, isTopic: true } : unnamed;
  const dot = own.indexOf('.');
  const environment = environmentOf(own.slice(1, dot === -1 ? undefined : dot));
  if (environment === undefined) return unnamed;
  const topic = dot === -1 ? '' : own.slice(dot + 1);
  return isTopic(topic) ? { environment, topic, isTopic: true } : { ...unnamed, environment };
}

/** Only what tokenOf makes: two spellings of one environment would be two places of one topic. */
function environmentOf(token: string): string | undefined {
  try {
    const environment = decodeURIComponent(token);
    return environment !== '' && environment !== DEFAULT && tokenOf(environment) === token ? environment : undefined;
  } catch {
    return undefined;
  }
}

function isTopic(name: string): boolean {
  try {
    checkTopic(name);
    return true;
  } catch {
    return false;
  }
}

/** True where a subject can match both patterns. */
function mayMeet(one: string, other: string): boolean {
  const [a, b] = [one.split('.'), other.split('.')];
  for (let i = 0; ; i++) {
    const [x, y] = [a[i], b[i]];
    if (x === undefined || y === undefined) return x === y;
    if (x === '>' || y === '>') return true;
    if (x !== '*' && y !== '*' && x !== y) return false;
  }
}
