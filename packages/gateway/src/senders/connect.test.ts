/** What is dialled is what was judged: spellings, the DNS and its second thoughts, TLS names. Real sockets, look-ups of our own. */
import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { CERTIFICATE, CERTIFICATE_KEY } from '@millrace/conformance/certificate';
import { listen, onRequests, rawServer, receiver } from '../../test/receivers.ts';
import { createConnect } from './connect.ts';
import { createEgress, type Egress, PUBLIC_ONLY } from './egress.ts';
import { createCheckedLookup, type Lookup } from './lookup.ts';
import { detailOf, errorOf, type Post, sending, statusOf } from './test/sending.ts';

const LOOPBACK = createEgress({ allow: ['loopback'] });
const METADATA = '169.254.169.254';

/** A DNS that has these answers, one after another; the last one stays. */
function answering(...answers: readonly (readonly string[])[]): Lookup & { readonly asked: string[] } {
  const asked: string[] = [];
  const lookup: Lookup = (hostname, _options, callback) => {
    const addresses = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(hostname);
    queueMicrotask(() => callback(null, addresses.map(asFound)));
  };
  return Object.assign(lookup, { asked });
}

function asFound(address: string): LookupAddress {
  return { address, family: address.includes(':') ? 6 : 4 };
}

function posting(t: TestContext, options: Parameters<typeof createConnect>[0]): Post {
  return sending(t, { connect: createConnect(options) });
}

const portOf = (url: string): string => new URL(url).port;

describe('a literal address', { timeout: 30_000 }, () => {
  const IPV4 = '127.0.0.1 2130706433 0x7f000001 0x7f.1 017700000001 127.1 127.0.0.1. 127.255.255.254 0 0.0.0.0'.split(' ');
  const IPV6 = '[::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:0:0:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1]'.split(
    ' ',
  );
  const ODD = '１２７.０.０.１ ①②⑦.⓪.⓪.① %31%32%37.0.0.1 hooks.example@127.0.0.1 user:pass@[::1] localhost LOCALHOST'.split(' ');

  test('of the own machine is refused in every spelling, and nothing is dialled', async (t) => {
    const endpoint = await receiver(t);
    const post = posting(t, { egress: PUBLIC_ONLY });
    for (const host of [...IPV4, ...IPV6, ...ODD]) {
      const result = await post(`http://${host}:${portOf(endpoint.url)}/`);
      assert.equal(errorOf(result), 'blocked_address', host);
      assert.match(detailOf(result), /(127\.|::|0\.0\.0\.0|7f00).*allow it with --allow-egress/, host);
    }
    assert.equal(statusOf(await posting(t, { egress: LOOPBACK })(endpoint.url)), 204);
    assert.equal(endpoint.connections(), 1);
  });

  test('is refused over TLS as well', async (t) => {
    for (const host of ['127.0.0.1', '[::ffff:7f00:1]', 'localhost'])
      assert.equal(errorOf(await posting(t, { egress: PUBLIC_ONLY })(`https://${host}:9/`)), 'blocked_address', host);
  });

  test('that is allowed is dialled, IPv4-mapped too', async (t) => {
    const endpoint = await receiver(t);
    const post = posting(t, { egress: createEgress({ allow: ['127.0.0.1'] }) });
    for (const host of ['127.0.0.1', '2130706433', '[::ffff:127.0.0.1]'])
      assert.equal(statusOf(await post(`http://${host}:${portOf(endpoint.url)}/`)), 204, host);
  });

  test('with a zone is judged without it', async () => {
    const connect = createConnect({ egress: PUBLIC_ONLY });
    for (const hostname of ['fe80::1%lo', '::ffff:10.0.0.1%lo']) {
      const [error] = await new Promise<readonly [Error | null, Socket | null]>((resolve) =>
        connect({ hostname, protocol: 'http:', port: '9' }, (...result) => resolve(result)),
      );
      assert.equal((error as { readonly code?: unknown } | null)?.code, 'blocked_address', hostname);
    }
  });
});

describe('a host name', { timeout: 30_000 }, () => {
  test('that resolves to what is not public is refused, naming host, address and what to do', async (t) => {
    const post = posting(t, { egress: PUBLIC_ONLY, lookup: answering(['10.1.2.3', 'fd00::1', METADATA]) });
    const result = await post('https://db.internal/');
    assert.equal(errorOf(result), 'blocked_address');
    assert.equal(
      detailOf(result),
      `db.internal is at 10.1.2.3 (private, RFC 1918), fd00::1 (private, RFC 4193), ${METADATA} (the metadata service of a cloud ` +
        'machine): not public, so nothing is sent there; allow it with --allow-egress 10.1.2.3 or --allow-egress db.internal',
    );
  });

  test('with several addresses is dialled only at those that are allowed', async (t) => {
    const endpoint = await receiver(t);
    const connect = createConnect({
      egress: LOOPBACK,
      lookup: answering(['10.0.0.1', '127.0.0.1', METADATA, '127.0.0.2', 'fd00::1']),
    });
    const socket = await new Promise<Socket | null>((resolve) =>
      connect({ hostname: 'hooks.example', protocol: 'http:', port: portOf(endpoint.url) }, (_error, socket) => resolve(socket)),
    );
    assert.equal(socket?.remoteAddress, '127.0.0.1');
    assert.deepEqual(socket?.autoSelectFamilyAttemptedAddresses ?? [], [`127.0.0.1:${portOf(endpoint.url)}`]);
    socket?.destroy();
  });

  test('that is on the allow-list may be at a private address, not at the metadata service', async (t) => {
    const endpoint = await receiver(t);
    const egress = createEgress({ allow: ['hooks.internal'] });
    const url = `http://hooks.internal:${portOf(endpoint.url)}/`;
    assert.equal(statusOf(await posting(t, { egress, lookup: answering([METADATA, '127.0.0.1']) })(url)), 204);
    assert.equal(errorOf(await posting(t, { egress, lookup: answering([METADATA]) })(url)), 'blocked_address');
  });

  test('is looked up once per connection: a DNS that answers otherwise the second time changes nothing', async (t) => {
    const endpoint = await rawServer(t, (socket) =>
      onRequests(socket, () => socket.end('HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n')),
    );
    const lookup = answering(['127.0.0.1'], [METADATA], ['127.0.0.1']);
    const post = posting(t, { egress: LOOPBACK, lookup });
    const url = `http://rebind.example:${portOf(endpoint)}/`;
    assert.equal(statusOf(await post(url)), 204);
    assert.deepEqual(lookup.asked, ['rebind.example']);
    const second = await post(url);
    assert.equal(errorOf(second), 'blocked_address');
    assert.match(detailOf(second), /rebind\.example is at 169\.254\.169\.254/);
    assert.equal(statusOf(await post(url)), 204);
    assert.equal(lookup.asked.length, 3);
  });

  test('without an address, or of which the DNS knows nothing, is a matter of DNS', async (t) => {
    assert.equal(errorOf(await posting(t, { lookup: answering([]) })('http://empty.example/')), 'dns');
    const failing: Lookup = (host, _options, callback) =>
      callback(Object.assign(new Error(`getaddrinfo EAI_AGAIN ${host}`), { code: 'EAI_AGAIN' }), []);
    assert.equal(errorOf(await posting(t, { lookup: failing })('http://away.example/')), 'dns');
  });

  test('is looked up once for all connections that are opened to it together', async (t) => {
    const endpoint = await receiver(t);
    const lookup = answering(['127.0.0.1']);
    const post = posting(t, { egress: LOOPBACK, lookup });
    const url = `http://many.example:${portOf(endpoint.url)}/`;
    const results = await Promise.all(Array.from({ length: 20 }, () => post(url)));
    assert.ok(results.every((result) => statusOf(result) === 204));
    assert.equal(endpoint.connections(), 20);
    assert.deepEqual(lookup.asked, ['many.example']);
  });

  test('with more addresses than are tried is dialled at the first', async (t) => {
    const endpoint = await receiver(t);
    const addresses = Array.from({ length: 500 }, (_, n) => `127.0.${n >> 8}.${(n & 255) + 1}`);
    const post = posting(t, { egress: LOOPBACK, lookup: answering(addresses) });
    assert.equal(statusOf(await post(`http://wide.example:${portOf(endpoint.url)}/`)), 204);
  });
});

test('a look-up for one address, as where Node does not race the families, is given the first that is allowed', async () => {
  const lookup = createCheckedLookup({ egress: LOOPBACK, lookup: answering(['10.0.0.1', '::1', '127.0.0.1']) });
  const found = await new Promise((resolve) =>
    lookup('hooks.example', { all: false }, (error, address, family) => resolve([error, address, family])),
  );
  assert.deepEqual(found, [null, '::1', 6]);
});

test('the other end of the connection is judged once more before anything is sent', { timeout: 30_000 }, async (t) => {
  let bytes = 0;
  let closed = (): void => undefined;
  const gone = new Promise<void>((resolve) => (closed = resolve));
  const endpoint = await rawServer(t, (socket) => void socket.on('data', (chunk) => (bytes += chunk.length)).on('close', closed));
  // A policy that lets the look-up pass and changes its mind.
  const judged: string[] = [];
  const egress: Egress = {
    objection: (host, address) => (judged.push(`${host} ${address}`) > 1 ? 'moved away' : undefined),
    checkHost: () => undefined,
  };
  const post = posting(t, { egress, lookup: answering(['127.0.0.1']) });
  const result = await post(`http://hooks.example:${portOf(endpoint)}/`);
  assert.equal(errorOf(result), 'blocked_address');
  assert.match(detailOf(result), /127\.0\.0\.1 \(moved away\)/);
  assert.deepEqual(judged, ['hooks.example 127.0.0.1', 'hooks.example 127.0.0.1']);
  await gone;
  assert.equal(bytes, 0);
});

test('TLS asks for the host by its name, whatever address was dialled', { timeout: 30_000 }, async (t) => {
  const names: unknown[] = [];
  const server = createServer({ key: CERTIFICATE_KEY, cert: CERTIFICATE }, (request, response) => {
    names.push((request.socket as TLSSocket & { readonly servername?: unknown }).servername);
    request.resume().on('end', () => response.writeHead(204).end());
  });
  const url = (await listen(t, server, () => server.closeAllConnections())).replace('http://127.0.0.1', 'https://localhost');
  const lookup = answering(['127.0.0.1']);
  const post = posting(t, { egress: LOOPBACK, lookup, ca: CERTIFICATE });
  assert.equal(statusOf(await post(url)), 204);
  assert.deepEqual(names, ['localhost']);
  assert.equal(errorOf(await post(url.replace('localhost', 'other.example'))), 'tls');
});
