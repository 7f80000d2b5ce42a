/** Which gateway, with which key: flags, then environment, then what `dev` or `start` left in the data directory, then defaults. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ADDRESS_FILE, DEFAULT_DATA, DEFAULT_PORT, ADMIN_KEY_FILE } from '@millrace/gateway/options';
import { misused } from './refusal.ts';
import type { World } from './world.ts';

export interface Settings {
  /** Without a slash at its end. Read anew each time, as the key: a gateway that started again may have another one. */
  address(): string;
  key(): string | undefined;
  /** Where the key came from, for people: never what it is. Undefined where there is none. */
  keyFrom(): string | undefined;
  /** Why there is none, where somebody meant to give one. */
  readonly noKey: string | undefined;
  /** Where the address came from, for people. */
  readonly addressFrom: '--url' | 'MILLRACE_URL' | 'file' | 'default';
  /** Of the project: holds admin-key, address, the secret of `listen`. */
  readonly data: string;
}

export interface GlobalOptions {
  readonly url?: string;
  readonly key?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function settingsOf(
  { url, key }: GlobalOptions,
  { environment, directory }: Pick<World, 'environment' | 'directory'>,
): Settings {
  const data = resolve(directory, given(environment['MILLRACE_DATA']) ?? DEFAULT_DATA);
  const file = join(data, ADDRESS_FILE);
  const kept = (): string | undefined => loopbackOf(readIfThere(file), file);
  const named = url ?? given(environment['MILLRACE_URL']);
  const addressFrom =
    url !== undefined ? '--url' : named !== undefined ? 'MILLRACE_URL' : readIfThere(file) !== undefined ? 'file' : 'default';
  const fixed = named === undefined ? undefined : addressOf(named, addressFrom);
  const address = (): string => fixed ?? kept() ?? `http://127.0.0.1:${DEFAULT_PORT}`;
  // A token begins as every JWT does: with the base64 of an object.
  if (key?.trim() === '')
    throw misused('the key of --key is empty', 'If it comes from a variable or a file, look whether that is there.');
  if (key !== undefined && !/^(mr_|eyJ)/.test(key))
    throw misused('--key is a key of the gateway, which begins with mr_, or a token', 'The key of an event is --partition-key.');
  const { MILLRACE_KEY: ofEnvironment } = environment;
  const chosen = key ?? given(ofEnvironment?.trim());
  const keyFile = join(data, ADMIN_KEY_FILE);
  const ofFile = (): string | undefined => (isOwn(address(), readIfThere(file)) ? readIfThere(keyFile) : undefined);
  return {
    address,
    key: () => chosen ?? ofFile(),
    keyFrom() {
      if (key !== undefined) return '--key';
      if (chosen === undefined) return ofFile() === undefined ? undefined : keyFile;
      const other = ofFile();
      return other === undefined || other === chosen ? 'MILLRACE_KEY' : `MILLRACE_KEY, which goes before ${keyFile}`;
    },
    noKey: ofEnvironment?.trim() === '' ? 'MILLRACE_KEY is set, and empty' : undefined,
    addressFrom,
    data,
  };
}

function given(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function addressOf(text: string, from: string): string {
  // What people write where they mean it.
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '')
    throw misused(`${from} "${text.slice(0, 80)}" is no address of a gateway`, 'Write it like http://127.0.0.1:4400.');
  return url.href.replace(/\/+$/, '');
}

/**
 * The file comes with the directory, and that may be somebody else's work: a repository that was checked out could send the
 * key of whoever runs a command in it anywhere. So it names this machine or nothing.
 */
function loopbackOf(text: string | undefined, file: string): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && isHere(url.href)) return url.origin;
  // Nor may it write to the terminal what it likes.
  const shown = text.slice(0, 80).replaceAll(/[^\x20-\x7E]/g, '?');
  throw misused(
    `${file} names "${shown}", which is not on this machine, and a key is sent only where you say so yourself`,
    'If that is your gateway, name it: --url or MILLRACE_URL; if you do not know that file, remove it.',
  );
}

/** The admin key of this directory is sent to its own gateway alone, by whatever name of this machine: another may listen on the next port. */
function isOwn(address: string, kept = `http://127.0.0.1:${DEFAULT_PORT}`): boolean {
  const [asked, own] = [new URL(address), URL.parse(kept)];
  return isHere(address) && own !== null && asked.protocol === own.protocol && asked.port === own.port;
}

function isHere(address: string): boolean {
  const { hostname } = new URL(address);
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

function readIfThere(path: string): string | undefined {
  try {
    return given(readFileSync(path, 'utf8').trim());
  } catch {
    return undefined; // not there, or not for this user: then it does not help
  }
}
