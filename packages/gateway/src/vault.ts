/**
 * The vault keeps secrets unreadable at rest: AES-256-GCM under one key that is not in the database. A sealed secret says
 * which key sealed it, so that a wrong key at restart is noticed instead of signing with rubbish.
 */
import { createCipheriv, createDecipheriv, hash, randomBytes } from 'node:crypto';
import { Problem } from '@millrace/core/problem';

export interface Vault {
  /** Text that only `open` of a vault with the same key reads. */
  seal(secret: string): string;
  /** Throws `invalid_secret` for what another key has sealed, or what was changed. */
  open(sealed: string): string;
}

export const VAULT_KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** `key` has 32 bytes. Sealed form: `v1.{key id}.{base64url of nonce, tag, ciphertext}`. */
export function createVault(key: Uint8Array): Vault {
  if (key.length !== VAULT_KEY_BYTES)
    throw new Problem('invalid_secret', `the key for secrets at rest has ${VAULT_KEY_BYTES} bytes`);
  const keyId = hash('sha256', key, 'hex').slice(0, 8);
  return {
    seal(secret) {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce);
      const text = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return `v1.${keyId}.${Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')}`;
    },
    open(sealed) {
      const [version, sealedBy, text = ''] = sealed.split('.');
      if (version !== 'v1' || sealedBy !== keyId) {
        throw new Problem(
          'invalid_secret',
          `a stored secret was sealed with the key ${sealedBy ?? '?'}, this process has ${keyId}`,
          {
            advice: 'Start with the key file that belongs to this data directory.',
          },
        );
      }
      const bytes = Buffer.from(text, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new Problem('invalid_secret', 'a stored secret was changed since it was sealed', { cause });
      }
    },
  };
}
