/** What log and store say of themselves (`millrace doctor`), each asked for what it is wanted for. */
import { Problem } from '@millrace/core/problem';
import type { Check } from './api.ts';
import type { Limits } from './limits.ts';
import type { Finding, Demands } from './ports/finding.ts';
import type { Ledger } from './ports/ledger.ts';
import type { Log } from './ports/log.ts';
import type { RejectsAndCount } from './rejects.ts';
import type { Registry } from './registry.ts';

interface Needs {
  readonly log: Log;
  readonly ledger: Ledger;
  readonly registry: Registry;
  readonly rejects: Pick<RejectsAndCount, 'findings'>;
  readonly limits: Limits;
  /** What the log forgets of keys the store remembers: then it is only to know its own appends again. */
  readonly hasClaims: boolean;
}

/** Whoever asks is told of each, also where the other can't be reached. */
export function createChecks({ log, ledger, registry, rejects, limits, hasClaims }: Needs): () => Promise<readonly Check[]> {
  return () =>
    Promise.all([
      checkOf('log', async () => [
        ...((await log.findings?.(wantedOf(registry, hasClaims ? limits.claimMs : limits.dedupeWindowMs))) ?? []),
        ...rejects.findings(),
      ]),
      checkOf('store', async () => ledger.findings?.() ?? []),
    ]);
}

async function checkOf(name: Check['name'], look: () => Promise<readonly Finding[]>): Promise<Check> {
  try {
    return { name, findings: await look() };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { code, message, advice = 'The gateway goes on by itself when it can be reached again.' } = error;
    return { name, findings: [{ level: 'problem', code, problem: message, advice }] };
  }
}

function wantedOf(registry: Registry, dedupeWindowMs: number): Demands {
  const patterns = new Map<string, Demands['patterns'][number]>();
  for (const { environment, value } of registry.subscriptions())
    for (const pattern of value.topics) patterns.set(`${environment}\n${pattern}`, { environment, pattern });
  const topics = [...registry.topics()].map(({ environment, id, value: { retentionMs } }) => ({
    environment,
    topic: id,
    retentionMs,
  }));
  return { topics, patterns: [...patterns.values()], dedupeWindowMs };
}
