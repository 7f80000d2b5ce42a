/** Headers that people add to deliveries: of a subscription, or of a single event by its publisher. */
import { Problem } from '@millrace/core/problem';
import type { Webhook } from './ports/directory.ts';
import type { Vault } from './vault.ts';

/** The extension attribute that carries an event's own headers, as a JSON object of texts; it is not sent on itself. */
export const HEADERS_ATTRIBUTE = 'webhookheaders';

const HEADERS_MAX = 32;
const VALUE_CHARS_MAX = 1_024;
const NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
const VALUE = new RegExp(`^[\\t\\x20-\\x7e]{0,${VALUE_CHARS_MAX}}$`);
/** What the gateway or the connection sets. */
const OURS =
  /^(webhook-|x-signature$|x-idempotency-key$|millrace-|ce-|content-length$|content-type$|content-encoding$|host$|connection$|transfer-encoding$|te$|trailer$|upgrade$|keep-alive$|expect$|proxy-)/;
/** What every object has by these names is in the way of a header: it would be lost without a word. */
const OF_OBJECTS: ReadonlySet<string> = new Set(['constructor', '__proto__']);
/** What lets somebody in, by its name. */
const CREDENTIALS = /cookie|token|secret|key|auth|pass|pwd|cred|session|jwt|bearer|signature|\bsid\b/;
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
      if (!NAME.test(lower) || OF_OBJECTS.has(lower) || OURS.test(lower) || (byPublisher && OWNERS.test(lower)))
        throw refused(`the header '${name.slice(0, 64)}' can not be set`);
      if (typeof value !== 'string' || !VALUE.test(value))
        throw refused(`the value of the header '${lower}' is not plain text of at most ${VALUE_CHARS_MAX} characters`);
      return [lower, value];
    }),
  );
}

/** How a value that is not shown reads; written back, it stays what it was. */
export const HIDDEN = '***';

type Headers = Pick<Webhook, 'headers' | 'sealedHeaders'>;

interface SealNeeds {
  /** Where they are to go. */
  readonly url: string;
  /** The endpoint of now, if there is one. */
  readonly present: (Headers & Pick<Webhook, 'url'>) | undefined;
  readonly vault: Vault;
  readonly pointer: string;
}

/** Of headers that were checked. Throws `invalid_request` for a hidden value that stands for none, or for one of another origin. */
export function sealHeaders(given: Readonly<Record<string, string>>, needs: SealNeeds): Headers {
  const headers: Record<string, string> = {};
  const sealedHeaders: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    if (!CREDENTIALS.test(name)) headers[name] = value;
    else sealedHeaders[name] = value === HIDDEN ? keptOf(name, needs) : needs.vault.seal(value);
  }
  return Object.keys(sealedHeaders).length === 0 ? { headers } : { headers, sealedHeaders };
}

function keptOf(name: string, { url, vault, present, pointer }: SealNeeds): string {
  const { headers = {}, sealedHeaders = {} } = present ?? {};
  // Else whoever may change the address could have it sent to himself.
  if (present !== undefined && !isSameOrigin(url, present.url))
    throw new Problem('invalid_request', `the value of the header '${name}' is for ${new URL(present.url).origin}`, {
      pointer,
      advice: 'For another origin write it anew, or leave the header out.',
    });
  if (sealedHeaders[name] !== undefined) return sealedHeaders[name];
  if (headers[name] !== undefined) return vault.seal(headers[name]);
  throw new Problem('invalid_request', `the header '${name}' has no value that ${HIDDEN} could stand for`, {
    pointer,
    advice: 'Write the value itself; it is shown to nobody.',
  });
}

/** As they are sent. */
export function openHeaders({ headers, sealedHeaders = {} }: Headers, vault: Vault): Readonly<Record<string, string>> {
  const opened = Object.entries(sealedHeaders).map(([name, sealed]) => [name, vault.open(sealed)] as const);
  return opened.length === 0 ? headers : { ...headers, ...Object.fromEntries(opened) };
}

/** What of them goes to another address than the subscription's own: to another origin none, as by its name no header is harmless. */
export function headersAt(
  url: string,
  webhook: Pick<Webhook, 'url'>,
  opened: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return isSameOrigin(url, webhook.url) ? opened : {};
}

const isSameOrigin = (one: string, other: string): boolean => new URL(one).origin === new URL(other).origin;

/** As they are shown, also those of an earlier version, which stand among the others. */
export function showHeaders({ headers, sealedHeaders = {} }: Headers): Readonly<Record<string, string>> {
  const shown = Object.entries(headers).map(([name, value]) => [name, CREDENTIALS.test(name) ? HIDDEN : value] as const);
  return Object.fromEntries([...shown, ...Object.keys(sealedHeaders).map((name) => [name, HIDDEN] as const)]);
}

/** Whether some credential among them is readable: an earlier version left it so. */
export function haveReadable({ headers }: Headers): boolean {
  return Object.keys(headers).some((name) => CREDENTIALS.test(name));
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
