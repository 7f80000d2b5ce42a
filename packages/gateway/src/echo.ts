/**
 * The built-in receiver: what a micro-app does with a delivery, in the same process, so that the first minute shows a
 * signed and verified one without a line typed. It subscribes as the app `echo` to every topic.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verifyStandard } from '@millrace/core/signatures';
import type { Gateway } from './api.ts';
import type { Clock } from './ports/clock.ts';
import type { Directory, Subscription, Versioned } from './ports/directory.ts';
import type { Vault } from './vault.ts';

export const ECHO = 'echo';
/** Above the largest event. */
const BODY_BYTES_MAX = 1024 * 1024;
/** Verdicts kept until somebody asks for them. */
const VERDICTS_MAX = 1_000;

export interface Echo {
  /** Has the subscription point here: before the gateway starts, so that nothing is sent to where the last process listened. */
  moveHere(): Promise<void>;
  /** Makes the subscription where there is none. */
  subscribe(gateway: Gateway): Promise<void>;
  /** `verified`, or why not; of a delivery of this event not asked for yet. */
  verdict(eventId: string): string | undefined;
  close(): Promise<void>;
}

interface Needs {
  readonly directory: Directory;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly environment: string;
}

export async function startEcho({ directory, vault, clock, environment }: Needs): Promise<Echo> {
  const verdicts = new Map<string, string>();
  let secrets: readonly string[] = [];

  const server = createServer((request, response) => {
    void receive(request).then(
      (verdict) => response.writeHead(verdict === 'verified' ? 204 : 401).end(),
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  async function receive(request: IncomingMessage): Promise<string> {
    const body = await bodyOf(request);
    const headers = (name: string): string | undefined => [request.headers[name]].flat()[0];
    const result = await verifyStandard({ headers, body, secrets, nowMs: clock.now() });
    const verdict = result.ok ? 'verified' : result.reason;
    if (verdicts.size >= VERDICTS_MAX) verdicts.delete(verdicts.keys().next().value ?? '');
    verdicts.set(decodeURIComponent(headers('ce-id') ?? ''), verdict);
    return verdict;
  }

  return {
    async moveHere() {
      const found = await ownSubscription(directory, environment);
      if (found === undefined) return;
      const { value } = found;
      const { webhook } = value.deliver as Extract<Subscription['deliver'], { webhook: object }>;
      secrets = webhook.secrets.map(({ sealed }) => vault.open(sealed));
      await directory.put(
        'subscription',
        environment,
        ECHO,
        { ...value, deliver: { webhook: { ...webhook, url } } },
        found.version,
      );
    },
    async subscribe(gateway) {
      if ((await directory.get('subscription', environment, ECHO)) !== undefined) return;
      if ((await directory.get('app', environment, ECHO)) === undefined)
        await directory.put('app', environment, ECHO, { name: 'The built-in receiver', createdMs: clock.now() });
      const { secret } = await gateway.subscriptions.create(environment, ECHO, {
        app: ECHO,
        topics: ['>'],
        deliver: { webhook: { url } },
      });
      secrets = [secret as string];
    },
    verdict(eventId) {
      const verdict = verdicts.get(eventId);
      verdicts.delete(eventId);
      return verdict;
    },
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Without the receiver its subscription would fail for ever. */
export async function removeEcho(gateway: Gateway, directory: Directory, environment: string): Promise<void> {
  if ((await ownSubscription(directory, environment)) !== undefined) await gateway.subscriptions.delete(environment, ECHO);
}

/** A person may have a subscription of that name, too: ours is the app's own. */
async function ownSubscription(directory: Directory, environment: string): Promise<Versioned<Subscription> | undefined> {
  const found = await directory.get('subscription', environment, ECHO);
  return found?.value.app === ECHO && found.value.deliver.webhook?.signature === 'standard' ? found : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error('the body is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
