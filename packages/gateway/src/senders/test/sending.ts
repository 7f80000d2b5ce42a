/** A sender for tests, and short ways to ask it and to read what it says. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { Sender, SendRequest, SendResult } from '../../ports/sender.ts';
import { systemClock } from '../../system-clock.ts';
import { type Connect, type ConnectOptions, createConnect } from '../connect.ts';
import { createEgress } from '../egress.ts';
import { createUndiciSender, type UndiciSenderOptions } from '../undici.ts';

/** Posts with a sender that is closed when the test has ended. */
export type Post = (url: string, request?: Partial<SendRequest>) => Promise<SendResult>;

export function sending(t: Pick<TestContext, 'after'>, options: Partial<UndiciSenderOptions> = {}): Post {
  const sender = createUndiciSender({ clock: systemClock, connect: connecting(), ...options });
  t.after(() => sender.close());
  return (url, request = {}) => send(sender, url, request);
}

/** Connections to the endpoints of tests, which are all on this machine. */
export function connecting(options: ConnectOptions = {}): Connect {
  return createConnect({ egress: createEgress({ allow: ['loopback'] }), ...options });
}

export function send(sender: Sender, url: string, request: Partial<SendRequest> = {}): Promise<SendResult> {
  return sender.send({
    subscription: 's',
    url,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from('{"id":1}'),
    timeoutMs: 5_000,
    ...request,
  });
}

export function errorOf(result: SendResult): string {
  return 'error' in result ? result.error : `answered ${result.status}`;
}

export function detailOf(result: SendResult): string {
  return 'error' in result ? result.detail : `answered ${result.status}`;
}

export function statusOf(result: SendResult): number {
  return 'error' in result ? assert.fail(`${result.error}: ${result.detail}`) : result.status;
}
