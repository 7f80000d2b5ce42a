/** `millrace token`: short-lived credentials for browsers and devices. */
import { type Command, Option } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { duration, words } from '../readers.ts';
import { misused } from '../refusal.ts';
import { momentOf } from '../moments.ts';
import { detailsOf } from '../text.ts';

interface CreateOptions {
  readonly scopes: readonly string[];
  readonly topics: readonly string[];
  readonly ttl?: number;
  readonly audience?: string;
  readonly subject?: string;
  readonly origin?: string;
  readonly app?: string;
}

interface RevokeOptions {
  readonly app?: string;
  readonly before?: string;
}

export function tokenVerbs(program: Command, { act }: Cli): void {
  const token = exampled(program.command('token').description('short-lived credentials for browsers and devices'), [
    'millrace token create --scopes subscribe --topics "orders.*" --subject user-42',
    'millrace token revoke tok_…',
  ]);

  token
    .command('create')
    .description('a new one; it is shown this once')
    .addOption(new Option('--scopes <list>', 'publish, subscribe; with commas').argParser(words).makeOptionMandatory())
    .addOption(new Option('--topics <patterns>', 'the topics it is for; with commas').argParser(words).makeOptionMandatory())
    .addOption(new Option('--ttl <duration>', 'how long it counts, 30s to 15m; 10m without it').argParser(duration))
    .option('--subject <text>', 'whom it is for, in your own words')
    .option('--audience <text>', 'who is to take it, where that is not the gateway')
    .option('--origin <origin>', 'the one origin whose pages may use it')
    .option('--app <app>', 'whose it is; without it the app of the key')
    .action(
      act<[], CreateOptions>(async ({ options, client, terminal }) => {
        const { scopes, topics, ttl, subject, audience, origin, app } = options;
        const json = { scopes, topics, ttl, subject, audience, origin, app };
        const { body } = await client().ask<object>('POST /v1/tokens', { json });
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
        terminal.hint('It goes where a key goes: MILLRACE_KEY, --key, or the header Authorization: Bearer.');
      }),
    );

  token
    .command('revoke [jti]')
    .description('one, by its id; or all that an app has made so far: --app APP')
    .option('--app <app>', 'whose')
    .option('--before <when>', 'only those that were made before: a time, or how long ago')
    .action(
      act<[string | undefined], RevokeOptions>(async ({ args: [jti], options: { app, before }, client, terminal }) => {
        if (jti === undefined && app === undefined) throw misused('say which: a token by its id, or all of an app: --app APP');
        if (jti !== undefined && before !== undefined) throw misused('--before is for all tokens of an app, not for one');
        const moment = before === undefined ? undefined : momentOf(before, { option: '--before', nowMs: Date.now() });
        await client().ask('POST /v1/tokens/revoke', { json: { jti, app, before: moment } });
        const revoked = jti ?? `all tokens of ${app}`;
        terminal.data(
          { revoked: jti ?? { app } },
          () =>
            `${revoked}: refused from now on, whether or not ${jti === undefined ? 'there are any' : 'there is such a token'}`,
        );
      }),
    );
}
