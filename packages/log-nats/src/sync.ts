/**
 * When the servers of a stream sync its files. JetStream's API does not tell. The monitoring service JSZ does, and answers the
 * system account alone, whose users can have no streams: so we learn it only where that account lends the service to ours.
 */
import type { NatsConnection } from '@nats-io/transport-node';
import { NANOS_PER_MS } from './stream-config.ts';

export type Sync =
  | { readonly kind: 'always' }
  | { readonly kind: 'interval'; readonly everyMs: number }
  | { readonly kind: 'unknown' };

interface Told {
  readonly server?: { readonly name?: string };
  readonly data?: { readonly config?: { readonly sync_always?: boolean; readonly sync_interval?: number } };
}

const SUBJECT = '$SYS.REQ.SERVER.PING.JSZ';
/** Servers answer in a millisecond or two, and where nobody may ask the refusal is as fast. */
const ANSWER_MS = 1_000;

/** `servers`: by name, all that have a copy. Never rejects: what can't be asked is not known. */
export async function syncOf(nc: NatsConnection, servers: readonly string[]): Promise<Sync> {
  const told = new Map<string, Told>();
  try {
    const answers = await nc.requestMany(SUBJECT, '', { strategy: 'stall', maxWait: ANSWER_MS });
    for await (const answer of answers) {
      const one = answer.json<Told>();
      told.set(one.server?.name ?? '', one);
    }
  } catch {
    // Nobody answers, or we may not ask.
  }
  return worstOf(servers.map((server) => told.get(server)?.data?.config));
}

function worstOf(configs: readonly (NonNullable<Told['data']>['config'] | undefined)[]): Sync {
  const late = configs.find((config) => config !== undefined && config.sync_always !== true);
  if (late !== undefined) return { kind: 'interval', everyMs: (late.sync_interval ?? 0) / NANOS_PER_MS };
  return configs.length > 0 && !configs.includes(undefined) ? { kind: 'always' } : { kind: 'unknown' };
}
