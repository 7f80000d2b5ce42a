/**
 * Releases: the versions of the SDK that can be served. The one that belongs to this gateway, made when somebody first asks; and those that
 * were served before, which stay after an upgrade, as long as an app wants them or there is room.
 *
 * They are kept in the directory, not beside it in files: nodes have one directory and data directories of their own, and a page that was
 * told of a version by one node may ask any other for it. `absent` makes the first writer the only one: what an immutable address once
 * answered it answers for ever, whoever is asked.
 */
import { hash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { allOf } from '../all-of.ts';
import { Problem } from '@millrace/core/problem';
import { type Followed, follow } from '../http/followed.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { App, Directory, Sdk, Versioned } from '../ports/directory.ts';
import { buildSdk, SDK_SOURCE } from './build.ts';
import { chosenBy, namedBy } from './rules.ts';
import { compareVersions, type Version, versionIn } from './versions.ts';

export interface Release extends Sdk {
  readonly version: string;
}

export interface Releases {
  /** That of this gateway. */
  own(): Promise<Release>;
  /** All there are, that of this gateway among them, newest first. */
  all(): Promise<readonly Release[]>;
  get(version: string): Promise<Release | undefined>;
  stop(): void;
}

interface Needs {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Of the gateway. */
  readonly version: string;
  readonly apps: Followed<App>;
  readonly source?: URL | undefined;
}

/** They are the same for all environments. */
const ENVIRONMENT = 'default';
/** A version that is not known has them read again, so often at most: whoever makes such up costs nothing. */
const READ_AGAIN_MS = 1_000;
const DIGEST_CHARS = 12;

export async function openReleases(needs: Needs): Promise<Releases> {
  const { directory, clock, limits, version, apps, source = SDK_SOURCE } = needs;
  const kept = await follow(directory, 'sdk', (_sdk, { id }) => id);
  const looked = new WeakMap<object, boolean>();
  let making: Promise<Release> | undefined;
  let read = new Map<string, Versioned<Sdk>>();
  let readMs = -Infinity;
  let reading: Promise<void> | undefined;

  /** What is not what was once served is served no more: every page that names its digest would refuse it. */
  function intact(found: Versioned<Sdk> | undefined): Release | undefined {
    if (found === undefined) return undefined;
    const { id, value } = found;
    if (!looked.has(value)) looked.set(value, digestOf(value.code) === value.sha384);
    return looked.get(value) === true ? { version: id, ...value } : undefined;
  }

  function own(): Promise<Release> {
    making ??= make().catch((error: unknown) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  /** Under the version of the gateway; where that has other bytes already, as between two releases, with their digest behind it. */
  async function make(): Promise<Release> {
    const sdk = await sdkOf(await buildSdk(source), clock.now());
    const digest = hash('sha256', sdk.code, 'hex').slice(0, DIGEST_CHARS);
    const other = `${version}${version.includes('+') ? '.' : '+'}${digest}`;
    const release = (await keep(version, sdk)) ?? (await keep(other, sdk));
    if (release === undefined)
      throw new Problem('internal_error', 'the SDK of this gateway is kept with other bytes than it has', {
        advice: 'Install this version of Millrace anew: its SDK is not what was served before under its version.',
      });
    await forgetOld(release);
    return release;
  }

  /** Undefined where this version has other bytes. */
  async function keep(name: string, sdk: Sdk): Promise<Release | undefined> {
    const found = await directory.get('sdk', ENVIRONMENT, name);
    if (found !== undefined) return found.value.code === sdk.code ? intact(found) : undefined;
    try {
      return intact(await directory.put('sdk', ENVIRONMENT, name, sdk, 'absent'));
    } catch (error) {
      if (error instanceof Problem && error.code === 'already_exists') return keep(name, sdk);
      throw error;
    }
  }

  function allWith(release: Release): Release[] {
    const others = [...kept.values()].flatMap((one) => intact(one) ?? []).filter((one) => one.version !== release.version);
    return sorted([...others, release]);
  }

  /** The oldest go, unless a rule leads to them. */
  async function forgetOld(release: Release): Promise<void> {
    const all = allWith(release);
    const needed = new Set([release.version]);
    for (const { value } of apps.values()) {
      if (value.sdk === undefined) continue;
      for (const name of namedBy(value.sdk)) needed.add(name);
      needed.add(chosenBy(value.sdk, { own: release, all }).version);
    }
    const free = all.filter((one) => !needed.has(one.version)).toSorted((one, other) => one.createdMs - other.createdMs);
    for (const { version: name } of free.slice(0, Math.max(0, all.length - limits.sdkVersions)))
      await directory.delete('sdk', ENVIRONMENT, name);
  }

  /** Made by another node a moment ago, and not told of yet. */
  function lookAgain(): Promise<void> {
    if (reading === undefined && clock.monotonic() - readMs >= READ_AGAIN_MS) {
      readMs = clock.monotonic();
      reading = readAll().finally(() => (reading = undefined));
    }
    return reading ?? Promise.resolve();
  }

  async function readAll(): Promise<void> {
    const found = new Map<string, Versioned<Sdk>>();
    for await (const one of allOf(directory, 'sdk')) found.set(one.id, one);
    read = found;
  }

  return {
    own,
    async all() {
      return allWith(await own());
    },
    async get(name) {
      const known = intact(kept.get(name));
      if (known !== undefined || versionIn(name) === undefined) return known;
      const release = await own();
      if (release.version === name) return release;
      await lookAgain();
      return intact(kept.get(name) ?? read.get(name));
    },
    stop: () => kept.stop(),
  };
}

const digestOf = (code: string): string => hash('sha384', code, 'base64');

async function sdkOf(code: string, createdMs: number): Promise<Sdk> {
  const zipped = await promisify(gzip)(code, { level: 9 });
  return { code, sha384: digestOf(code), bytes: Buffer.byteLength(code), gzipBytes: zipped.length, createdMs };
}

/** Newest first; of one version what was made last. */
function sorted(releases: readonly Release[]): Release[] {
  const first = { major: 0, minor: 0, patch: 0, before: [] } satisfies Version;
  return releases.toSorted(
    (one, other) =>
      compareVersions(versionIn(other.version) ?? first, versionIn(one.version) ?? first) || other.createdMs - one.createdMs,
  );
}
