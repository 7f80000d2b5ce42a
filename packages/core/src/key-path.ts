/**
 * Where a topic's key stands in its data: a singular query of JSONPath (RFC 9535, section 2.3.5.1), names and indexes
 * only: `$.customer.id`, `$.lines[0]['article no']`, `$.tags[-1]`.
 */
import { memberOf, isObject } from './json-values.ts';
import { Problem } from './problem.ts';

export const KEY_PATH_CHARS_MAX = 512;
export const KEY_PATH_STEPS_MAX = 16;

/** The key in parsed data, or undefined where there is none. */
export type KeyReader = (data: unknown) => string | undefined;

const STEP =
  /\.([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)|\[\s*(?:(0|-?[1-9]\d{0,8})|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\s*\]/y;

/**
 * Reads a string as it is, a number or boolean as JSON writes it (integers beyond 2^53 are rounded, so let such keys be
 * strings); an empty string, null, an array, an object or a missing member are no key. Own members only. Throws
 * `invalid_request` with `pointer` for another kind of path, and above 512 characters or 16 steps.
 */
export function compileKeyPath(path: unknown, pointer = ''): KeyReader {
  const refused = (message: string) =>
    new Problem('invalid_request', message, { pointer, advice: 'Write a path such as $.customer.id.' });
  if (typeof path !== 'string' || !path.startsWith('$')) throw refused('a key path is a string that begins with $');
  if (path.length > KEY_PATH_CHARS_MAX) throw refused(`a key path has at most ${KEY_PATH_CHARS_MAX} characters`);
  const steps: (string | number)[] = [];
  for (STEP.lastIndex = 1; STEP.lastIndex < path.length;) {
    const from = STEP.lastIndex;
    const step = stepOf(STEP.exec(path));
    if (step === undefined) throw refused(`the key path can not be read from '${path.slice(from, from + 40)}' on`);
    steps.push(step);
  }
  if (steps.length > KEY_PATH_STEPS_MAX) throw refused(`a key path has at most ${KEY_PATH_STEPS_MAX} steps`);
  return (data) => keyText(steps.reduce(follow, data));
}

function stepOf(match: RegExpExecArray | null): string | number | undefined {
  if (match === null) return undefined;
  const [, name, index, single, double] = match;
  if (name !== undefined) return name;
  if (index !== undefined) return Number(index);
  // The escapes are those of JSON; only the quotes differ.
  return unescaped(double ?? single?.replace(/\\'|"/g, (quote) => (quote === '"' ? '\\"' : "'")) ?? '');
}

function unescaped(text: string): string | undefined {
  try {
    return JSON.parse(`"${text}"`);
  } catch {
    return undefined;
  }
}

function follow(value: unknown, step: string | number): unknown {
  if (typeof step === 'string') return isObject(value) ? memberOf(value, step) : undefined;
  return Array.isArray(value) ? value.at(step) : undefined;
}

function keyText(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return JSON.stringify(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
