/** The NATS log as every driver is tested, against a real server. What is its own is in the other tests of this folder. */
import { after, test } from 'node:test';
import { logConformance } from '@millrace/conformance/log-conformance';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { GAPS } from './gaps.ts';
import { openForSuite } from './testing.ts';

const { server, skip } = await findBroker('nats');
after(() => server?.remove());

if (server === undefined) test('the NATS log passes the suite', { skip }, () => {});
else {
  logConformance({ name: 'the NATS log', open: ({ now }) => openForSuite(server.url, now), skip: GAPS });
  logConformance({
    name: 'the NATS log, nothing kept in memory',
    open: ({ now }) => openForSuite(server.url, now, { tailBytes: 0 }),
    skip: GAPS,
  });
}
