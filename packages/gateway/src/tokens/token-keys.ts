/**
 * The keys that sign tokens: Ed25519, made at the first start, the private parts sealed. One resource of the directory holds
 * them all, so every node has the same ones within a second and a rotation is one change.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, type KeyObject, randomBytes } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { Problem } from '@millrace/core/problem';
import { TOKEN_ALGORITHM } from '@millrace/core/token';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Keyring, TokenKey, Versioned } from '../ports/directory.ts';
import type { Vault } from '../vault.ts';
import { TOKENS } from './times.ts';

export interface TokenKeys {
  readonly issuer: string;
  /** The one that signs now. Throws `invalid_secret` where this process can not open it. */
  signing(): { readonly kid: string; readonly key: KeyObject };
  /** To verify with; undefined where it is none of ours, or does not count any more. */
  verifying(kid: string): KeyObject | undefined;
  /** Reads the directory again, where that was not done a moment ago. */
  refresh(): Promise<void>;
  /**
   * Another one takes over: once whoever caches the keys has it, and the former verifies until its last token has expired. With
   * `now` at once, and no token made before is worth anything. Rejects with `conflict` while one is about to take over.
   */
  rotate(how: { readonly now: boolean }): Promise<readonly TokenKey[]>;
  /** What is published, newest first. */
  keys(): readonly TokenKey[];
  stop(): void;
}

interface Needs {
  readonly directory: Directory;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Some key may not count any more. */
  readonly onChange: () => void;
}

/** It is one for all environments. */
const PLACE = { environment: 'default', id: 'tokens' } as const;

export async function openTokenKeys({ directory, vault, clock, limits, onChange }: Needs): Promise<TokenKeys> {
  const publicKeys = new Map<string, KeyObject>();
  let readMs = clock.monotonic();
  let reading: Promise<void> | undefined;
  let ring = (await read()) ?? (await begin());
  const unwatch = directory.watch((change) => {
    if (change.kind === 'keyring' && change.now !== undefined) take(change.now);
  });
  // What changed before it was watched.
  await reread();
  let timer = clock.after(TOKENS.tidyMs, tidyLater);
  if (!canSign()) await heal();
  await tidy();

  function take(now: Versioned<Keyring>): void {
    if (now.version <= ring.version) return;
    ring = now;
    publicKeys.clear();
    onChange();
  }

  function read(): Promise<Versioned<Keyring> | undefined> {
    return directory.get('keyring', PLACE.environment, PLACE.id);
  }

  /** Of several nodes that start at once one is first. */
  async function begin(): Promise<Versioned<Keyring>> {
    const nowMs = clock.now();
    const keys = [makeKey(vault, nowMs, nowMs)];
    const value = { issuer: `urn:millrace:${base32(randomBytes(16), 26)}`, keys, createdMs: nowMs };
    try {
      return await directory.put('keyring', PLACE.environment, PLACE.id, value, 'absent');
    } catch (error) {
      const found = error instanceof Problem && error.code === 'already_exists' ? await read() : undefined;
      if (found === undefined) throw error;
      return found;
    }
  }

  async function store(keys: readonly TokenKey[]): Promise<void> {
    take(await directory.put('keyring', PLACE.environment, PLACE.id, { ...ring.value, keys }, ring.version));
  }

  /** The key file was lost, and a new one made in its place: what it sealed is gone for good. */
  function canSign(): boolean {
    try {
      signing();
      return true;
    } catch (error) {
      if (error instanceof Problem && error.code === 'invalid_secret') return false;
      throw error;
    }
  }

  async function heal(): Promise<void> {
    const former = ring.value.keys.map(({ sealed: _lost, ...rest }) => rest);
    await storeFirst(withNewKey(former, clock.now()));
  }

  function signing(): { readonly kid: string; readonly key: KeyObject } {
    const nowMs = clock.now();
    // A clock that was set back since may find none that signs yet.
    const found = ring.value.keys.find(({ signsFromMs }) => signsFromMs <= nowMs) ?? ring.value.keys.at(-1);
    if (found?.sealed === undefined) throw new Problem('invalid_secret', 'there is no key that tokens could be signed with');
    const d = vault.open(found.sealed);
    return { kid: found.kid, key: createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', x: found.x, d }, format: 'jwk' }) };
  }

  /** The former keys verify for as long as a token of theirs may be around. */
  function withNewKey(keys: readonly TokenKey[], signsFromMs: number): TokenKey[] {
    const untilMs = signsFromMs + TOKENS.ttlMsMax + TOKENS.leewayMs;
    return [makeKey(vault, clock.now(), signsFromMs), ...keys.map((key) => ({ ...key, untilMs: key.untilMs ?? untilMs }))];
  }

  async function rotate({ now }: { readonly now: boolean }): Promise<readonly TokenKey[]> {
    await reread();
    const nowMs = clock.now();
    if (now) await store([makeKey(vault, nowMs, nowMs)]);
    else if ((ring.value.keys[0]?.signsFromMs ?? 0) > nowMs)
      throw new Problem('conflict', 'a new key is about to take over already', {
        advice: 'Wait until it signs; a key that somebody else may have is replaced at once with "now": true.',
      });
    else await store(withNewKey(counting(), nowMs + TOKENS.publishedMs));
    return ring.value.keys;
  }

  function counting(): TokenKey[] {
    return ring.value.keys.filter(({ untilMs = Infinity }) => untilMs > clock.now());
  }

  /** By age; and what does not verify any more goes. */
  async function tidy(): Promise<void> {
    const nowMs = clock.now();
    const isOld = (ring.value.keys[0]?.signsFromMs ?? 0) + limits.tokenKeyMs <= nowMs;
    if (!isOld && counting().length === ring.value.keys.length) return;
    await storeFirst(isOld ? withNewKey(counting(), nowMs + TOKENS.publishedMs) : counting());
  }

  /** Another node may be faster: then it is done. */
  async function storeFirst(keys: readonly TokenKey[]): Promise<void> {
    try {
      await store(keys);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'version_mismatch') throw error;
      await reread();
    }
  }

  function tidyLater(): void {
    // What can not be written now is looked at again in an hour.
    void tidy().catch(() => undefined);
    timer = clock.after(TOKENS.tidyMs, tidyLater);
  }

  async function reread(): Promise<void> {
    const found = await read();
    if (found !== undefined) take(found);
  }

  return {
    get issuer() {
      return ring.value.issuer;
    },
    signing,
    verifying(kid) {
      const found = ring.value.keys.find((key) => key.kid === kid);
      if (found === undefined || (found.untilMs ?? Infinity) <= clock.now()) return undefined;
      const key = publicKeys.get(kid) ?? createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: found.x }, format: 'jwk' });
      publicKeys.set(kid, key);
      return key;
    },
    refresh() {
      if (reading === undefined && clock.monotonic() - readMs >= TOKENS.readAgainMs) {
        readMs = clock.monotonic();
        reading = reread().finally(() => (reading = undefined));
      }
      return reading ?? Promise.resolve();
    },
    rotate,
    keys: counting,
    stop() {
      unwatch();
      timer.cancel();
    },
  };
}

function makeKey(vault: Vault, createdMs: number, signsFromMs: number): TokenKey {
  const { x = '', d = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  // RFC 7638 (and RFC 8037, appendix A.3): these members, in this order.
  const kid = hash('sha256', JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x }), 'base64url');
  return { kid, x, sealed: vault.seal(d), createdMs, signsFromMs };
}

/** RFC 7517, as it is published, with its version for caches. */
export function jwksOf(keys: readonly TokenKey[]): { readonly body: string; readonly etag: string } {
  const list = keys.map(({ kid, x }) => ({ kty: 'OKP', crv: 'Ed25519', x, kid, use: 'sig', alg: TOKEN_ALGORITHM }));
  const body = JSON.stringify({ keys: list });
  return { body, etag: `"${hash('sha256', body, 'base64url').slice(0, 22)}"` };
}
