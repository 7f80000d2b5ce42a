/**
 * JSON.parse that reads every name right. V8's (up to 14.6 at least, so Node 24 and 26) takes the next member's name from
 * objects it has seen before, and compares that with the text before it has undone the text's escapes: once an object with
 * the members `h` and `\` was parsed anywhere in the process, `{"h":1,"\"":2}` has a member `\` where `"` was sent
 * (nodejs/node issue 63785). Only names written with a backslash are misread; values never are.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Stands for a name that can't be written without a backslash. No text that was UTF-8 holds half a character unescaped. */
const STAND_IN = '\ud800';

/** Each costs some ten microseconds. No one means as many. */
const STAND_INS_MAX = 10_000;

/**
 * As JSON.parse: throws a SyntaxError for what is no JSON, and for more than 10,000 names that can't be written without a
 * backslash. `text` must be well-formed, as a decoder makes it.
 */
export function parseText(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return text.includes('\\') ? withRightNames(text, value) : value;
}

/** Whether a member's name is written with a backslash. The text must be valid JSON. */
export function hasEscapedName(text: string): boolean {
  return text.includes('\\') && !escapedNames(text).next().done;
}

function withRightNames(text: string, value: unknown): unknown {
  const pieces: string[] = [];
  const plain = new Map<string, string>();
  const standIns = new Map<string, string>();
  let stood = 0;
  let from = 0;
  for (const { start, end } of escapedNames(text)) {
    const written = text.slice(start, end);
    let name = plain.get(written);
    if (name === undefined) plain.set(written, (name = plainly(written, standIns)));
    if (name.charAt(1) === STAND_IN && ++stood > STAND_INS_MAX)
      throw new SyntaxError(`more than ${STAND_INS_MAX} names are written with a backslash`);
    pieces.push(text.slice(from, start), name);
    from = end;
  }
  if (from === 0) return value;
  pieces.push(text.slice(from));
  const parsed: unknown = JSON.parse(pieces.join(''));
  if (standIns.size > 0) rename(parsed, new Map([...standIns].map(([name, standIn]) => [standIn, name])));
  return parsed;
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const NEEDS_ESCAPE = /["\\\u0000-\u001f]/;

/** The name without a backslash, in quotes; where it can't be, a stand-in for it: one for all writings of a name. */
function plainly(written: string, standIns: Map<string, string>): string {
  // A text by itself is never taken for one seen before.
  const name: string = JSON.parse(written);
  if (!NEEDS_ESCAPE.test(name) && name.isWellFormed()) return `"${name}"`;
  const standIn = standIns.get(name) ?? `${STAND_IN}${standIns.size}`;
  standIns.set(name, standIn);
  return `"${standIn}"`;
}

/** Where the names with a backslash stand, quotes included. */
function* escapedNames(text: string): Generator<{ readonly start: number; readonly end: number }> {
  for (let start = text.indexOf('"'); start !== -1;) {
    let end = start + 1;
    let isEscaped = false;
    for (let unit = text.charCodeAt(end); unit !== QUOTE && end < text.length; unit = text.charCodeAt(end)) {
      isEscaped ||= unit === BACKSLASH;
      end += unit === BACKSLASH ? 2 : 1;
    }
    end += 1;
    if (isEscaped && isBeforeColon(text, end)) yield { start, end };
    start = text.indexOf('"', end);
  }
}

function isBeforeColon(text: string, from: number): boolean {
  let at = from;
  while (' \n\r\t'.includes(text.charAt(at)) && at < text.length) at += 1;
  return text.charAt(at) === ':';
}

type Members = Record<string, unknown>;

/** In place. Walks with a list of its own: JSON may be nested deeper than a stack. */
function rename(root: unknown, names: ReadonlyMap<string, string>): void {
  const waiting: (unknown[] | Members)[] = [];
  const visit = (value: unknown): void => {
    if (typeof value === 'object' && value !== null) waiting.push(value as unknown[] | Members);
  };
  visit(root);
  for (let holder = waiting.pop(); holder !== undefined; holder = waiting.pop()) {
    if (Array.isArray(holder)) holder.forEach(visit);
    else {
      let hasStandIn = false;
      for (const name in holder) {
        visit(holder[name]);
        hasStandIn ||= name.startsWith(STAND_IN);
      }
      if (hasStandIn) renameMembers(holder, names);
    }
  }
}

/** All are taken out and put back, so that they keep their order. */
function renameMembers(object: Members, names: ReadonlyMap<string, string>): void {
  const members = Object.entries(object);
  for (const [name] of members) delete object[name];
  for (const [name, value] of members) {
    const right = names.get(name) ?? name;
    // Assigned, `__proto__` would set something else.
    if (right !== '__proto__') object[right] = value;
    else Object.defineProperty(object, right, { value, writable: true, enumerable: true, configurable: true });
  }
}
