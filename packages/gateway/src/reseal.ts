/** After a new key for secrets at rest: everything that a former one sealed is sealed with the new one. */
import type { Answer, Directory, Subscription, Versioned } from './ports/directory.ts';
import type { Vault } from './vault.ts';

const PAGE = 500;

/** Resolves with how many resources were sealed anew. Ended anywhere, it goes on where it was when called again. */
export async function reseal(directory: Directory, vault: Vault): Promise<number> {
  let count = 0;

  async function each<K extends 'subscription' | 'answer'>(
    kind: K,
    renew: (found: Versioned<K extends 'answer' ? Answer : Subscription>) => Promise<unknown> | undefined,
  ): Promise<void> {
    for (let after: { environment: string; id: string } | undefined; ;) {
      const page = await directory.list(kind, { limit: PAGE, ...(after === undefined ? {} : { after }) });
      for (const found of page) {
        const renewed = renew(found as never);
        if (renewed === undefined) continue;
        await renewed;
        count++;
      }
      after = page.at(-1);
      if (after === undefined || page.length < PAGE) return;
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
