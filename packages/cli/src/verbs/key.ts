/** `millrace key`: credentials of apps. A key is shown once, when it is made. */
import { type Command, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import type { Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { eachOf, type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { laterOf } from '../moments.ts';
import { words } from '../readers.ts';
import { misused, Refusal } from '../refusal.ts';
import type { Column } from '../table.ts';
import { detailsOf, relative } from '../text.ts';

interface Key {
  readonly id: string;
  readonly app: string;
  readonly prefix: string;
  readonly scopes: readonly string[];
  readonly topics?: readonly string[];
  readonly signs?: boolean;
  readonly environment?: string;
  readonly createdAt: string;
  readonly expiresAt?: string;
  readonly lastUsedAt?: string;
}

interface CreateOptions {
  readonly scopes: readonly string[];
  readonly topics?: readonly string[];
  readonly signs?: boolean;
  readonly expires?: string;
  readonly environment?: string;
}

const at = (app: string, key?: string): string =>
  `/v1/apps/${encodeURIComponent(app)}/keys${key === undefined ? '' : `/${encodeURIComponent(key)}`}`;

export function keyVerbs(program: Command, { act }: Cli): void {
  const key = exampled(program.command('key').description('credentials of apps'), [
    'millrace key create crm --scopes subscribe,manage --topics "orders.*" --expires 90d',
    'millrace key create shop --signs     publishes with signatures: it is never sent',
    'millrace key list --app crm',
    'millrace key get                     the key you use: what it may do',
    'millrace key get key_… --app crm',
  ]);

  withListOptions(ofApp(key.command('list [app]').description('the keys of an app; never the keys themselves'))).action(
    act<[string | undefined], ListOptions & OfApp>(async ({ args, options, client, terminal }) => {
      const app = appOf(args, options);
      const list = await listOf<Key>(client(), `GET ${at(app)}`, options);
      showList(terminal, list, { columns: columnsAt(Date.now()), nothing: `The app '${app}' has no keys.` });
    }),
  );

  ofApp(
    key
      .command('get [app] [key]')
      .description('one key, by its id or what it begins with: KEY --app APP; without any, the key you use'),
  ).action(
    act<Names, OfApp>(async ({ args, options, client, terminal }) => {
      const isOwn = args[0] === undefined && options.app === undefined;
      const found = isOwn ? await ownKey(client()) : await keyOf(client(), keyNamed(args, options));
      terminal.data(found, () => detailsOf(found, Date.now()).join('\n'));
    }),
  );

  ofApp(key.command('create [app]').description('a new key; it is shown this once'))
    .addOption(
      new Option('--scopes <list>', 'admin, publish, subscribe, manage; with commas').argParser(words).makeOptionMandatory(),
    )
    .addOption(new Option('--topics <patterns>', 'only these topics; with commas').argParser(words))
    .addOption(
      new Option('--signs', 'it signs what it publishes instead of being sent; the scope is publish').implies({
        scopes: ['publish'],
      }),
    )
    .option('--expires <when>', 'in 90d, or a time')
    .option('--environment <name>', 'the environment it acts in')
    .action(
      act<[string | undefined], CreateOptions & OfApp>(async ({ args, options, client, terminal }) => {
        const app = appOf(args, options);
        const { scopes, topics, signs = false, expires, environment } = options;
        const json = {
          scopes,
          ...(topics === undefined ? {} : { topics }),
          ...(signs ? { signs } : {}),
          ...(expires === undefined ? {} : { expiresAt: laterOf(expires, { option: '--expires', nowMs: Date.now() }) }),
          ...(environment === undefined ? {} : { environment }),
        };
        const { body } = await client().ask<Key>(`POST ${at(app)}`, { json });
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
        terminal.hint('The key is shown this once: keep it where secrets are kept.');
        terminal.hint(
          signs
            ? 'To use it: sign with it what goes to POST /v1/events (docs/api.md, "Signed publishing"). It is no key for --key.'
            : 'To use it: MILLRACE_KEY in the environment, or --key. What it may do: millrace key get --key mr_…',
        );
      }),
    );

  ofApp(key.command('delete [app] [key]').description('from now on nobody gets in with it: KEY --app APP'))
    .option('--yes', 'do not ask')
    .action(
      act<Names, OfApp & { yes?: boolean }>(async (call) => {
        const { app, id } = keyNamed(call.args, call.options);
        await confirm(call, `Delete the key '${id}' of '${app}'? Whoever uses it is locked out.`);
        await call.client().ask(`DELETE ${at(app, id)}`);
        call.terminal.data({ deleted: id }, () => `deleted ${id}`);
      }),
    );
}

interface OfApp {
  readonly app?: string;
}

/** `APP KEY`, or `KEY` beside `--app APP`. */
type Names = readonly [string | undefined, string | undefined];

function ofApp(command: Command): Command {
  return command.option('--app <app>', 'whose');
}

function appOf([named]: readonly (string | undefined)[], { app }: OfApp): string {
  if (named !== undefined && app !== undefined) throw misused('the app is there twice');
  return named ?? app ?? refuse('say whose: --app APP');
}

function keyNamed([first, second]: Names, options: OfApp): { readonly app: string; readonly id: string } {
  if (second !== undefined) return { app: appOf([first], options), id: second };
  return { app: appOf([], options), id: first ?? refuse('say which key: by its id, or what it begins with') };
}

function refuse(message: string): never {
  throw misused(message, 'millrace key list --app APP shows the keys of an app.');
}

async function ownKey(client: Client): Promise<Key> {
  return (await client.ask<Key>('GET /v1/keys/self')).body;
}

/** By what it begins with, too: that is what stands in a configuration. */
async function keyOf(client: Client, { app, id }: { readonly app: string; readonly id: string }): Promise<Key> {
  if (!/^mrs?_/.test(id)) return (await client.ask<Key>(`GET ${at(app, id)}`)).body;
  for await (const one of eachOf<Key>(client, `GET ${at(app)}`)) if (one.prefix === id) return one;
  throw new Refusal(EXIT.notFound, `the app '${app}' has no key '${id}'`, { advice: `millrace key list --app ${app}` });
}

function columnsAt(nowMs: number): Column<Key>[] {
  return [
    { title: 'KEY', value: ({ id }) => id },
    { title: 'BEGINS WITH', value: ({ prefix }) => prefix },
    { title: 'SCOPES', value: ({ scopes, signs = false }) => `${scopes.join(',')}${signs ? ' (signs)' : ''}`, shrinks: 1 },
    { title: 'TOPICS', value: ({ topics }) => topics?.join(',') ?? 'all', shrinks: 1 },
    { title: 'LAST USED', value: ({ lastUsedAt }) => relative(lastUsedAt, nowMs) },
    { title: 'EXPIRES', value: ({ expiresAt }) => (expiresAt === undefined ? 'never' : relative(expiresAt, nowMs)) },
  ];
}
