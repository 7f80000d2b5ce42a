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

  test('send the key of the directory to its own gateway alone, by any name of this machine', (t) => {
    const without = project(t, { 'admin-key': 'mr_file' });
    const directory = project(t, { 'admin-key': 'mr_file', address: 'http://127.0.0.1:5555' });
    assert.equal(read(directory, { url: 'https://events.example:5555' })[1], undefined);
    for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
      assert.equal(read(directory, { url: `http://${host}:5555` })[1], 'mr_file');
      assert.equal(read(without, { url: `http://${host}:4400` })[1], 'mr_file');
      // Somebody else may listen there.
      assert.equal(read(directory, { url: `http://${host}:4400` })[1], undefined);
      assert.equal(read(directory, { url: `https://${host}:5555` })[1], undefined);
    }
  });

  test('take no address from the directory that is not on this machine: it may be somebody else’s work', (t) => {
    const environment = { MILLRACE_KEY: 'mr_environment' };
    for (const address of [
      'https://thief.example',
      'http://127.0.0.1@thief.example',
      'http://127.0.0.1.thief.example:4400',
      'http://localhost.thief.example',
      'http://10.0.0.7:4400',
      'http://[::ffff:10.0.0.7]',
      'ftp://127.0.0.1',
      'nonsense',
    ]) {
      const directory = project(t, { address, 'admin-key': 'mr_file' });
      assert.throws(
        () => read(directory, {}, environment),
        { message: /not on this machine/, advice: /--url or MILLRACE_URL/ },
        address,
      );
      assert.throws(() => read(directory), /not on this machine/, address);
      assert.deepEqual(read(directory, { url: 'https://mine.example' }, environment), ['https://mine.example', 'mr_environment']);
      assert.deepEqual(
        read(directory, {}, { MILLRACE_URL: address.startsWith('https') ? address : 'https://mine.example' })[1],
        undefined,
      );
    }
    assert.throws(() => read(project(t, { address: 'http://a\u001B[2J' })), { message: /names "http:\/\/a\?\[2J"/ });
    for (const address of ['http://127.0.0.1:5555', 'http://localhost:5555', 'http://[::1]:5555'])
      assert.deepEqual(read(project(t, { address }), {}, environment), [address, 'mr_environment']);
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
    assert.doesNotThrow(() => read(directory, { key: 'eyJhbGciOiJFZERTQSJ9.e30.x' }));
  });
});
