/** Which gateway, with which key. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { temporary } from '../test/world.ts';
import { type GlobalOptions, type Settings, settingsOf } from './settings.ts';

const FLAG = 'mr_aaaaaaaa_flag';

function project(t: Parameters<typeof temporary>[0], files: Readonly<Record<string, string>>): string {
  const directory = temporary(t);
  mkdirSync(join(directory, '.millrace'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, '.millrace', name), `${text}\n`);
  return directory;
}

function read(directory: string, options: GlobalOptions = {}, environment: NodeJS.ProcessEnv = {}): [string, string | undefined] {
  const settings: Settings = settingsOf(options, { directory, environment });
  return [settings.address(), settings.key()];
}

describe('settings', () => {
  test('are flags, then environment, then the directory, then defaults', (t) => {
    const directory = project(t, { address: 'http://127.0.0.1:5555', 'admin-key': 'mr_file' });
    const environment = { MILLRACE_URL: 'http://127.0.0.1:6666', MILLRACE_KEY: 'mr_environment' };
    assert.deepEqual(read(directory, { url: 'localhost:7777/', key: FLAG }, environment), ['http://localhost:7777', FLAG]);
    assert.deepEqual(read(directory, {}, environment), ['http://127.0.0.1:6666', 'mr_environment']);
    assert.deepEqual(read(directory), ['http://127.0.0.1:5555', 'mr_file']);
    assert.deepEqual(read(temporary(t)), ['http://127.0.0.1:4400', undefined]);
    assert.deepEqual(read(directory, {}, { MILLRACE_URL: '', MILLRACE_KEY: '' }), ['http://127.0.0.1:5555', 'mr_file']);
  });

  test('follow a gateway to its next port', (t) => {
    const directory = project(t, { address: 'http://127.0.0.1:5555' });
    const { address } = settingsOf({}, { directory, environment: {} });
    assert.equal(address(), 'http://127.0.0.1:5555');
    writeFileSync(join(directory, '.millrace', 'address'), 'http://127.0.0.1:5556\n');
    assert.equal(address(), 'http://127.0.0.1:5556');
  });

  test('send the key of the directory to this machine alone', (t) => {
    const directory = project(t, { 'admin-key': 'mr_file' });
    assert.equal(read(directory, { url: 'https://events.example' })[1], undefined);
    for (const url of ['http://127.0.0.1:1', 'http://localhost:1', 'http://[::1]:1'])
      assert.equal(read(directory, { url })[1], 'mr_file');
  });

  test('may be in another directory', (t) => {
    const directory = project(t, {});
    const data = temporary(t);
    writeFileSync(join(data, 'address'), 'http://127.0.0.1:5557');
    assert.equal(read(directory, {}, { MILLRACE_DATA: data })[0], 'http://127.0.0.1:5557');
  });

  test('that make no sense are refused', (t) => {
    const directory = temporary(t);
    assert.throws(() => read(directory, { url: 'ftp://x' }), /--url "ftp:\/\/x" is no address/);
    assert.throws(() => read(directory, {}, { MILLRACE_URL: 'http://' }), /MILLRACE_URL/);
    assert.throws(() => read(directory, { key: 'customer-7' }), /begins with mr_/);
  });
});
