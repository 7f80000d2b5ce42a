/** The connection: who we are to the broker, and what it must be for us. */
import { readFileSync } from 'node:fs';
import type { Authenticator, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import {
  connect,
  credsAuthenticator,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from '@nats-io/transport-node';
import { Problem } from '@millrace/core/problem';

export type NatsAuth =
  | { readonly token: string }
  | { readonly user: string; readonly password: string }
  | { readonly nkeySeed: string }
  /** Path of a credentials file; read again at each reconnect, so that it can be renewed. */
  | { readonly credsFile: string };

export interface NatsTls {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Speak TLS before the server has said anything. */
  readonly handshakeFirst?: boolean;
}

export interface ConnectOptions {
  /** `nats://host:4222`, several of one cluster, or `tls://…`. */
  readonly servers: string | readonly string[];
  readonly auth?: NatsAuth;
  readonly tls?: NatsTls;
}

/** Several `filter_subjects` of one consumer, and metadata of streams, came with 2.10; older servers take them and do nothing. */
const VERSION_MIN = [2, 10] as const;
export const VERSION_NEEDED = VERSION_MIN.join('.');
const CONNECT_MS = 5_000;
const RECONNECT_MS_MIN = 100;
const RECONNECT_MS_JITTER = 150;

export async function connectNats({ servers, auth, tls }: ConnectOptions): Promise<NatsConnection> {
  const options: NodeConnectionOptions = {
    servers: typeof servers === 'string' ? servers : [...servers],
    name: 'millrace',
    timeout: CONNECT_MS,
    // The gateway runs on while the broker is away, however long.
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => RECONNECT_MS_MIN + Math.random() * RECONNECT_MS_JITTER,
    pingInterval: 10_000,
    ...(auth && { authenticator: authenticatorOf(auth) }),
    ...(tls && { tls: { ...tls } }),
  };
  try {
    const nc = await connect(options);
    await mustBeNewEnough(nc);
    return nc;
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem('log_unavailable', `NATS can not be reached: ${(error as Error).message}`, {
      advice: 'Check the address and the credentials, and that the server runs.',
      cause: error,
    });
  }
}

function authenticatorOf(auth: NatsAuth): Authenticator {
  if ('token' in auth) return tokenAuthenticator(auth.token);
  if ('user' in auth) return usernamePasswordAuthenticator(auth.user, auth.password);
  if ('nkeySeed' in auth) return nkeyAuthenticator(new TextEncoder().encode(auth.nkeySeed));
  return credsAuthenticator(() => readFileSync(auth.credsFile));
}

async function mustBeNewEnough(nc: NatsConnection): Promise<void> {
  const version = nc.info?.version ?? '0';
  if (isNewEnough(version)) return;
  await nc.close();
  throw new Problem('log_unsuitable', `the NATS server is version ${version}; the log needs ${VERSION_NEEDED} or newer`, {
    advice: 'Older servers take newer settings without a word and do nothing.',
  });
}

export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  return major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1]);
}
