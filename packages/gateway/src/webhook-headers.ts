/** Headers that people add to deliveries: of a subscription, or of a single event by its publisher. */
import { Problem } from '@millrace/core/problem';

/** The extension attribute that carries an event's own headers, as a JSON object of texts; it is not sent on itself. */
export const HEADERS_ATTRIBUTE = 'webhookheaders';

const HEADERS_MAX = 32;
const VALUE_CHARS_MAX = 1_024;
const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
const VALUE = new RegExp(`^[\\t\\x20-\\x7e]{0,${VALUE_CHARS_MAX}}$`);
/** What the gateway or the connection sets. */
const OURS =
  /^(webhook-|x-signature$|x-idempotency-key$|millrace-|ce-|content-length$|content-type$|content-encoding$|host$|connection$|transfer-encoding$|te$|trailer$|upgrade$|keep-alive$|expect$|proxy-)/;
/** What speaks for the subscription's owner: no publisher may set it. */
const OWNERS = /^(authorization|cookie|forwarded|x-forwarded-.*|x-real-ip)$/;

/** Names in lower case. Throws `invalid_request` (or `invalid_event`, for an event's) for what can't be set. */
export function checkHeaders(
  headers: Readonly<Record<string, unknown>>,
  { pointer, byPublisher = false }: { readonly pointer: string; readonly byPublisher?: boolean },
): Record<string, string> {
  const entries = Object.entries(headers);
  const refused = (why: string): Problem => new Problem(byPublisher ? 'invalid_event' : 'invalid_request', why, { pointer });
  if (entries.length > HEADERS_MAX) throw refused(`there are at most ${HEADERS_MAX} headers`);
  return Object.fromEntries(
    entries.map(([name, value]) => {
      const lower = name.toLowerCase();
      if (!NAME.test(lower) || OURS.test(lower) || (byPublisher && OWNERS.test(lower)))
        throw refused(`the header '${name.slice(0, 64)}' can not be set`);
      if (typeof value !== 'string' || !VALUE.test(value))
        throw refused(`the value of the header '${lower}' is not plain text of at most ${VALUE_CHARS_MAX} characters`);
      return [lower, value];
    }),
  );
}

/** The attribute of an event that comes in: throws `invalid_event` unless it holds headers. */
export function checkHeadersAttribute(value: unknown): void {
  const headers = parsed(value);
  const pointer = `/${HEADERS_ATTRIBUTE}`;
  if (headers === undefined) throw new Problem('invalid_event', `${HEADERS_ATTRIBUTE} is a JSON object of texts`, { pointer });
  checkHeaders(headers, { pointer, byPublisher: true });
}

/** Of an event in the log: none where it holds what can't be set, as events of native clients may. */
export function webhookHeadersOf(value: unknown): Readonly<Record<string, string>> {
  try {
    return checkHeaders(parsed(value) ?? {}, { pointer: '', byPublisher: true });
  } catch {
    return {};
  }
}

function parsed(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    const headers: unknown = JSON.parse(value);
    return typeof headers === 'object' && headers !== null && !Array.isArray(headers)
      ? (headers as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined; // the caller says what it should be
  }
}
