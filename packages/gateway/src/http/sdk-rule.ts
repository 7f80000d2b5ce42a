/** The rule of an app by which its pages get a version of the SDK: what a change makes of it, and what is refused. */
import { Problem } from '@millrace/core/problem';
import type { SdkRule } from '../ports/directory.ts';
import type { Releases } from '../sdk/releases.ts';

export interface SdkChange extends Omit<SdkRule, 'rollout'> {
  readonly rollout?: SdkRule['rollout'] | null;
}

/** `pin` or `follow` replaces what stood there as a whole; a rollout is a change of its own. */
export function changedRule(before: SdkRule, change: SdkChange): SdkRule {
  const { rollout = before.rollout } = change;
  return {
    ...baseOf(change.pin === undefined && change.follow === undefined && change.from === undefined ? before : change),
    ...(rollout && { rollout }),
  };
}

function baseOf({ pin, follow, from }: SdkChange): SdkRule {
  if (pin !== undefined && (follow !== undefined || from !== undefined))
    throw new Problem('invalid_request', 'an app has one version pinned, or follows some', {
      pointer: '/sdk',
      advice: 'Send {"pin": "0.1.0"}, or {"follow": "patch", "from": "0.1.0"}, or {"follow": "latest"}.',
    });
  if ((follow === 'patch') !== (from !== undefined))
    throw new Problem('invalid_request', 'from goes with follow: patch, and that needs it', {
      pointer: '/sdk/from',
      advice: 'Send {"follow": "patch", "from": "0.1.0"}: the newest one of 0.1 from there on.',
    });
  if (pin !== undefined) return { pin };
  return follow === 'patch' && from !== undefined ? { follow, from } : {};
}

/** Throws `invalid_request` for a version that is not served here. */
export async function checkVersions(rule: SdkRule | undefined, releases: Releases): Promise<void> {
  const named = [
    ['/sdk/pin', rule?.pin],
    ['/sdk/from', rule?.from],
    ['/sdk/rollout/version', rule?.rollout?.version],
  ] as const;
  for (const [pointer, version] of named) {
    if (version === undefined || (await releases.get(version)) !== undefined) continue;
    const all = await releases.all();
    throw new Problem('invalid_request', `there is no version '${version.slice(0, 80)}' of the SDK here`, {
      pointer,
      advice: `There are: ${all.map((one) => one.version).join(', ')} (GET /sdk/manifest.json).`,
    });
  }
}
