/**
 * How the sender opens a connection. The one place that dials: what may be dialled (address ranges, allow-lists) is
 * decided here, on the address that is really used, once that check exists.
 */
import { buildConnector } from 'undici';

export type Connect = buildConnector.connector;

/** Of one connection, TLS included. A request with a shorter timeout gives up earlier by itself. */
export const CONNECT_MS = 10_000;

/** `ca` adds certificate authorities to trust, in PEM. */
export function createConnect({
  connectMs = CONNECT_MS,
  ca,
}: { readonly connectMs?: number; readonly ca?: string } = {}): Connect {
  return buildConnector({ timeout: connectMs, allowH2: false, ...(ca === undefined ? {} : { ca }) });
}
