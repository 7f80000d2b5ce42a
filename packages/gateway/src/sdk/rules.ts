/** Which release an app gets: the newest, one that it has pinned, the patches of one; and for a share of its clients another one. */
import { hash } from 'node:crypto';
import type { SdkRule } from '../ports/directory.ts';
import { compareVersions, isSameLine, versionIn } from './versions.ts';

export interface Chosen {
  readonly version: string;
  readonly why: 'latest' | 'pin' | 'patch' | 'rollout';
}

interface There {
  readonly version: string;
}

interface Among {
  /** That of this gateway: the latest. After a gateway was set back to what it was before, so is what its pages get. */
  readonly own: There;
  /** Newest first. */
  readonly all: readonly There[];
}

/** Who asks, of the clients of an app. */
export interface Client {
  readonly environment: string;
  readonly app: string;
  readonly client: string;
}

/** Names a release of `all`. Without a client nobody is in the share. */
export function chosenBy(rule: SdkRule, among: Among, client?: Client): Chosen {
  const { rollout } = rule;
  if (rollout !== undefined && client !== undefined && isThere(rollout.version, among) && shareOf(client) < rollout.percent)
    return { version: rollout.version, why: 'rollout' };
  if (rule.pin !== undefined && isThere(rule.pin, among)) return { version: rule.pin, why: 'pin' };
  const patch = rule.from === undefined ? undefined : newestPatch(rule.from, among);
  return patch === undefined ? { version: among.own.version, why: 'latest' } : { version: patch, why: 'patch' };
}

/** The versions that a rule says itself. */
export function namedBy({ pin, from, rollout }: SdkRule): readonly string[] {
  return [pin, from, rollout?.version].filter((name) => name !== undefined);
}

function isThere(version: string, { all }: Among): boolean {
  return all.some((one) => one.version === version);
}

/** Not newer than this gateway: see `own`. */
function newestPatch(from: string, { own, all }: Among): string | undefined {
  const [first, last] = [versionIn(from), versionIn(own.version)];
  if (first === undefined || last === undefined) return undefined;
  if (isSameLine(first, last) && compareVersions(last, first) >= 0) return own.version;
  return all.find(({ version }) => {
    const one = versionIn(version);
    if (one === undefined || !isSameLine(one, first)) return false;
    return compareVersions(one, first) >= 0 && compareVersions(one, last) <= 0;
  })?.version;
}

const SHARE_BYTES = 6;

/**
 * Where a client stands between 0 and 100: the same everywhere and for ever. Whoever is in with 10 % is with 20 %, and in the
 * next rollout, too.
 */
export function shareOf({ environment, app, client }: Client): number {
  const digest = hash('sha256', `${environment}\n${app}\n${client}`, 'buffer');
  return (digest.readUIntBE(0, SHARE_BYTES) / 2 ** (8 * SHARE_BYTES)) * 100;
}
