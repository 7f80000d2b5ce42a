/**
 * How the sender opens a connection. The one place that dials, and so where it is decided what may be dialled: on the address
 * that is really used, not on a name that could mean something else a moment later.
 */
import dns from 'node:dns';
import { isIP } from 'node:net';
import { buildConnector } from 'undici';
import { ANYWHERE, type Egress } from './egress.ts';
import { createCheckedLookup, type Lookup, refuse } from './lookup.ts';

export type Connect = buildConnector.connector;

/** Of one connection: the DNS, TCP and TLS together. A request with a shorter timeout gives up earlier by itself. */
export const CONNECT_MS = 10_000;

export interface ConnectOptions {
  readonly connectMs?: number;
  /** Certificate authorities to trust instead of Node's, in PEM. */
  readonly ca?: string;
  /** Default ANYWHERE: who faces strangers gives a policy. */
  readonly egress?: Egress;
  /** Default dns.lookup: what the machine itself would find, /etc/hosts included. */
  readonly lookup?: Lookup;
}

/**
 * Connections over TCP or TLS, HTTP/1.1 only, to addresses that `egress` allows. Every address offered to the system has been
 * judged, and the other end of the connection is judged once more before anything is sent. The TLS identity asked for is the
 * host name, whatever the address. Fails with code `blocked_address` when no address is left.
 */
export function createConnect({
  connectMs = CONNECT_MS,
  ca,
  egress = ANYWHERE,
  lookup = dns.lookup,
}: ConnectOptions = {}): Connect {
  const dial = buildConnector({
    timeout: connectMs,
    allowH2: false,
    lookup: createCheckedLookup({ egress, lookup }),
    ...(ca === undefined ? {} : { ca }),
  });

  return (options, callback) => {
    const { hostname } = options;
    // A literal address is never looked up. undici has taken IPv6 out of its brackets.
    const refused = isIP(hostname) === 0 ? undefined : objectionTo(egress, hostname, hostname);
    if (refused !== undefined) return queueMicrotask(() => callback(refused, null));
    dial(options, (error, socket) => {
      if (error !== null) return callback(error, null);
      // Undefined when the other end has reset it already: then nothing can be sent either.
      const { remoteAddress } = socket;
      const objection = remoteAddress === undefined ? undefined : objectionTo(egress, hostname, remoteAddress);
      if (objection === undefined) return callback(null, socket);
      socket.destroy();
      callback(objection, null);
    });
  };
}

function objectionTo(egress: Egress, host: string, address: string): Error | undefined {
  const nature = egress.objection(host, address);
  return nature === undefined ? undefined : refuse(host, [{ address, nature }]);
}
