/**
 * The vault keeps secrets unreadable at rest: AES-256-GCM under one key that is not in the database. A sealed secret says
 * which key sealed it, so that a wrong key at restart is noticed instead of signing with rubbish.
 */
import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';
import { Problem } from '@millrace/core/problem';

export interface Vault {
  /** Text that only `open` of a vault with the same key reads. */
  seal(secret: string): string;
  /** Throws `invalid_secret` for what another key has sealed, or what was changed. */
  open(sealed: string): string;
  /** Keys for something else, which say nothing of those that seal: the first one is to be used, all of them count. */
  derived(purpose: string): readonly Uint8Array[];
  /** Whether `seal` would use another key by now. */
  isOutdated(sealed: string): boolean;
}

export const VAULT_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Keys of 32 bytes: the first one seals, all of them open. Sealed form: `v1.{key id}.{base64url of nonce, tag, ciphertext}`.
 */
export function createVault(key: Uint8Array, ...former: readonly Uint8Array[]): Vault {
  const keys = new Map([key, ...former].map((one) => [keyIdOf(one), one]));
  const present = keyIdOf(key);

  function keyOf(sealed: string): Uint8Array {
    const [version, sealedBy = '?'] = sealed.split('.');
    const found = version === 'v1' ? keys.get(sealedBy) : undefined;
    if (found !== undefined) return found;
    const here = [...keys.keys()].join(', ');
    throw new Problem('invalid_secret', `a stored secret was sealed with the key ${sealedBy}, this process has ${here}`, {
      advice: 'Start with the key that belongs to this data directory (its secret.key, or MILLRACE_SECRET_KEY).',
    });
  }

  return {
    seal(secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return `v1.${present}.${Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')}`;
    },
    open(sealed) {
      const opening = keyOf(sealed);
      const bytes = Buffer.from(sealed.split('.')[2] ?? '', 'base64url');
      try {
        const decipher = createDecipheriv('aes-256-gcm', opening, bytes.subarray(0, NONCE_BYTES));
        decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new Problem('invalid_secret', 'a stored secret was changed since it was sealed', {
          cause,
          advice: 'Bring back a copy of the store, or give what it belongs to a new secret.',
        });
      }
    },
    derived: (purpose) => [...keys.values()].map((one) => new Uint8Array(hkdfSync('sha256', one, '', purpose, VAULT_KEY_BYTES))),
    isOutdated: (sealed) => sealed.split('.')[1] !== present,
  };
}

/** Enough to tell keys apart, too little to tell anything of one. */
export function keyIdOf(key: Uint8Array): string {
  if (key.length !== VAULT_KEY_BYTES)
    throw new Problem('invalid_secret', `the key for secrets at rest has ${VAULT_KEY_BYTES} bytes`, {
      advice: 'Make one by: openssl rand -base64 32',
    });
  return hash('sha256', key, 'hex').slice(0, 8);
}
