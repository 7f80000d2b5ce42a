/** `millrace app`: who publishes and subscribes. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import type { Answer, Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { words } from '../readers.ts';
import { misused, Refusal } from '../refusal.ts';
import type { Column } from '../table.ts';
import { detailsOf, relative } from '../text.ts';

interface App {
  readonly id: string;
  readonly name: string;
  readonly createdAt: string;
}

const at = (id: string): string => `/v1/apps/${encodeURIComponent(id)}`;

export function appVerbs(program: Command, { act }: Cli): void {
  const app = exampled(program.command('app').description('who publishes and subscribes'), [
    'millrace app create crm --name "Customer relations"',
    'millrace key create crm --scopes subscribe,manage',
  ]);

  withListOptions(app.command('list').description('all apps')).action(
    act<[], ListOptions>(async ({ client, options, terminal }) => {
      const list = await listOf<App>(client(), 'GET /v1/apps', options);
      showList(terminal, list, { columns: columnsAt(Date.now()), nothing: 'There are no apps.' });
    }),
  );

  app
    .command('get <app>')
    .description('one app')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<App>(`GET ${at(id)}`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  app
    .command('create <app>')
    .description('a new app')
    .option('--name <text>', 'what people call it')
    .action(
      act<[string], { name?: string }>(async ({ args: [id], options: { name }, client, terminal }) => {
        const already = new Refusal(EXIT.conflict, `there is an app '${id}' already`, { advice: `millrace app update ${id}` });
        const json = name === undefined ? {} : { name };
        const { body } = await made<App>(client(), `PUT ${at(id)}`, { json, already });
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
        terminal.hint(`A key for it: millrace key create ${id} --scopes publish,subscribe,manage`);
      }),
    );

  app
    .command('update <app>')
    .description('change it')
    .option('--name <text>', 'what people call it')
    .addOption(
      new Option(
        '--quota <name=number>',
        'what it may use, e.g. publishesPerSecond=100; none takes it away; repeatable',
      ).argParser(quotas),
    )
    .addOption(
      new Option(
        '--origin <origins>',
        'whose web pages may call with its tokens, all of them; with commas; none for nobody',
      ).argParser(words),
    )
    .addOption(
      new Option(
        '--sdk <rule>',
        'which version of the SDK its pages get: pin=0.1.0, patch=0.1.0 (the newest of 0.1 from there on) or latest',
      ).argParser(sdkRule),
    )
    .addOption(
      new Option('--sdk-rollout <version=percent>', 'another version for a part of its clients; none ends it').argParser(rollout),
    )
    .addOption(
      new Option(
        '--telemetry <part>',
        'which part of its clients reports how it goes, to /metrics: 0.1 is every tenth; none',
      ).argParser(telemetry),
    )
    .action(
      act<[string], UpdateOptions>(async ({ args: [id], options, client, terminal }) => {
        const json = changeOf(options);
        const { headers } = await client().ask(`GET ${at(id)}`);
        const { body } = await client().ask<App>(`PATCH ${at(id)}`, {
          json,
          headers: { 'if-match': headers.get('etag') ?? '*' },
        });
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  app
    .command('usage <app>')
    .description('what it has used, and what it may')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<object>(`GET ${at(id)}/usage`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  app
    .command('delete <app>')
    .description('remove it with its keys; its subscriptions must be gone')
    .option('--yes', 'do not ask')
    .action(
      act<[string], { yes?: boolean }>(async (call) => {
        const [id] = call.args;
        await confirm(call, `Delete the app '${id}' and its keys?`);
        await call.client().ask(`DELETE ${at(id)}`);
        call.terminal.data({ deleted: id }, () => `deleted ${id}`);
      }),
    );
}

interface UpdateOptions {
  readonly name?: string;
  readonly quota?: Quotas;
  readonly origin?: readonly string[];
  readonly sdk?: object;
  readonly sdkRollout?: object | typeof NONE;
  readonly telemetry?: object | typeof NONE;
}

type Quotas = Readonly<Record<string, number | null>>;

function changeOf(options: UpdateOptions): object {
  const { name, quota, origin, sdk, sdkRollout, telemetry: part } = options;
  if ([name, quota, origin, sdk, sdkRollout, part].every((one) => one === undefined))
    throw misused('say what to change: --name, --quota, --origin, --sdk, --sdk-rollout or --telemetry');
  return {
    ...(name === undefined ? {} : { name }),
    ...(quota === undefined ? {} : { quotas: quota }),
    ...(origin === undefined ? {} : { origins: origin.filter((one) => one !== NONE) }),
    ...(sdk === undefined && sdkRollout === undefined ? {} : { sdk: { ...sdk, ...rolloutOf(sdkRollout) } }),
    ...(part === undefined ? {} : { telemetry: part === NONE ? null : part }),
  };
}

const NONE = 'none';

function rolloutOf(rollout: UpdateOptions['sdkRollout']): object {
  return rollout === undefined ? {} : { rollout: rollout === NONE ? null : rollout };
}

function sdkRule(text: string): object {
  const [, rule, version = ''] = /^(latest|(?:pin|patch)(?==.))=?(.*)$/.exec(text) ?? [];
  if (rule === 'pin') return { pin: version };
  if (rule === 'patch') return { follow: 'patch', from: version };
  if (rule === 'latest' && version === '') return { follow: 'latest' };
  throw new InvalidArgumentError('Write it like pin=0.1.0, patch=0.1.0 or latest.');
}

function rollout(text: string): object | typeof NONE {
  if (text === NONE) return NONE;
  const [, version, percent] = /^([^=]+)=(\d{1,3}(?:\.\d{1,6})?)%?$/.exec(text) ?? [];
  if (version === undefined) throw new InvalidArgumentError('Write it like 0.2.0=10, or none.');
  return { version, percent: Number(percent) };
}

function telemetry(text: string): object | typeof NONE {
  if (text === NONE) return NONE;
  const sample = /^(0|1|[01]?\.\d{1,6})$/.test(text) ? Number(text) : 2;
  if (sample > 1) throw new InvalidArgumentError('Write it like 0.1, from 0 to 1, or none.');
  return { sample };
}

/** `name=number`, repeatable; null takes a quota away. */
function quotas(text: string, before: Quotas | undefined): Quotas {
  const [, name = '', value = ''] = /^([A-Za-z]+)=(\d{1,13}|none)$/.exec(text) ?? [];
  if (name === '') throw new InvalidArgumentError('Write it like publishesPerSecond=100, or publishesPerSecond=none.');
  return { ...before, [name]: value === NONE ? null : Number(value) };
}

function columnsAt(nowMs: number): Column<App>[] {
  return [
    { title: 'APP', value: ({ id }) => id },
    { title: 'NAME', value: ({ name }) => name, shrinks: 1 },
    { title: 'CREATED', value: ({ createdAt }) => relative(createdAt, nowMs) },
  ];
}

/** A PUT that only makes what is not there: rejects with `already` where it is. */
export function made<Body>(
  client: Client,
  route: string,
  { json, already }: { readonly json: object; readonly already: Refusal },
): Promise<Answer<Body>> {
  return client.ask<Body>(route, { json, headers: { 'if-none-match': '*' } }).catch((error: unknown) => {
    throw error instanceof Refusal && error.exit === EXIT.conflict ? already : error;
  });
}
