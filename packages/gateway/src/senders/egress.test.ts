/** The egress policy, range by range: the first address, one inside, the last, and the neighbours on both sides. */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { describe, test } from 'node:test';
import { ALLOW_MAX, ANYWHERE, createEgress, PUBLIC_ONLY, refusalOf } from './egress.ts';

const HOST = 'hooks.example';

/** [range, nature, first, inside, last, before, after]; a neighbour that is refused too is left out here, and in RESERVED below. */
const IPV4: readonly (readonly [string, RegExp, string, string, string, (string | undefined)?, (string | undefined)?])[] = [
  ['0.0.0.0/8', /this network/, '0.0.0.0', '0.1.2.3', '0.255.255.255', undefined, '1.0.0.0'],
  ['10.0.0.0/8', /private/, '10.0.0.0', '10.20.30.40', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
  ['100.64.0.0/10', /carrier-grade/, '100.64.0.0', '100.99.1.1', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
  ['127.0.0.0/8', /loopback/, '127.0.0.0', '127.0.0.1', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
  ['169.254.0.0/16', /link-local/, '169.254.0.0', '169.254.7.7', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
  ['172.16.0.0/12', /private/, '172.16.0.0', '172.20.0.1', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
  ['192.0.0.0/24', /protocol/, '192.0.0.0', '192.0.0.170', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
  ['192.0.2.0/24', /documentation/, '192.0.2.0', '192.0.2.9', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
  ['192.88.99.0/24', /6to4/, '192.88.99.0', '192.88.99.1', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
  ['192.168.0.0/16', /private/, '192.168.0.0', '192.168.1.1', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
  ['198.18.0.0/15', /benchmarks/, '198.18.0.0', '198.19.0.1', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
  ['198.51.100.0/24', /documentation/, '198.51.100.0', '198.51.100.9', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
  ['203.0.113.0/24', /documentation/, '203.0.113.0', '203.0.113.9', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
  ['224.0.0.0/4', /multicast/, '224.0.0.0', '232.1.1.1', '239.255.255.255', '223.255.255.255'],
  ['240.0.0.0/4', /reserved/, '240.0.0.0', '250.1.1.1', '255.255.255.254'],
  ['255.255.255.255/32', /broadcast/, '255.255.255.255', '255.255.255.255', '255.255.255.255'],
];

const F = 'ffff:ffff:ffff:ffff';
/** As above. What lies outside 2000::/3 has no public neighbours: those are refused too, for another reason. */
const IPV6: readonly (readonly [string, RegExp, string, string, string, (string | undefined)?, (string | undefined)?])[] = [
  ['::/128', /unspecified/, '::', '0:0:0:0:0:0:0:0', '::0'],
  ['::1/128', /loopback/, '::1', '0:0:0:0:0:0:0:1', '::0.0.0.1'],
  ['::/96', /IPv4-compatible/, '::2', '::10.0.0.1', '::ffff:ffff'],
  ['64:ff9b::/96', /NAT64/, '64:ff9b::', '64:ff9b::8.8.8.8', '64:ff9b::ffff:ffff'],
  ['64:ff9b:1::/48', /NAT64/, '64:ff9b:1::', '64:ff9b:1:2::808:808', `64:ff9b:1:ffff:${F}`],
  ['100::/64', /discarded/, '100::', '100::7', `100::${F}`],
  ['2001::/32', /Teredo/, '2001::', '2001:0:53aa:64c::1', `2001:0:ffff:ffff:${F}`, `2000:ffff:ffff:ffff:${F}`],
  ['2001::/23', /protocol/, '2001:1::', '2001:20::1', `2001:1ff:ffff:ffff:${F}`, undefined, '2001:200::'],
  [
    '2001:db8::/32',
    /documentation/,
    '2001:db8::',
    '2001:db8:1::1',
    `2001:db8:ffff:ffff:${F}`,
    `2001:db7:ffff:ffff:${F}`,
    '2001:db9::',
  ],
  ['2002::/16', /6to4/, '2002::', '2002:808:808::1', `2002:ffff:ffff:ffff:${F}`, `2001:ffff:ffff:ffff:${F}`, '2003::'],
  ['3fff::/20', /documentation/, '3fff::', '3fff:abc::1', `3fff:fff:ffff:ffff:${F}`, `3ffe:ffff:ffff:ffff:${F}`, '3fff:1000::'],
  ['5f00::/16', /segment routing/, '5f00::', '5f00:1::1', `5f00:ffff:ffff:ffff:${F}`],
  ['fc00::/7', /private/, 'fc00::', 'fd12:3456::1', `fdff:ffff:ffff:ffff:${F}`],
  ['fe80::/10', /link-local/, 'fe80::', 'fe80::1%eth0', `febf:ffff:ffff:ffff:${F}`],
  ['fec0::/10', /site-local/, 'fec0::', 'fed0::1', `feff:ffff:ffff:ffff:${F}`],
  ['ff00::/8', /multicast/, 'ff00::', 'ff02::1', `ffff:ffff:ffff:ffff:${F}`],
  ['outside 2000::/3', /reserved/, '0:0:0:0:1::', '4000::1', `fe7f:ffff:ffff:ffff:${F}`, undefined, undefined],
];

/** The neighbours of the ranges outside 2000::/3, and of 2000::/3 itself. */
const RESERVED = [
  '::fffe:ffff:ffff',
  '::1:0:0:0',
  `64:ff9a:ffff:ffff:${F}`,
  '64:ff9b::1:0:0',
  `64:ff9b:0:ffff:${F}`,
  '64:ff9b:2::',
  `ff:ffff:ffff:ffff:${F}`,
  '100:0:0:1::',
  `1fff:ffff:ffff:ffff:${F}`,
  '4000::',
  `5eff:ffff:ffff:ffff:${F}`,
  '5f01::',
  `fbff:ffff:ffff:ffff:${F}`,
  'fe00::',
  `fe7f:ffff:ffff:ffff:${F}`,
];

const PUBLIC = [
  '8.8.8.8',
  '1.1.1.1',
  '93.184.216.34',
  '2000::',
  '2606:4700::1111',
  '2a00:1450:4001::200e',
  `3fff:ffff:ffff:ffff:${F}`,
];

/** The same address in IPv6, in both spellings. */
function mapped(address: string): readonly string[] {
  const [a, b, c, d] = address.split('.').map(Number) as [number, number, number, number];
  const hex = `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  return [`::ffff:${address}`, `::ffff:${hex}`, `0:0:0:0:0:FFFF:${hex}`, `::ffff:${address}%eth0`];
}

const spellings = (address: string): readonly string[] => (isIP(address) === 4 ? [address, ...mapped(address)] : [address]);

describe('refused without an allow-list', () => {
  for (const [range, nature, first, inside, last, before, after] of [...IPV4, ...IPV6]) {
    test(range, () => {
      for (const address of [first, inside, last].flatMap(spellings))
        assert.match(PUBLIC_ONLY.objection(HOST, address) ?? 'none', nature, address);
      for (const neighbour of [before, after].filter((address) => address !== undefined).flatMap(spellings))
        assert.equal(PUBLIC_ONLY.objection(HOST, neighbour), undefined, neighbour);
    });
  }

  test('what of IPv6 nobody has been given', () => {
    for (const address of RESERVED) assert.match(PUBLIC_ONLY.objection(HOST, address) ?? 'none', /reserved/, address);
  });

  test('the metadata services of clouds, also where their address is public', () => {
    for (const address of ['169.254.169.254', '100.100.100.200', '168.63.129.16'].flatMap(spellings))
      assert.match(PUBLIC_ONLY.objection(HOST, address) ?? 'none', /metadata/, address);
    for (const address of ['fd00:ec2::254', 'fd20:ce::254', 'FD00:0EC2:0:0:0:0:0:254', 'fe80::a9fe:a9fe%eth0'])
      assert.match(PUBLIC_ONLY.objection(HOST, address) ?? 'none', /metadata/, address);
    for (const neighbour of ['168.63.129.15', '168.63.129.17']) assert.equal(PUBLIC_ONLY.objection(HOST, neighbour), undefined);
  });

  test('what is no address at all', () => {
    for (const text of ['', HOST, '10.0.0', '010.0.0.1', '1.2.3.4/32', '[::1]', '::ffff:1.2.3', '%eth0'])
      assert.match(PUBLIC_ONLY.objection(HOST, text) ?? 'none', /no IP address/, text);
  });
});

test('public addresses are allowed', () => {
  for (const address of PUBLIC.flatMap(spellings)) assert.equal(PUBLIC_ONLY.objection(HOST, address), undefined, address);
});

test('ANYWHERE refuses nothing', () => {
  for (const address of ['10.0.0.1', '169.254.169.254', '::1', '8.8.8.8'])
    assert.equal(ANYWHERE.objection(HOST, address), undefined);
  assert.equal(ANYWHERE.checkHost(new URL('http://169.254.169.254/')), undefined);
});

describe('an entry of the allow-list', () => {
  /** What the entries allow, and what they don't, of addresses that are not public. */
  function check(
    allow: readonly string[],
    { host = HOST, yes = [], no = [] }: { host?: string; yes?: string[]; no?: string[] },
  ): void {
    const egress = createEgress({ allow });
    for (const address of yes) assert.equal(egress.objection(host, address), undefined, `${allow.join()} ${host} ${address}`);
    for (const address of no) assert.notEqual(egress.objection(host, address), undefined, `${allow.join()} ${host} ${address}`);
  }

  test('that is a CIDR holds for its addresses, in their IPv4-mapped form too', () => {
    check(['10.1.0.0/16'], {
      yes: ['10.1.0.0', '10.1.255.255', '::ffff:10.1.2.3', '::ffff:a01:203', '8.8.8.8'],
      no: ['10.0.255.255', '10.2.0.0', '::ffff:10.2.0.0', '::10.1.0.0', '192.168.0.1'],
    });
    check(['fd12::/16'], { yes: ['fd12::1', 'fd12:ffff::'], no: ['fd13::', 'fd11:ffff::', '10.0.0.1'] });
    check(['0.0.0.0/0'], { yes: ['10.0.0.1', '169.254.169.254', '255.255.255.255', '::ffff:10.0.0.1'], no: ['::1', 'fd00::1'] });
    check(['::/0'], { yes: ['::1', 'fd00:ec2::254', '::10.0.0.1'], no: ['10.0.0.1', '::ffff:10.0.0.1'] });
  });

  test('that is an IPv4-mapped CIDR means the IPv4 one', () => {
    check(['::ffff:10.0.0.0/104'], { yes: ['10.255.0.1', '::ffff:10.0.0.1'], no: ['127.0.0.1'] });
    check(['::ffff:a00:1'], { yes: ['10.0.0.1'], no: ['10.0.0.2'] });
  });

  test('that is an address holds for that one', () => {
    check(['10.0.0.7', 'fd00::7'], {
      yes: ['10.0.0.7', '::ffff:10.0.0.7', 'fd00::7', 'fd00:0:0::7'],
      no: ['10.0.0.6', '10.0.0.8', 'fd00::8'],
    });
  });

  test('that is `loopback` holds for 127.0.0.0/8 and ::1', () => {
    check(['loopback'], {
      yes: ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'],
      no: ['0.0.0.0', '::', '10.0.0.1', '::127.0.0.1'],
    });
  });

  test('that is a host holds for whatever this name resolves to, without case and final dot, and for no other name', () => {
    for (const host of ['hooks.internal', 'HOOKS.internal.', 'Hooks.Internal'])
      check(['hooks.internal'], { host, yes: ['10.0.0.1', 'fd00::1', '127.0.0.1', '::ffff:10.0.0.1'] });
    for (const host of ['internal', 'a.hooks.internal', 'xhooks.internal', 'hooks.internal.example', '10.0.0.1'])
      check(['Hooks.Internal.'], { host, yes: ['8.8.8.8'], no: ['10.0.0.1'] });
    check(['bücher.internal'], { host: 'xn--bcher-kva.internal', yes: ['10.0.0.1'] });
  });

  test('that is *.suffix holds for every name below it, not for itself', () => {
    for (const host of ['a.internal', 'b.a.internal', 'A.INTERNAL.']) check(['*.internal'], { host, yes: ['10.0.0.1'] });
    for (const host of ['internal', 'ainternal', 'a.internal.example', '.']) check(['*.internal'], { host, no: ['10.0.0.1'] });
  });

  test('that is a host opens no metadata service; a CIDR does', () => {
    const metadata = ['169.254.169.254', '::ffff:169.254.169.254', 'fd00:ec2::254', '100.100.100.200', '64:ff9b::a9fe:a9fe'];
    check([HOST, '*.example'], { yes: ['169.254.1.1', 'fd00:ec2::1'], no: metadata });
    check([HOST, '169.254.0.0/16'], { yes: ['169.254.169.254', '::ffff:a9fe:a9fe'], no: ['fd00:ec2::254'] });
    check(['fd00:ec2::254'], { yes: ['fd00:ec2::254'], no: ['fd00:ec2::253'] });
  });

  test('that covers the NAT64 prefix allows the translator, and the address inside is judged for itself', () => {
    check(['64:ff9b::/96'], { yes: ['64:ff9b::808:808'], no: ['64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b:1::808:808'] });
    check(['64:ff9b::/96', '10.0.0.0/8'], { yes: ['64:ff9b::10.0.0.1'], no: ['64:ff9b::127.0.0.1'] });
    check(['10.0.0.0/8'], { no: ['64:ff9b::10.0.0.1', '64:ff9b::8.8.8.8'] });
    check([HOST], { yes: ['64:ff9b::10.0.0.1'], no: ['64:ff9b::a9fe:a9fe'] });
  });

  test('that is none of these is refused by name', () => {
    const names = '* *. *.*.internal a.* *internal -a a..b .a http://a a:80 a/b a@b'.split(' ');
    const ipv4 = '10.0.0.0/33 10.0.0.0/-1 10.0.0.0/ 10.0.0.0/08 10.0.0.0/8/8 10.0.0.0/a /8 10.0.0/8 999.1.1.1 10.0.0.256'.split(
      ' ',
    );
    const ipv6 = '::/129 [::1] [::1]/128 fe80::1%eth0 ::ffff:0:0/95 localhost/8'.split(' ');
    const numbers = '10.1 2130706433 0x7f.1 0x7f000001'.split(' ');
    const bad = ['', ' ', 'a b', 'x'.repeat(64), ...names, ...ipv4, ...ipv6, ...numbers];
    for (const entry of bad)
      assert.throws(
        () => createEgress({ allow: ['10.0.0.0/8', entry] }),
        (error: { code?: unknown; message?: string; advice?: string }) =>
          error.code === 'invalid_request' &&
          error.message?.includes(`"${entry}"`) === true &&
          /10\.0\.0\.0\/8/.test(error.advice ?? ''),
        entry,
      );
  });

  test('that is a CIDR with bits beyond its prefix is a slip, and refused as one', () => {
    for (const entry of ['10.0.0.1/8', '10.0.0.5/2', 'fd00::1/8', '::ffff:10.0.0.1/104'])
      assert.throws(() => createEgress({ allow: [entry] }), { code: 'invalid_request', message: /bits beyond/ }, entry);
  });

  test('past the bound is refused', () => {
    const entries = Array.from({ length: ALLOW_MAX }, (_, n) => `h${n}.internal`);
    assert.equal(createEgress({ allow: entries }).objection('h999.internal', '10.0.0.1'), undefined);
    assert.throws(() => createEgress({ allow: [...entries, 'loopback'] }), { code: 'invalid_request', message: /1000/ });
  });
});

describe('at configuration time', () => {
  const dev = createEgress({ allow: ['loopback', '10.0.0.0/8', 'localhost.localdomain'] });

  test('literal addresses are refused in every spelling, with the address meant and what to do', () => {
    const urls = {
      'http://169.254.169.254/': '169.254.169.254',
      'http://[::ffff:10.0.0.1]/': '::ffff:a00:1',
      'http://2130706433/': 'loopback',
      'http://0x7f.1/': 'loopback',
      'http://017700000001/': 'loopback',
      'http://127.0.0.1./': 'loopback',
      'https://user@[::1]:8443/x': 'loopback',
      'http://１０.0.0.1/': '10.0.0.1',
      'http://%31%30.0.0.1/': '10.0.0.1',
      'http://0/': '0.0.0.0',
      'http://[fd00::1]/': 'fd00::1',
      'http://[64:ff9b::a00:1]/': '64:ff9b::a00:1',
    };
    for (const [url, entry] of Object.entries(urls)) {
      const why = PUBLIC_ONLY.checkHost(new URL(url)) ?? 'none';
      assert.ok(why.endsWith(`allow it with --allow-egress ${entry}`), `${url}: ${why}`);
    }
  });

  test('so are names of the machine itself and of its metadata service', () => {
    for (const host of ['localhost', 'LOCALHOST.', 'a.localhost', 'ip6-localhost', 'metadata.google.internal'])
      assert.match(PUBLIC_ONLY.checkHost(new URL(`http://${host}:1/`)) ?? 'none', /is at (127|169)/, host);
    assert.match(dev.checkHost(new URL('http://metadata.google.internal/')) ?? 'none', /metadata service/);
  });

  test('what is allowed, and what only the DNS knows, is not', () => {
    for (const url of [
      'http://127.0.0.1/',
      'http://[::1]/',
      'http://localhost:3000/',
      'http://10.1.2.3/',
      'http://localhost.localdomain/',
    ])
      assert.equal(dev.checkHost(new URL(url)), undefined, url);
    for (const url of [
      'https://hooks.example/',
      'https://8.8.8.8/',
      'https://[2606:4700::1111]/',
      'https://db.internal/',
      'https://notlocalhost/',
    ])
      assert.equal(PUBLIC_ONLY.checkHost(new URL(url)), undefined, url);
  });

  test('a name is refused only when all its addresses are', () => {
    assert.equal(createEgress({ allow: ['::1'] }).checkHost(new URL('http://localhost/')), undefined);
  });
});

test('a refusal names host, addresses and both ways to allow them, and stays short', () => {
  const isPrivate = { nature: 'private, RFC 1918' };
  assert.equal(
    refusalOf('db.internal', [{ address: '10.0.0.1', ...isPrivate }]),
    'db.internal is at 10.0.0.1 (private, RFC 1918): not public, so nothing is sent there; ' +
      'allow it with --allow-egress 10.0.0.1 or --allow-egress db.internal',
  );
  const many = Array.from({ length: 300 }, (_, n) => ({ address: `10.0.1.${n}`, ...isPrivate }));
  assert.match(refusalOf('db.internal', many), /^.{0,300}and 297 more.{0,200}$/);
});

test('a refusal does not advise a host name where that would not help', () => {
  const nature = PUBLIC_ONLY.objection('x.internal', '169.254.169.254') ?? '';
  assert.doesNotMatch(refusalOf('x.internal', [{ address: '169.254.169.254', nature }]), /--allow-egress x/);
});
