/**
 * The manifest: which releases there are, and which one an app gets. Signed with the keys that sign tokens, so that whoever loads the SDK
 * from elsewhere, or through somebody, can tell that these digests are ours: `typ` tells it from a token, `exp` an old one from a new.
 */
import { TOKEN_ALGORITHM } from '@millrace/core/token';
import { CompactSign } from 'jose';
import type { SdkRule } from '../ports/directory.ts';
import { TOKENS } from '../tokens/times.ts';
import type { TokenKeys } from '../tokens/token-keys.ts';
import type { Release, Releases } from './releases.ts';
import { type Chosen, chosenBy, type Client } from './rules.ts';

export const MANIFEST_TYPE = 'millrace-sdk+jws';
/** How long others may keep what may be another one in a moment: so long a change takes to reach every page. */
export const MANIFEST_KEPT_MS = 300_000;
/** No longer than the former keys are published after a rotation: while it counts it can be verified. */
const MANIFEST_MS = TOKENS.ttlMsMax;

export interface Manifest {
  readonly versions: readonly Listed[];
  readonly latest: string;
  /** For the app that was named. */
  readonly app?: Pick<Listed, 'version' | 'url' | 'integrity'> & { readonly why: Chosen['why'] };
}

interface Listed {
  readonly version: string;
  /** From the root of the gateway. */
  readonly url: string;
  readonly integrity: string;
  readonly bytes: number;
  readonly gzipBytes: number;
  readonly at: string;
}

export interface Asking {
  readonly rule: SdkRule;
  readonly client: Client | undefined;
}

export const urlOf = (version: string): string => `/sdk/${version}/millrace.js`;
export const integrityOf = ({ sha384 }: Pick<Release, 'sha384'>): string => `sha384-${sha384}`;

/** The release for who asks; the latest where no app is named. */
export async function releaseFor(
  releases: Releases,
  asking: Asking | undefined,
): Promise<{ readonly release: Release } & Chosen> {
  const [own, all] = [await releases.own(), await releases.all()];
  const chosen = chosenBy(asking?.rule ?? {}, { own, all }, asking?.client);
  return { ...chosen, release: all.find(({ version }) => version === chosen.version) ?? own };
}

export async function manifestOf(releases: Releases, asking: Asking | undefined): Promise<Manifest> {
  const [all, { release, why }] = [await releases.all(), await releaseFor(releases, asking)];
  const listed = all.map(listedOf);
  const { version, url, integrity } = listedOf(release);
  return {
    versions: listed,
    latest: (await releases.own()).version,
    ...(asking === undefined ? {} : { app: { version, url, integrity, why } }),
  };
}

function listedOf(release: Release): Listed {
  const { version, bytes, gzipBytes, createdMs } = release;
  return {
    version,
    url: urlOf(version),
    integrity: integrityOf(release),
    bytes,
    gzipBytes,
    at: new Date(createdMs).toISOString(),
  };
}

/** The same for as long as caches may keep it: whoever asks again has the same bytes. */
export function signManifest(manifest: Manifest, keys: TokenKeys, nowMs: number): Promise<string> {
  const sinceMs = Math.floor(nowMs / MANIFEST_KEPT_MS) * MANIFEST_KEPT_MS;
  const { kid, key } = keys.signing();
  const claims = { iss: keys.issuer, iat: sinceMs / 1_000, exp: (sinceMs + MANIFEST_MS) / 1_000, ...manifest };
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: TOKEN_ALGORITHM, typ: MANIFEST_TYPE, kid })
    .sign(key);
}
