/** `millrace key`: credentials of apps. A key is shown once, when it is made. */
import { type Command, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { type List, showList } from '../lists.ts';
import { laterOf } from '../moments.ts';
import { words } from '../readers.ts';
import { Refusal } from '../refusal.ts';
import { type Column, detailsOf, relative } from '../text.ts';

interface Key {
  readonly id: string;
  readonly app: string;
  readonly prefix: string;
  readonly scopes: readonly string[];
  readonly topics?: readonly string[];
  readonly environment?: string;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly lastUsedAt?: string;
}

interface CreateOptions {
  readonly scopes: readonly string[];
  readonly topics?: readonly string[];
  readonly expires?: string;
  readonly environment?: string;
}

const at = (app: string, key?: string): string =>
  `/v1/apps/${encodeURIComponent(app)}/keys${key === undefined ? '' : `/${encodeURIComponent(key)}`}`;

export function keyVerbs(program: Command, { act }: Cli): void {
  const key = exampled(program.command('key').description('credentials of apps'), [
    'millrace key create crm --scopes subscribe,manage --topics "orders.*" --expires 90d',
    'millrace key list crm',
  ]);

  key
    .command('list <app>')
    .description('the keys of an app; never the keys themselves')
    .action(
      act<[string]>(async ({ args: [app], client, terminal }) => {
        const { body } = await client().ask<List<Key>>(`GET ${at(app)}`);
        showList(terminal, body, { columns: columnsAt(Date.now()), nothing: `The app '${app}' has no keys.` });
      }),
    );

  key
    .command('get <app> <key>')
    .description('one key, by its id or what it begins with')
    .action(
      act<[string, string]>(async ({ args: [app, id], client, terminal }) => {
        const { body } = await client().ask<List<Key>>(`GET ${at(app)}`);
        const found = body.data.find((one) => one.id === id || one.prefix === id);
        if (found === undefined)
          throw new Refusal(EXIT.notFound, `the app '${app}' has no key '${id}'`, { advice: `millrace key list ${app}` });
        terminal.data(found, () => detailsOf(found, Date.now()).join('\n'));
      }),
    );

  key
    .command('create <app>')
    .description('a new key; it is shown this once')
    .addOption(
      new Option('--scopes <list>', 'admin, publish, subscribe, manage; with commas').argParser(words).makeOptionMandatory(),
    )
    .addOption(new Option('--topics <patterns>', 'only these topics; with commas').argParser(words))
    .option('--expires <when>', 'in 90d, or a time')
    .option('--environment <name>', 'the environment it acts in')
    .action(
      act<[string], CreateOptions>(async ({ args: [app], options, client, terminal }) => {
        const { scopes, topics, expires, environment } = options;
        const json = {
          scopes,
          ...(topics === undefined ? {} : { topics }),
          ...(expires === undefined ? {} : { expiresAt: laterOf(expires, { option: '--expires', nowMs: Date.now() }) }),
          ...(environment === undefined ? {} : { environment }),
        };
        const { body } = await client().ask<Key>(`POST ${at(app)}`, { json });
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
        terminal.hint('The key is shown this once: keep it where secrets are kept.');
      }),
    );

  key
    .command('delete <app> <key>')
    .description('from now on nobody gets in with it')
    .option('--yes', 'do not ask')
    .action(
      act<[string, string], { yes?: boolean }>(async (call) => {
        const [app, id] = call.args;
        await confirm(call, `Delete the key '${id}' of '${app}'? Whoever uses it is locked out.`);
        await call.client().ask(`DELETE ${at(app, id)}`);
        call.terminal.data({ deleted: id }, () => `deleted ${id}`);
      }),
    );
}

function columnsAt(nowMs: number): Column<Key>[] {
  return [
    { title: 'KEY', value: ({ id }) => id },
    { title: 'BEGINS WITH', value: ({ prefix }) => prefix },
    { title: 'SCOPES', value: ({ scopes }) => scopes.join(','), shrinks: true },
    { title: 'TOPICS', value: ({ topics }) => topics?.join(',') ?? 'all', shrinks: true },
    { title: 'LAST USED', value: ({ lastUsedAt }) => relative(lastUsedAt, nowMs) },
    { title: 'EXPIRES', value: ({ expiresAt }) => (expiresAt === undefined ? 'never' : relative(expiresAt, nowMs)) },
  ];
}
