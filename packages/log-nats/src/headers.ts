/**
 * The header block of a NATS message, read and written here: the client's own reader throws at a name it does not like,
 * and takes the square of their number for many, so one message of a stranger could hold up the log.
 */
const HEAD = 'NATS/1.0';

/** Names as they were sent, with values trimmed of blanks, in order. What is no header line is left out. */
export function* readHeaders(block: Uint8Array): Iterable<readonly [string, string]> {
  const text = textOf(block);
  for (let from = text.indexOf('\r\n') + 2; from > 1 && from < text.length;) {
    const next = text.indexOf('\r\n', from);
    const end = next === -1 ? text.length : next;
    const colon = text.indexOf(':', from);
    if (colon > from && colon < end) yield [text.slice(from, colon), text.slice(colon + 1, end).trim()];
    from = end + 2;
  }
}

/** The status of a message of the server: `NATS/1.0 404 No Messages`. 0 for what is none. */
export function readStatus(block: Uint8Array | undefined): { readonly code: number; readonly text: string } {
  if (block === undefined) return { code: 0, text: '' };
  const line = /^NATS\/1\.0 +(\d{3}) *([^\r\n]*)/.exec(textOf(block));
  return line === null ? { code: 0, text: '' } : { code: Number(line[1]), text: line[2]!.trim().toLowerCase() };
}

/** Values must be printable ASCII: whoever calls encodes them. */
export function writeHeaders(lines: string): Uint8Array {
  return Buffer.from(`${HEAD}\r\n${lines}\r\n`, 'latin1');
}

function textOf(block: Uint8Array): string {
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
  const text = bytes.toString('latin1');
  return /[\x80-\xff]/.test(text) ? bytes.toString('utf8') : text;
}

/** Everything but printable ASCII, and of that space, double quote and percent (CloudEvents NATS binding, section 3.1.3.2). */
const UNSAFE = /[^!#$&-~]+/;
const ALL_UNSAFE = new RegExp(UNSAFE, 'g');

export function escapeValue(value: string): string {
  return UNSAFE.test(value) ? value.toWellFormed().replace(ALL_UNSAFE, (run) => encodeURIComponent(run)) : value;
}

/** Undefined where a `%` without two hex digits, or bytes that are no UTF-8, leave open what was meant. */
export function unescapeValue(value: string): string | undefined {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
