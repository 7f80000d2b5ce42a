/**
 * What the one line of configuration says of a log on NATS: `nats://[user:password@|token@]host:4222[,host:4222…]` and, behind `?`,
 *   stream, prefix   the stream (default MILLRACE), and tokens before every subject
 *   adopt            subject patterns captured beside the declared topics, with commas between them
 *   manage           true: a stream that was there before may be changed
 *   replicas, storage (file, memory), dedupe (a duration), max-bytes, max-messages   of a stream that is made
 *   creds, nkey, ca, cert, key   files
 */
import { readFileSync } from 'node:fs';
import { parseDurationMs } from '@millrace/core/duration';
import { Problem } from '@millrace/core/problem';

/** As openNats of @millrace/log-nats takes it. */
export interface NatsAddress {
  readonly servers: readonly string[];
  readonly auth?:
    | { readonly token: string }
    | { readonly user: string; readonly password: string }
    | { readonly nkeySeed: string }
    | { readonly credsFile: string };
  readonly tls?: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  readonly stream?: string;
  readonly subjectPrefix?: string;
  readonly adopt?: readonly string[];
  readonly manage?: boolean;
  readonly replicas?: number;
  readonly storage?: 'file' | 'memory';
  readonly dedupeWindowMs?: number;
  readonly maxBytes?: number;
  readonly maxMessages?: number;
}

const NAMES: ReadonlySet<string> = new Set(
  'stream prefix adopt manage replicas storage dedupe max-bytes max-messages creds nkey ca cert key'.split(' '),
);
const ADDRESS = /^(nats|tls):\/\/(?:([^@/]*)@)?([^/?@]+)\/?(?:\?(.*))?$/;
const DEDUPE_MS_MAX = 86_400_000;

/** Throws `invalid_request`; never with what may be a password. */
export function natsOptionsOf(address: string): NatsAddress {
  const [, scheme = 'nats', who, hosts = '', query = ''] = ADDRESS.exec(address) ?? [];
  if (hosts === '') throw refused('the address of the log is nats://HOST:PORT, several hosts with commas between them');
  const given = new URLSearchParams(query);
  for (const name of given.keys())
    if (!NAMES.has(name)) throw refused(`the address of the log has no member '${name.slice(0, 40)}'`);
  const text = (name: string): string | undefined => given.get(name) ?? undefined;
  const dedupe = text('dedupe');
  return defined({
    servers: hosts.split(',').map((host) => `${scheme}://${host}`),
    auth: authOf(who, text),
    tls: tlsOf(text),
    stream: text('stream'),
    subjectPrefix: text('prefix'),
    adopt: text('adopt')?.split(','),
    manage: given.has('manage') ? text('manage') === 'true' : undefined,
    replicas: numberOf('replicas', text),
    storage: storageOf(text('storage')),
    dedupeWindowMs: dedupe === undefined ? undefined : parseDurationMs(dedupe, { maxMs: DEDUPE_MS_MAX, pointer: '/dedupe' }),
    maxBytes: numberOf('max-bytes', text),
    maxMessages: numberOf('max-messages', text),
  }) as unknown as NatsAddress;
}

type Text = (name: string) => string | undefined;

function authOf(who: string | undefined, text: Text): NatsAddress['auth'] {
  const [creds, nkey] = [text('creds'), text('nkey')];
  if (creds !== undefined) return { credsFile: creds };
  if (nkey !== undefined) return { nkeySeed: readFileSync(nkey, 'utf8').trim() };
  if (who === undefined) return undefined;
  const [first = '', ...rest] = who.split(':').map(decodeURIComponent);
  return rest.length === 0 ? { token: first } : { user: first, password: rest.join(':') };
}

function tlsOf(text: Text): object | undefined {
  const [caFile, certFile, keyFile] = [text('ca'), text('cert'), text('key')];
  return caFile === undefined && certFile === undefined ? undefined : defined({ caFile, certFile, keyFile });
}

function numberOf(name: string, text: Text): number | undefined {
  const written = text(name);
  if (written === undefined) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(written)) throw refused(`${name} of the log's address is a whole number`);
  return Number(written);
}

function storageOf(written: string | undefined): 'file' | 'memory' | undefined {
  if (written === undefined || written === 'file' || written === 'memory') return written;
  throw refused("storage of the log's address is 'file' or 'memory'");
}

const defined = (members: object): object =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));

const refused = (message: string): Problem =>
  new Problem('invalid_request', message, { advice: "For example --log 'nats://127.0.0.1:4222?replicas=3'." });
