/** After a new key for secrets at rest: everything that a former one sealed is sealed with the new one. */
import { allOf } from './all-of.ts';
import type { Answer, Directory, Subscription, Versioned } from './ports/directory.ts';
import type { Vault } from './vault.ts';

/** Resolves with how many resources were sealed anew. Ended anywhere, it goes on where it was when called again. */
export async function reseal(directory: Directory, vault: Vault): Promise<number> {
  let count = 0;

  async function each<K extends 'subscription' | 'answer'>(
    kind: K,
    renew: (found: Versioned<K extends 'answer' ? Answer : Subscription>) => Promise<unknown> | undefined,
  ): Promise<void> {
    for await (const found of allOf(directory, kind)) {
      const renewed = renew(found as never);
      if (renewed === undefined) continue;
      await renewed;
      count++;
    }
  }

  const anew = (sealed: string): string => vault.seal(vault.open(sealed));

  await each('subscription', ({ environment, id, version, value }) => {
    const { webhook } = value.deliver;
    if (!webhook.secrets.some(({ sealed }) => vault.isOutdated(sealed))) return undefined;
    const secrets = webhook.secrets.map((secret) => ({ ...secret, sealed: anew(secret.sealed) }));
    return directory.put('subscription', environment, id, { ...value, deliver: { webhook: { ...webhook, secrets } } }, version);
  });
  await each('answer', ({ environment, id, version, value }) =>
    vault.isOutdated(value.sealed)
      ? directory.put('answer', environment, id, { ...value, sealed: anew(value.sealed) }, version)
      : undefined,
  );
  return count;
}
