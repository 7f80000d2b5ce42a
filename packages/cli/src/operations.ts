/** Operations: what goes on in the gateway after its answer. Waiting for one shows how far it is. */
import type { Client } from './client.ts';
import { EXIT, type Exit } from './exit-codes.ts';
import { createProgress } from './progress.ts';
import { pause } from './signals.ts';
import type { Terminal } from './terminal.ts';
import { count, number } from './text.ts';
import type { World } from './world.ts';

/** The API tells of an operation's progress only when asked. */
const ASK_EVERY_MS = 300;

export interface Operation {
  readonly id: string;
  readonly kind: string;
  readonly subscription: string;
  readonly state: 'running' | 'done' | 'cancelled';
  readonly progress?: { readonly done: number; readonly total?: number; readonly refused?: number };
  readonly createdAt: string;
  readonly endedAt?: string;
}

export const operationAt = (id: string, verb = ''): string => `/v1/operations/${encodeURIComponent(id)}${verb}`;

/** Until it has ended; Ctrl-C stops the waiting, never the operation. */
export async function waitFor(
  operation: Operation,
  { client, terminal, world }: { readonly client: Client; readonly terminal: Terminal; readonly world: World },
): Promise<{ readonly operation: Operation; readonly exit: Exit }> {
  const interrupted = world.interrupted();
  const progress = createProgress(terminal, 'event');
  let now = operation;
  try {
    while (now.state === 'running' && !interrupted.aborted) {
      await pause(ASK_EVERY_MS, interrupted);
      if (interrupted.aborted) break;
      now = (await client.ask<Operation>(`GET ${operationAt(operation.id)}`)).body;
      const { done = 0, total } = now.progress ?? {};
      progress.at(done, total === undefined || total === 0 ? undefined : Math.min(1, done / total));
    }
  } finally {
    progress.end();
  }
  if (now.state === 'running') {
    terminal.hint(`It goes on: millrace operation get ${now.id}, millrace operation cancel ${now.id}`);
    return { operation: now, exit: EXIT.interrupted };
  }
  return { operation: now, exit: now.state === 'cancelled' || (now.progress?.refused ?? 0) > 0 ? EXIT.partly : EXIT.ok };
}

/** One line for people. */
export function sayOperation({ id, kind, subscription, state, progress }: Operation): string {
  const { done, total, refused = 0 } = progress ?? {};
  const counted =
    done === undefined ? '' : `  ${total === undefined ? count(done, 'event') : `${number(done)} of ${count(total, 'event')}`}`;
  return `${id}  ${kind} of ${subscription}  ${state}${counted}${refused > 0 ? `  ${refused} refused` : ''}`;
}
