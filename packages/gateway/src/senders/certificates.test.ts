/** Certificates that must not be believed, and one that may: made by openssl for the occasion. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { listen } from '../../test/receivers.ts';
import { connecting, detailOf, errorOf, type Post, sending, statusOf } from './test/sending.ts';

const HOST = 'hooks.example';
const skip = spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed';

/** An authority that signs whatever it is given, for any time. */
const AUTHORITY = `
[ca]
default_ca = any
[any]
dir = .
database = index.txt
new_certs_dir = .
certificate = authority.crt
private_key = authority.key
rand_serial = yes
default_md = sha256
policy = anything
copy_extensions = copy
unique_subject = no
[anything]
commonName = supplied
`;

interface Identity {
  readonly key: string;
  readonly cert: string;
}

describe('a certificate', { skip, timeout: 60_000 }, () => {
  let directory = '';
  let authority = '';

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-certificates-'));
    await writeFile(join(directory, 'ca.cnf'), AUTHORITY);
    await writeFile(join(directory, 'index.txt'), '');
    authority = (await selfSigned('authority', 'authority')).cert;
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const openssl = (...args: readonly string[]): Promise<unknown> => promisify(execFile)('openssl', args, { cwd: directory });

  const read = async (name: string): Promise<Identity> => ({
    key: await readFile(join(directory, `${name}.key`), 'utf8'),
    cert: await readFile(join(directory, `${name}.crt`), 'utf8'),
  });

  async function selfSigned(name: string, host: string): Promise<Identity> {
    await openssl('req', '-x509', ...requestFor(name, host), '-days', '2', '-out', `${name}.crt`);
    return read(name);
  }

  /** Times as openssl has them: YYMMDDHHMMSSZ. */
  async function signed(name: string, host: string, from: string, until: string): Promise<Identity> {
    await openssl('req', ...requestFor(name, host), '-out', `${name}.csr`);
    const files = ['-in', `${name}.csr`, '-out', `${name}.crt`];
    await openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...files, '-startdate', from, '-enddate', until);
    return read(name);
  }

  const requestFor = (name: string, host: string): readonly string[] =>
    `-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -subj /CN=${host} -addext subjectAltName=DNS:${host}`.split(
      ' ',
    );

  /** An endpoint with this identity under HOST, and a sender that trusts the authority. */
  async function endpoint(t: TestContext, identity: Identity): Promise<{ url: string; post: Post; connections: () => number }> {
    let connections = 0;
    const server = createServer(
      identity,
      (request, response) => void request.resume().on('end', () => response.writeHead(204).end()),
    );
    server.on('secureConnection', () => connections++).on('tlsClientError', () => undefined);
    const url = (await listen(t, server, () => server.closeAllConnections())).replace('http://127.0.0.1', `https://${HOST}`);
    const connect = connecting({
      ca: authority,
      lookup: (_host, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    return { url, post: sending(t, { connect }), connections: () => connections };
  }

  test('of a trusted authority for this host and time is believed, and its connection used again', async (t) => {
    const { url, post, connections } = await endpoint(t, await signed('good', HOST, '200101000000Z', '491231000000Z'));
    for (let n = 0; n < 5; n++) assert.equal(statusOf(await post(url)), 204);
    assert.equal(connections(), 1);
  });

  const bad = {
    'that has expired': { make: () => signed('expired', HOST, '200101000000Z', '210101000000Z'), why: /expired/ },
    'that is not valid yet': { make: () => signed('early', HOST, '480101000000Z', '490101000000Z'), why: /not yet valid/ },
    'for another host': { make: () => signed('other', 'other.example', '200101000000Z', '491231000000Z'), why: /other\.example/ },
    'for hosts below': { make: () => signed('below', `*.${HOST}`, '200101000000Z', '491231000000Z'), why: /not in the cert/ },
    'that signed itself': { make: () => selfSigned('self', HOST), why: /self-signed/ },
  };
  for (const [name, { make, why }] of Object.entries(bad))
    test(`${name} is a tls error`, async (t) => {
      const { url, post } = await endpoint(t, await make());
      const result = await post(url);
      assert.equal(errorOf(result), 'tls');
      assert.match(detailOf(result), why);
    });
});
