/** The stores on Postgres as every driver is tested. What is their own is in the tests beside the code it is about. */
import { test } from 'node:test';
import { storeConformance } from '@millrace/conformance/store-conformance';
import { openPostgres } from './store-postgres.ts';
import type { Postgres } from './store-postgres.ts';
import { testServer } from './testing.ts';

const server = await testServer();

if (server.skip === false) storeConformance({ name: 'the directory and ledger on Postgres', open });
else test('the directory and ledger on Postgres', { skip: server.skip }, () => {});

async function open() {
  const schema = server.schema();
  const opened: Postgres[] = [];
  async function openIt(): Promise<Postgres> {
    const store = await openPostgres({ url: server.url, schema });
    opened.push(store);
    return store;
  }
  const { directory, ledger, claims, close } = await openIt();
  return {
    directory,
    ledger,
    claims,
    async reopen() {
      await close();
      return openIt();
    },
    peer: openIt,
    close: async () => void (await Promise.all(opened.map((store) => store.close()))),
  };
}
