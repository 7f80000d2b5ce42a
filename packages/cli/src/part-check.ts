/** What the doctor says of log and store: the gateway asks them, as the command knows neither. */
import type { Client } from './client.ts';
import { EXIT } from './exit-codes.ts';
import { Refusal } from './refusal.ts';
import type { Finding } from './subscription-check.ts';

export interface Check {
  readonly name: string;
  readonly findings: readonly Finding[];
  /** Why it was left out. */
  readonly skipped?: string;
}

/** Undefined where this key may not ask. */
export async function checkParts(client: Client): Promise<readonly Check[] | undefined> {
  try {
    const { body } = await client.ask<{ readonly data: readonly Check[] }>('GET /v1/health/checks');
    return body.data;
  } catch (error) {
    // One that does not have the address is of another version, which is said already.
    if (error instanceof Refusal && (error.exit === EXIT.auth || error.exit === EXIT.notFound)) return undefined;
    throw error;
  }
}
