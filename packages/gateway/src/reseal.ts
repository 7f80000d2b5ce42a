/** At a start: everything that a former key sealed is sealed with the new one, and what was never sealed with it, too. */
import { allOf } from './all-of.ts';
import type { Directory, Kinds, Versioned } from './ports/directory.ts';
import type { Vault } from './vault.ts';
import { haveReadable, sealHeaders, showHeaders } from './webhook-headers.ts';

/** Resolves with how many resources were sealed anew. Ended anywhere, it goes on where it was when called again. */
export async function reseal(directory: Directory, vault: Vault): Promise<number> {
  let count = 0;

  async function each<K extends 'subscription' | 'key' | 'answer' | 'keyring'>(
    kind: K,
    renew: (found: Versioned<Kinds[K]>) => Promise<unknown> | undefined,
  ): Promise<void> {
    for await (const found of allOf(directory, kind)) {
      const renewed = renew(found);
      if (renewed === undefined) continue;
      await renewed;
      count++;
    }
  }

  const anew = (sealed: string): string => vault.seal(vault.open(sealed));

  await each('subscription', ({ environment, id, version, value }) => {
    const { webhook } = value.deliver;
    if (webhook === undefined) return undefined;
    const own = webhook.sealedHeaders ?? {};
    const all = [...webhook.secrets.map(({ sealed }) => sealed), ...Object.values(own)];
    if (!all.some((sealed) => vault.isOutdated(sealed))) return undefined;
    const secrets = webhook.secrets.map((secret) => ({ ...secret, sealed: anew(secret.sealed) }));
    const sealedHeaders = Object.fromEntries(Object.entries(own).map(([name, sealed]) => [name, anew(sealed)]));
    const headers = webhook.sealedHeaders === undefined ? {} : { sealedHeaders };
    const deliver = { webhook: { ...webhook, secrets, ...headers } };
    return directory.put('subscription', environment, id, { ...value, deliver }, version);
  });
  await each('key', ({ environment, id, version, value }) =>
    value.sealed !== undefined && vault.isOutdated(value.sealed)
      ? directory.put('key', environment, id, { ...value, sealed: anew(value.sealed) }, version)
      : undefined,
  );
  await each('answer', ({ environment, id, version, value }) =>
    vault.isOutdated(value.sealed)
      ? directory.put('answer', environment, id, { ...value, sealed: anew(value.sealed) }, version)
      : undefined,
  );
  await each('keyring', ({ environment, id, version, value }) =>
    value.keys.some(({ sealed }) => sealed !== undefined && vault.isOutdated(sealed))
      ? directory.put(
          'keyring',
          environment,
          id,
          { ...value, keys: value.keys.map((key) => (key.sealed === undefined ? key : { ...key, sealed: anew(key.sealed) })) },
          version,
        )
      : undefined,
  );
  return count;
}

/** Credentials among headers that an earlier version left readable. Resolves with how many subscriptions had any. */
export async function sealCredentials(directory: Directory, vault: Vault): Promise<number> {
  let count = 0;
  for await (const { environment, id, version, value } of allOf(directory, 'subscription')) {
    const { webhook } = value.deliver;
    if (webhook === undefined || !haveReadable(webhook)) continue;
    const { sealedHeaders: _before, ...rest } = webhook;
    const sealed = sealHeaders(showHeaders(webhook), { url: webhook.url, vault, present: webhook, pointer: '' });
    await directory.put('subscription', environment, id, { ...value, deliver: { webhook: { ...rest, ...sealed } } }, version);
    count++;
  }
  return count;
}
